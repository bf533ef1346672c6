"""Each identity may do what it needs and nothing else: `infra/roles.json` is enough, and one permission less is not."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from local.identities import shipped_roles
from shared.values.messages import STEPS
from tests.chain import lives
from tests.chain.http import http_status
from tests.chain.running import (
    APPS,
    ARGOCD,
    BINDING,
    BINDINGS,
    CENTRAL,
    CENTRAL_MEMBERSHIP,
    FLEET,
    MERGE,
    REGION,
    SECRETS,
    Chain,
    email,
    fresh,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROLES = shipped_roles()
FUNCTIONS = tuple(name for name in ROLES if name != "argocd")
CLUSTERS = f"projects/{FLEET}/locations/{REGION}/clusters"
MEMBERSHIPS = f"projects/{FLEET}/locations/{REGION}/memberships"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
# Permission → a call of the Google API that needs it, and that does nothing here even where it is allowed.
CALLS = {
    "container.clusters.get": ("container", "GET", f"{CLUSTERS}/central"),
    "container.clusters.list": ("container", "GET", CLUSTERS),
    "container.clusters.create": ("container", "POST", CLUSTERS),
    "container.clusters.update": ("container", "POST", f"{CLUSTERS}/none:setResourceLabels"),
    "container.clusters.delete": ("container", "DELETE", f"{CLUSTERS}/none"),
    "gkehub.memberships.get": ("gkehub", "GET", f"{MEMBERSHIPS}/central"),
    "gkehub.memberships.list": ("gkehub", "GET", MEMBERSHIPS),
    "gkehub.memberships.create": ("gkehub", "POST", f"{MEMBERSHIPS}?membershipId="),
    "gkehub.memberships.update": ("gkehub", "PATCH", f"{MEMBERSHIPS}/none?updateMask=labels"),
    "gkehub.memberships.delete": ("gkehub", "DELETE", f"{MEMBERSHIPS}/none"),
}
GATEWAY = {"get": "GET", "post": "POST", "patch": "PATCH", "put": "PUT", "delete": "DELETE"}
# Verb → method and path below a collection.
VERBS = {
    "list": ("GET", ""),
    "get": ("GET", "/none"),
    "create": ("POST", ""),
    "update": ("PUT", "/none"),
    "patch": ("PATCH", "/none"),
    "delete": ("DELETE", "/none"),
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud whose messages have the patience to wait for one permission after the other."""
    patient = ("--attempts", "100", "--retry-max", "0.3")
    with running(tmp_path_factory.mktemp("identities"), *lives.OPTIONS, *patient) as chain:
        yield chain


def asked(cloud: Chain, who: str, api: str, method: str, path: str) -> int:
    """Call a Google API as an identity; return the HTTP status."""
    headers = {"Content-Type": "application/json"}
    if who:
        headers["Authorization"] = f"Bearer {cloud.do('iam', 'token_for', email=who)}"
    url = f"{cloud.state()['endpoints'][api]}/v1/{path}"
    body = None if method == "GET" else b'{"cluster": {"name": "none", "initialNodeCount": 1}}'
    if path.endswith(":setResourceLabels"):
        body = b'{"resourceLabels": {}}'  # a field that the method does not have would be refused before the caller is
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    return http_status(request)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_identity_is_denied_google_apis_that_it_does_not_need(cloud: Chain, function: str) -> None:
    mine = {*ROLES[function]["fleet"], *ROLES[function]["central"], *ROLES[function]["source"]}
    refused = {p for p, call in CALLS.items() if asked(cloud, email(function), *call) == 403}
    assert refused == set(CALLS) - mine


@pytest.mark.parametrize("function", FUNCTIONS)
def test_identity_is_denied_gateway_methods_it_does_not_need(cloud: Chain, function: str) -> None:
    for verb, method in GATEWAY.items():
        status, answer = cloud.through_gateway(email(function), CENTRAL_MEMBERSHIP, method, f"{SECRETS}/none", {})
        by_gateway = (status, "error" in answer) == (403, True)
        mine = {*ROLES[function]["fleet"], *ROLES[function]["central"]}
        assert by_gateway == (f"gkehub.gateway.{verb}" not in mine), (verb, answer)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_identity_is_denied_secrets_that_it_does_not_need(cloud: Chain, function: str) -> None:
    """In Argo CD's namespace only its verbs; in no other namespace, and in no application cluster, any."""
    for namespace in ("argocd", "kube-system"):
        path = f"/api/v1/namespaces/{namespace}/secrets"
        allowed = set()
        for verb, (method, name) in VERBS.items():
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": {}}
            status, _ = cloud.through_gateway(
                email(function), CENTRAL_MEMBERSHIP, method, path + name, body if method != "GET" else None
            )
            if status != 403:
                allowed.add(verb)
        assert allowed == (set(ROLES[function]["secrets"]) if namespace == "argocd" else set())
    assert cloud.through_gateway(email(function), CENTRAL_MEMBERSHIP, "GET", "/api/v1/secrets")[0] == 403


@pytest.mark.parametrize("function", FUNCTIONS)
def test_identity_is_denied_rbac_objects_that_it_does_not_need(cloud: Chain, function: str) -> None:
    mine = set(ROLES[function]["source"])
    membership = CENTRAL_MEMBERSHIP
    for kind, collection in (("clusterRoleBindings", BINDINGS), ("clusterRoles", f"{RBAC}/clusterroles")):
        for verb, (method, name) in VERBS.items():
            body = None if method == "GET" else {"metadata": {"name": "none"}}
            status, _ = cloud.through_gateway(email(function), membership, method, collection + name, body)
            permission = f"container.{kind}.{'update' if verb == 'patch' else verb}"
            if permission not in mine:
                assert status == 403, (verb, kind)


def test_argocd_identity_has_no_rights_in_the_central_cluster(cloud: Chain) -> None:
    membership = cloud.membership(cloud.onboard("blue", labels=lives.WANTED))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one", "namespace": "default"}}
    path = "/api/v1/namespaces/default/secrets"
    for method, name, body in (
        ("POST", "", secret),
        ("GET", "/one", None),
        ("PUT", "/one", secret),
        ("PATCH", "/one", {"metadata": {"labels": {"a": "b"}}}),
        ("DELETE", "/one", None),
    ):
        kind = MERGE if method == "PATCH" else "application/json"
        in_cluster, _ = cloud.through_gateway(ARGOCD, membership, method, path + name, body, content_type=kind)
        in_central, answer = cloud.through_gateway(
            ARGOCD, CENTRAL_MEMBERSHIP, method, SECRETS + name, body, content_type=kind
        )
        assert in_cluster in (200, 201), method
        assert (in_central, answer["kind"]) == (403, "Status"), method
    refused = {permission for permission, call in CALLS.items() if asked(cloud, ARGOCD, *call) == 403}
    assert refused == set(CALLS) - {"gkehub.memberships.get"}


def test_calls_without_a_token_are_refused(cloud: Chain) -> None:
    assert {asked(cloud, "", *call) for call in CALLS.values()} == {401}
    assert {asked(cloud, "stranger@example.com", *call) for call in CALLS.values()} == {403}
    status, answer = cloud.through_gateway("stranger@example.com", CENTRAL_MEMBERSHIP, "GET", SECRETS)
    assert (status, "error" in answer) == (403, True)


# Grown from nothing

# No message wakes the status page: tests/incidents/test_status_page.py takes its permissions away.
GROWN = tuple(name for name in FUNCTIONS if name not in ("route-event", "status"))
DENIED = re.compile(r"Permission '([\w.]+)' denied on resource 'projects/([\w-]+)'")
FORBIDDEN = re.compile(r'cannot (\w+) resource \\?"(\w+)\\?"')
ESCALATES = "attempting to grant RBAC permissions not currently held"
KINDS = {
    "clusterrolebindings": "clusterRoleBindings",
    "clusterroles": "clusterRoles",
    "subjectaccessreviews": "subjectAccessReviews",
}


class Grown:
    """Gives back what has been taken from the functions, one permission at a time, each when it is missed."""

    def __init__(self, cloud: Chain) -> None:
        self.cloud = cloud
        self.given: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._read = {step: len(cloud.log(step)) for step in GROWN}
        for step in GROWN:
            for project in (FLEET, APPS):
                every = {*ROLES[step]["fleet"], *ROLES[step]["central"], *ROLES[step]["source"]}
                cloud.do("iam", "revoke", email(step), project, *every)
            self._secrets(step)

    def until(self, done: Callable[[], Any], what: str) -> None:
        """Give what is missed until `done`, and nothing is on its way."""

        def reached() -> bool:
            for step in GROWN:
                self._give_what_is_missed(step)
            return bool(done()) and self.cloud.quiet()

        self.cloud.wait_for(reached, what=what)

    def _give_what_is_missed(self, step: str) -> None:
        text = self.cloud.log(step)
        end = text.rfind("\n") + 1  # a line may be being written
        new, self._read[step] = text[self._read[step] : end], end
        for line in new.splitlines():
            message = json.loads(line)["message"] if line.startswith("{") else ""
            if found := DENIED.search(message):
                kind = "fleet" if found[1].startswith("gkehub.") else "source"
                self._give(step, kind, found[1])
            elif ESCALATES in message:
                self._give(step, "source", "container.clusterRoles.bind")
            elif found := FORBIDDEN.search(message):
                verb, resource = found[1], found[2]
                if resource == "secrets":
                    self.given[step]["secrets"].add(verb)
                    self._secrets(step)
                else:
                    verb = "update" if verb == "patch" else verb
                    self._give(step, "source", f"container.{KINDS[resource]}.{verb}")

    def _give(self, step: str, kind: str, permission: str) -> None:
        self.given[step][kind].add(permission)
        for project in (FLEET,) if kind == "fleet" else (FLEET, APPS):
            self.cloud.do("iam", "grant", email(step), project, permission)

    def _secrets(self, step: str) -> None:
        verbs = sorted(self.given[step]["secrets"])
        rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}] if verbs else []
        path = f"{RBAC}/namespaces/argocd/roles/fleet-registrar.default.{step}"
        self.cloud.kubernetes(CENTRAL, "PATCH", path, {"rules": rules}, content_type=MERGE)


def test_each_permission_of_the_roles_is_needed(cloud: Chain) -> None:
    """Every identity begins without permissions and gets each one that a refusal names: at the end it has the shipped ones."""
    grown = Grown(cloud)
    names = cloud.listed

    # A cluster of another project appears, changes, leaves, comes back.
    cluster = cloud.create_cluster(fresh("blue"), project=APPS, labels=lives.WANTED)
    grown.until(lambda: cluster in names(), "onboarding")
    cloud.set_labels(cluster, lives.WANTED | {"env": "prod"})
    grown.until(lambda: "env" in cloud.labels(cluster), "a label change")
    cloud.forget_reads()
    cloud.set_labels(cluster, {})
    grown.until(lambda: not cloud.state()["clusters"][cluster]["resourceLabels"], "deselecting")
    cloud.publish("remove-secret", cloud.leave(cluster, "hold"))
    grown.until(lambda: cloud.held(cluster), "a hold")
    cloud.publish("remove-secret", cloud.leave(cluster, "remove"))
    grown.until(lambda: cloud.secret(cluster) is None and cloud.binding(cluster) is None, "leaving")
    cloud.forget_reads()
    cloud.set_labels(cluster, lives.WANTED)
    grown.until(lambda: cluster in names(), "coming back")

    # Its binding is spoilt; then the role changes.
    cloud.kubernetes(cluster, "PATCH", BINDING, {"subjects": []}, content_type=MERGE)
    cloud.publish("grant-rbac", {"cluster": cluster})
    grown.until(lambda: (cloud.binding(cluster) or {}).get("subjects"), "repairing the binding")
    for step in ("grant-rbac", "write-secret"):
        cloud.redeploy(step, {"ARGOCD_CLUSTER_ROLE": "view"})
    cloud.publish("grant-rbac", {"cluster": cluster})
    grown.until(lambda: (cloud.binding(cluster) or {}).get("roleRef", {}).get("name") == "view", "another role")
    grown.until(lambda: "view" in cloud.manifest(cluster)["metadata"]["annotations"]["fleet-registrar/grant"], "noted")
    for step in ("grant-rbac", "write-secret"):
        cloud.redeploy(step, {"ARGOCD_CLUSTER_ROLE": ""})

    # It is re-created, and its deletion event is lost.
    cloud.add_event_rule("lose", event=f"DeleteCluster.* {cluster}", times=0)
    cloud.delete_cluster(cluster, seconds=0)
    cloud.gone(cluster)
    cloud.create_cluster(cluster.rpartition("/")[2], project=APPS, labels=lives.WANTED)
    cloud.running(cluster)
    cloud.remove_event_rules()

    def is_recreated() -> bool:
        notes = cloud.manifest(cluster)["metadata"]["annotations"]
        return bool(notes["fleet-registrar/cluster-id"] == cloud.state()["clusters"][cluster]["id"])

    grown.until(is_recreated, "a re-created cluster")

    # A foreign Secret has the name of another one's.
    name = fresh("green")
    taken = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{FLEET}.{REGION}.{name}"}}
    cloud.kubernetes(CENTRAL, "POST", SECRETS, taken)
    green = cloud.create_cluster(name, labels=lives.WANTED)
    grown.until(lambda: cloud.dead_letters(green), "a foreign Secret")

    # An attached cluster leaves the fleet: that it is gone from there is proven by a list.
    edge = cloud.attach(fresh("edge"), admit=True, labels=lives.WANTED)
    grown.until(lambda: edge in names(), "an attached cluster")
    cloud.detach(edge)
    grown.until(lambda: cloud.held(edge) == "left-fleet", "an attached cluster that has left the fleet")
    cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/{cloud.manifest(edge)['metadata']['name']}")
    cloud.do("cloud", "forget", membership=edge)

    # A sweep looks at all of it, and at everything that Argo CD's list names.
    if "sweep" in GROWN:
        cloud.publish("sweep", {})
        grown.until(lambda: cloud.lines("sweep", '"INFO"'), "a sweep")

    # Every step is asked about what never was; and in the end the cluster is deleted.
    never = fresh("never")
    for step in STEPS:
        cloud.publish(step, {"cluster": f"{CLUSTERS}/{never}"}, {"cause": f"{step} {never}"})
        cloud.publish(step, {"membership": f"{MEMBERSHIPS}/{never}"}, {"cause": f"{step} {never}"})
    grown.until(cloud.quiet, "what never was")
    for one in (cluster, green):
        cloud.delete_cluster(one, seconds=1)
    grown.until(lambda: not {cluster, green} & set(cloud.state()["clusters"]), "a deletion")
    grown.until(lambda: not cloud.membership(cluster) and cloud.secret(cluster) is None, "offboarding")

    for step in GROWN:
        for kind in ("fleet", "source", "secrets"):
            # The central cluster is in this fleet, too.
            both = {*ROLES[step][kind], *(ROLES[step].get("central", []) if kind == "fleet" else [])}
            assert sorted(grown.given[step][kind]) == sorted(both), (step, kind)
