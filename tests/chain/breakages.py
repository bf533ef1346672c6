"""Ways to break a running deployment, each undone afterwards: by the APIs that an operator, or a mistake, would use."""

from __future__ import annotations

import base64
import json
import shlex
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.oauth2.credentials import Credentials

from ops.doctor.command import examine
from ops.doctor.findings import Status
from shared.runtime.services import Services
from shared.values import settings
from tests.chain.running import CENTRAL, FLEET, MERGE, REGION, SECRETS, Chain, email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ops.doctor.findings import Finding

    Broken = Callable[["Operator"], AbstractContextManager[None]]

Json = dict[str, Any]

PUSH = email("fleet-registrar-push")
ARGOCD = email("argocd")
BASE = "/api/v1/namespaces/argocd"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CONTROLLER = "/apis/apps/v1/namespaces/argocd/statefulsets/argocd-application-controller"
FUNCTIONS = f"v2/projects/{FLEET}/locations/{REGION}/functions"
SERVICES = f"v1/projects/{FLEET}/locations/{REGION}/services"
SUBSCRIPTIONS = f"v1/projects/{FLEET}/subscriptions"
TOPICS = f"v1/projects/{FLEET}/topics"
TRIGGERS = f"v1/projects/{FLEET}/locations"
JOBS = f"v1/projects/{FLEET}/locations/{REGION}/jobs"
GATEWAY_QUOTA = ("connectgateway.googleapis.com", "connectgateway.googleapis.com/requests")
IDENTITY = "iam.gke.io/gcp-service-account"


class Operator:
    """A person who calls Google's APIs and the central cluster of a running cloud."""

    def __init__(self, cloud: Chain, environment: Mapping[str, str], central: str = CENTRAL) -> None:
        self.cloud = cloud
        self.environment = environment
        self.central = central

    def call(self, method: str, api: str, path: str, body: Json | None = None, **query: str) -> Json:
        """Make a call that must succeed."""
        base = self.environment[f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}"]
        token = self.environment["CLOUDSDK_AUTH_ACCESS_TOKEN"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.request(method, f"{base}{path}", json=body, params=query, headers=headers, timeout=30)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        found: Json = answer.json()
        return found

    def kubernetes(self, method: str, path: str, body: Any = None) -> Json:
        """Call the central cluster as its administrator; the call must succeed."""
        content = MERGE if method == "PATCH" else "application/json"
        status, answer = self.cloud.kubernetes(self.central, method, path, body, content_type=content)
        assert status < 300, f"{method} {path}: {status} {answer}"
        return answer


@contextmanager
def sourced(cloud: Chain) -> Iterator[Mapping[str, str]]:
    """What `source .local/env` gives a person; the certificates hold for this process too."""
    found = {}
    for line in (cloud.directory / "env").read_text().splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["export"]:
            name, _, value = words[1].partition("=")
            found[name] = value
    with pytest.MonkeyPatch.context() as patch:
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NO_PROXY", "no_proxy"):
            patch.setenv(name, found[name])
        yield found


def doctor(environment: Mapping[str, str], *, quota_project: str = FLEET) -> list[Finding]:
    """The findings, for a person with a token of their own."""
    services = Services(settings.load(environment))
    person = Credentials(environment["CLOUDSDK_AUTH_ACCESS_TOKEN"], quota_project_id=quota_project or None)
    services.__dict__["credentials"] = person  # found already: nobody is logged in on the machine of a test
    return examine(services, environment)


def red(findings: list[Finding]) -> set[tuple[str, str]]:
    """The codes and checks of the findings that are warnings or failures."""
    return {(one.code, one.check) for one in findings if one.status in {Status.WARN, Status.FAIL}}


# IAM policies


def policy(api: str, path: str, change: Callable[[list[Json]], list[Json]], verb: str = "GET") -> Broken:
    """The bindings of a resource's policy are changed."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        asked: Json | None = None if verb == "GET" else {}
        before = operator.call(verb, api, f"{path}:getIamPolicy", asked).get("bindings", [])
        _set_policy(operator, api, path, change(deepcopy(before)))
        try:
            yield
        finally:
            _set_policy(operator, api, path, before)

    return broken


def _set_policy(operator: Operator, api: str, path: str, bindings: list[Json]) -> None:
    operator.call("POST", api, f"{path}:setIamPolicy", {"policy": {"bindings": bindings}})


def project_policy(project: str, change: Callable[[list[Json]], list[Json]]) -> Broken:
    return policy("cloudresourcemanager", f"v1/projects/{project}", change, "POST")


def topic_policy(topic: str, change: Callable[[list[Json]], list[Json]]) -> Broken:
    return policy("pubsub", f"{TOPICS}/{topic}", change)


def account_policy(account: str, change: Callable[[list[Json]], list[Json]]) -> Broken:
    return policy("iam", f"v1/projects/{FLEET}/serviceAccounts/{account}", change, "POST")


def take(part: str, role: str = "") -> Callable[[list[Json]], list[Json]]:
    """Take members that contain a text out of the bindings (of one role)."""

    def change(bindings: list[Json]) -> list[Json]:
        for binding in bindings:
            if role in ("", binding["role"]):
                binding["members"] = [one for one in binding["members"] if part not in one]
        return [binding for binding in bindings if binding["members"]]

    return change


def give(role: str, member: str) -> Callable[[list[Json]], list[Json]]:
    """Add a binding."""
    return lambda bindings: [*bindings, {"role": role, "members": [member]}]


# Pub/Sub


def subscription(name: str, **changes: Any) -> Broken:
    """Fields of a subscription are changed; None takes one away."""
    mask = ",".join(changes)

    def patch(operator: Operator, fields: Json) -> None:
        given = {"name": f"projects/{FLEET}/subscriptions/{name}"}
        given |= {key: value for key, value in fields.items() if value is not None}
        body = {"subscription": given, "updateMask": mask}
        operator.call("PATCH", "pubsub", f"{SUBSCRIPTIONS}/{name}", body)

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "pubsub", f"{SUBSCRIPTIONS}/{name}")
        patch(operator, changes)
        try:
            yield
        finally:
            patch(operator, {key: before.get(key) for key in changes})

    return broken


def push_config(name: str, change: Callable[[Json], Json]) -> Broken:
    """The push configuration of a subscription is changed."""
    path = f"{SUBSCRIPTIONS}/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "pubsub", path).get("pushConfig", {})
        operator.call("POST", "pubsub", f"{path}:modifyPushConfig", {"pushConfig": change(deepcopy(before))})
        try:
            yield
        finally:
            operator.call("POST", "pubsub", f"{path}:modifyPushConfig", {"pushConfig": before})

    return broken


def replaced_subscription(name: str, **changes: Any) -> Broken:
    """A subscription is deleted, and created again with other fields; without any it stays away."""
    path = f"{SUBSCRIPTIONS}/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "pubsub", path)
        grants = operator.call("GET", "pubsub", f"{path}:getIamPolicy").get("bindings", [])
        operator.call("DELETE", "pubsub", path)
        if changes:
            _create(operator, path, before | changes, grants)
        try:
            yield
        finally:
            if changes:
                operator.call("DELETE", "pubsub", path)
            _create(operator, path, before, grants)

    return broken


def deleted_topic(name: str, *, created_again: bool = False) -> Broken:
    """A topic is deleted; its subscription keeps `_deleted-topic_`, also where the topic is created again."""
    path = f"{TOPICS}/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        grants = operator.call("GET", "pubsub", f"{path}:getIamPolicy").get("bindings", [])
        before = operator.call("GET", "pubsub", f"{SUBSCRIPTIONS}/{name}")
        of_subscription = operator.call("GET", "pubsub", f"{SUBSCRIPTIONS}/{name}:getIamPolicy").get("bindings", [])
        operator.call("DELETE", "pubsub", path)
        if created_again:
            _create(operator, path, {}, grants)
        try:
            yield
        finally:
            if not created_again:
                _create(operator, path, {}, grants)
            operator.call("DELETE", "pubsub", f"{SUBSCRIPTIONS}/{name}")
            _create(operator, f"{SUBSCRIPTIONS}/{name}", before, of_subscription)

    return broken


def _create(operator: Operator, path: str, body: Json, grants: list[Json]) -> None:
    given = {key: value for key, value in body.items() if key not in {"name", "state"}}
    operator.call("PUT", "pubsub", path, given)
    _set_policy(operator, "pubsub", path, grants)


# Functions


def function(name: str, mask: str, **config: Any) -> Broken:
    """A field of a function's service configuration is changed."""
    path = f"{FUNCTIONS}/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "cloudfunctions", path)["serviceConfig"][mask]
        value = {**before, **config} if isinstance(before, dict) else config["value"]
        patch(operator, value)
        try:
            yield
        finally:
            patch(operator, before)

    def patch(operator: Operator, value: Any) -> None:
        body = {"serviceConfig": {mask: value}}
        operator.call("PATCH", "cloudfunctions", path, body, updateMask=f"serviceConfig.{mask}")

    return broken


def failed_function(name: str) -> Broken:
    """The last deployment of a function has failed."""
    full = f"projects/{FLEET}/locations/{REGION}/functions/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        operator.cloud.do("run", "set_state", full, "FAILED", "Build failed")
        try:
            yield
        finally:
            operator.cloud.do("run", "set_state", full, "ACTIVE", "")

    return broken


def other_code(name: str) -> Broken:
    """A function was built from another bundle than the rest."""
    full = f"projects/{FLEET}/locations/{REGION}/functions/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "cloudfunctions", f"{FUNCTIONS}/{name}")["buildConfig"]["environmentVariables"]
        operator.cloud.do("run", "set_build_variables", full, {"BUNDLE": "an-earlier-one"})
        try:
            yield
        finally:
            operator.cloud.do("run", "set_build_variables", full, before)

    return broken


# Identities, APIs, triggers, sinks, the schedule


def toggled(api: str, path: str, off: str, on: str) -> Broken:
    """Something is switched off and on again by two methods."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        operator.call("POST", api, f"{path}:{off}", {})
        try:
            yield
        finally:
            operator.call("POST", api, f"{path}:{on}", {})

    return broken


def role_without(project: str, part: str, permission: str) -> Broken:
    """A custom role (whose name contains `part`) loses a permission."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        found = operator.call("GET", "iam", f"v1/projects/{project}/roles", view="FULL")["roles"]
        [role] = [one for one in found if part in one["name"] and permission in one["includedPermissions"]]
        before = role["includedPermissions"]
        patch(operator, role["name"], [one for one in before if one != permission])
        try:
            yield
        finally:
            patch(operator, role["name"], before)

    def patch(operator: Operator, name: str, permissions: list[str]) -> None:
        operator.call(
            "PATCH", "iam", f"v1/{name}", {"includedPermissions": permissions}, updateMask="includedPermissions"
        )

    return broken


def deleted_account(name: str) -> Broken:
    """A service account is deleted."""
    path = f"v1/projects/{FLEET}/serviceAccounts"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        operator.call("DELETE", "iam", f"{path}/{email(name)}")
        try:
            yield
        finally:
            operator.call("POST", "iam", path, {"accountId": name})

    return broken


def deleted_triggers(part: str) -> Broken:
    """The triggers whose names contain a text are deleted."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        found = operator.call("GET", "eventarc", f"{TRIGGERS}/-/triggers")["triggers"]
        going = [one for one in found if part in one["name"].rpartition("/")[2]]
        assert going
        for one in going:
            operator.call("DELETE", "eventarc", f"v1/{one['name']}")
        try:
            yield
        finally:
            for one in going:
                parent, _, name = one["name"].rpartition("/")
                given = ("eventFilters", "serviceAccount", "destination", "eventDataContentType")
                operator.call("POST", "eventarc", f"v1/{parent}", {key: one[key] for key in given}, triggerId=name)

    return broken


def trigger(name: str, **changes: Any) -> Broken:
    """Fields of a trigger in `global` are changed."""
    path = f"{TRIGGERS}/global/triggers/{name}"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "eventarc", path)
        operator.call("PATCH", "eventarc", path, changes, updateMask=",".join(changes))
        try:
            yield
        finally:
            kept = {key: before[key] for key in changes}
            operator.call("PATCH", "eventarc", path, kept, updateMask=",".join(changes))

    return broken


def sink(project: str, **changes: Any) -> Broken:
    """Fields of the sink of a source project are changed; without any it is deleted."""
    parent = f"v2/projects/{project}/sinks"

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "logging", f"{parent}/fleet-registrar-clusters")
        kept = {key: before[key] for key in ("name", "destination", "filter")}
        if changes:
            operator.call("PUT", "logging", f"{parent}/fleet-registrar-clusters", kept | changes)
        else:
            operator.call("DELETE", "logging", f"{parent}/fleet-registrar-clusters")
        try:
            yield
        finally:
            if changes:
                operator.call("PUT", "logging", f"{parent}/fleet-registrar-clusters", kept | {"disabled": False})
            else:
                operator.call("POST", "logging", parent, kept, uniqueWriterIdentity="true")

    return broken


def job(**changes: Any) -> Broken:
    """The schedule is deleted, and created again with other fields; without any it stays away."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.call("GET", "cloudscheduler", f"{JOBS}/sweep")
        given = {key: before[key] for key in ("name", "schedule", "pubsubTarget")}
        operator.call("DELETE", "cloudscheduler", f"{JOBS}/sweep")
        if changes:
            operator.call("POST", "cloudscheduler", JOBS, given | changes)
        try:
            yield
        finally:
            if changes:
                operator.call("DELETE", "cloudscheduler", f"{JOBS}/sweep")
            operator.call("POST", "cloudscheduler", JOBS, given)

    return broken


# The central cluster


def patched(path: str, patch: Json) -> Broken:
    """An object of the central cluster is changed by a merge patch."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.kubernetes("GET", path)
        operator.kubernetes("PATCH", path, patch)
        try:
            yield
        finally:
            operator.kubernetes("PATCH", path, _undo(patch, before))

    return broken


def _undo(patch: Json, before: Json) -> Json:
    """Return the merge patch that restores what a merge patch has changed."""
    return {
        key: _undo(value, before.get(key) or {}) if isinstance(value, dict) and before.get(key) else before.get(key)
        for key, value in patch.items()
    }


def added(collection: str, manifest: Json) -> Broken:
    """An object is created in the central cluster."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        operator.kubernetes("POST", collection, manifest)
        try:
            yield
        finally:
            operator.kubernetes("DELETE", f"{collection}/{manifest['metadata']['name']}")

    return broken


def removed(path: str) -> Broken:
    """An object is deleted from the central cluster."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.kubernetes("GET", path)
        operator.kubernetes("DELETE", path)
        try:
            yield
        finally:
            meta = {
                key: before["metadata"][key] for key in ("name", "namespace", "labels") if key in before["metadata"]
            }
            operator.kubernetes("POST", path.rpartition("/")[0], before | {"metadata": meta})

    return broken


def together(*several: Broken) -> Broken:
    """Several breakages at once."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        if not several:
            yield
            return
        with several[0](operator), together(*several[1:])(operator):
            yield

    return broken


def pod(container: Json, **spec: Any) -> Json:
    """The merge patch that gives the application controller another container."""
    whole = {"name": "argocd-application-controller", "image": "quay.io/argoproj/argocd:v3.6.1", **container}
    return {"spec": {**spec, "template": {"spec": {"containers": [whole]}}}}


def shard(secret: str, number: str) -> Broken:
    return patched(f"{SECRETS}/{secret}", {"data": {"shard": base64.b64encode(number.encode()).decode()}})


def lost_agent(state: str) -> Broken:
    """The gateway does not reach the central cluster, whose membership is in a state."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        name = operator.environment["CENTRAL_MEMBERSHIP"]
        operator.cloud.disconnect(name, state=state)
        try:
            yield
        finally:
            operator.cloud.reconnect(name)

    return broken


def quota(service: str, metric: str, limit: int, default: int) -> Broken:
    """A quota is small."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        operator.cloud.do("quotas", "change", service, metric, limit)
        try:
            yield
        finally:
            operator.cloud.do("quotas", "change", service, metric, default)

    return broken


def by_hand(name: str, **labels: str) -> Broken:
    """A person has written a cluster Secret for the cluster `doctored`, which is ours."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        cluster = f"projects/{FLEET}/locations/{REGION}/clusters/doctored"
        data = {"name": name, "server": "https://10.0.0.1", "config": json.dumps({"bearerToken": "x"})}
        meta = {
            "name": name,
            "labels": {"argocd.argoproj.io/secret-type": "cluster", **labels},
            "annotations": {"fleet-registrar/cluster": cluster},
        }
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        operator.kubernetes("POST", SECRETS, {"metadata": meta, "data": encoded})
        try:
            yield
        finally:
            operator.kubernetes("DELETE", f"{SECRETS}/{name}")

    return broken
