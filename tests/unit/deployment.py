"""A right deployment as the APIs answer it, and a way to change one value of it."""

from __future__ import annotations

import copy
import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ops.doctor.checks_central import VERBS
from ops.doctor.expected import (
    AUDIT_EVENT,
    AUDIT_METHODS,
    BUILD_ROLES,
    DEAD_LETTERS,
    MEMBERSHIP_EVENTS,
    ROUTER,
    SINK_FILTER,
    Expected,
    subscription_of,
)
from ops.doctor.observed import Central, Delivery, DryRun, Fleet, Google, Observed, Operator
from shared.values.objects import Object
from tests.unit import given

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBER = "100000000001"
REGION = "europe-west1"
FLEET, APPS = "demo-fleet", "demo-apps"
EXPECTED = Expected(given.SETTINGS)
AGENT = f"serviceAccount:service-{NUMBER}@gcp-sa-{{}}.iam.gserviceaccount.com"
WRITER = "serviceAccount:service-1@gcp-sa-logging.iam.gserviceaccount.com"
UPGRADE = ("argocd-application-controller", "argocd-server")


def binding(role: str, *members: str) -> Object:
    return {"role": role, "members": list(members)}


def member(name: str) -> str:
    return f"serviceAccount:{EXPECTED.account(name)}"


def uri(name: str) -> str:
    return f"https://{name}-abc-ew.a.run.app"


def function(name: str) -> Object:
    return {
        "name": f"projects/{FLEET}/locations/{REGION}/functions/{name}",
        "state": "ACTIVE",
        "buildConfig": {"environmentVariables": {"BUNDLE": "0123456789abcdef"}},
        "serviceConfig": {
            "uri": uri(name),
            "timeoutSeconds": 240,
            "serviceAccountEmail": EXPECTED.account(name),
            "ingressSettings": "ALLOW_INTERNAL_ONLY",
            "environmentVariables": dict(given.ENVIRONMENT),
        },
    }


def subscription(function_name: str) -> Object:
    name = subscription_of(function_name)
    return {
        "name": EXPECTED.subscription(name),
        "topic": EXPECTED.topic(name),
        "pushConfig": {
            "pushEndpoint": uri(function_name),
            "oidcToken": {"serviceAccountEmail": EXPECTED.push_account, "audience": uri(function_name)},
        },
        "ackDeadlineSeconds": 300,
        "retryPolicy": {"minimumBackoff": "10s", "maximumBackoff": "600s"},
        "deadLetterPolicy": {"deadLetterTopic": EXPECTED.topic(DEAD_LETTERS), "maxDeliveryAttempts": 20},
        "expirationPolicy": {},
    }


def trigger(event: str, method: str = "") -> Object:
    filters = [{"attribute": "type", "value": event}]
    if method:
        filters += [
            {"attribute": "serviceName", "value": "container.googleapis.com"},
            {"attribute": "methodName", "value": method},
        ]
    name = (method or event).replace(".", "-").lower()
    return {
        "name": f"projects/{FLEET}/locations/global/triggers/{name}",
        "eventFilters": filters,
        "serviceAccount": EXPECTED.trigger_account,
        "destination": {"cloudRun": {"service": ROUTER, "region": REGION}},
        "eventDataContentType": "application/json",
    }


def _google() -> Google:
    roles: dict[str, Any] = {}
    policies: dict[str, list[Object]] = {project: [] for project in EXPECTED.projects}
    for name, project, needed in EXPECTED.grants():
        role = f"projects/{project}/roles/fleet_registrar.{name.replace('-', '_')}"
        roles[role] = needed
        policies[project].append(binding(role, member(name)))
    for service in ("pubsub", "eventarc", "cloudscheduler"):
        policies[FLEET].append(binding(f"roles/{service}.serviceAgent", AGENT.format(service)))
    for bindings in policies.values():
        bindings.append(binding("roles/gkehub.serviceAgent", AGENT.format("gkehub")))
    policies[FLEET] += [binding(role, f"serviceAccount:{EXPECTED.build_account}") for role in BUILD_ROLES]
    names = [EXPECTED.account(name) for name in EXPECTED.roles]
    names += [EXPECTED.push_account, EXPECTED.trigger_account, EXPECTED.build_account]
    workloads = [f"serviceAccount:{FLEET}.svc.id.goog[argocd/{name}]" for name in UPGRADE]
    return Google(
        operator=Operator("you@example.com", needs_quota_project=True, quota_project=FLEET),
        projects={
            FLEET: {"projectNumber": NUMBER, "lifecycleState": "ACTIVE"},
            APPS: {"projectNumber": "100000000002", "lifecycleState": "ACTIVE"},
        },
        services={project: EXPECTED.apis(project) for project in EXPECTED.projects},
        policies={project: tuple(bindings) for project, bindings in policies.items()},
        roles=roles,
        accounts={name: {"email": name} for name in names},
        account_policies={
            EXPECTED.push_account: (),
            EXPECTED.account("argocd"): (binding("roles/iam.workloadIdentityUser", *workloads),),
        },
    )


def _delivery() -> Delivery:
    publishers: dict[str, list[str]] = {topic: [] for topic in EXPECTED.topics}
    for name, role in EXPECTED.roles.items():
        for topic in role["publish"]:
            publishers[topic].append(member(name))
    publishers[DEAD_LETTERS].append(AGENT.format("pubsub"))
    publishers["audit-log-entries"].append(WRITER)
    subscriptions = {subscription_of(name): subscription(name) for name in EXPECTED.functions}
    subscriptions[DEAD_LETTERS] = {
        "name": EXPECTED.subscription(DEAD_LETTERS),
        "topic": EXPECTED.topic(DEAD_LETTERS),
        "ackDeadlineSeconds": 60,
        "expirationPolicy": {},
    }
    callers = {name: [f"serviceAccount:{EXPECTED.push_account}"] for name in EXPECTED.functions}
    callers[ROUTER].append(f"serviceAccount:{EXPECTED.trigger_account}")
    return Delivery(
        topics=frozenset(map(EXPECTED.topic, EXPECTED.topics)),
        topic_policies={topic: (binding("roles/pubsub.publisher", *members),) for topic, members in publishers.items()},
        subscriptions=subscriptions,
        subscription_policies={
            name: (binding("roles/pubsub.subscriber", AGENT.format("pubsub")),) for name in subscriptions
        },
        functions={name: function(name) for name in EXPECTED.deployed},
        invokers={name: (binding("roles/run.servicesInvoker", *members),) for name, members in callers.items()},
        triggers=(
            *(trigger(AUDIT_EVENT, method) for method in AUDIT_METHODS),
            *(trigger(event) for event in MEMBERSHIP_EVENTS),
        ),
        sinks={
            project: (
                {
                    "name": "fleet-registrar-clusters",
                    "destination": f"pubsub.googleapis.com/{EXPECTED.topic('audit-log-entries')}",
                    "filter": "\n".join(SINK_FILTER).replace("${var.project}", EXPECTED.project),
                    "writerIdentity": WRITER,
                },
            )
            for project in EXPECTED.projects
        },
        jobs=(
            {
                "name": f"projects/{FLEET}/locations/{REGION}/jobs/sweep",
                "state": "ENABLED",
                "pubsubTarget": {"topicName": EXPECTED.topic("sweep"), "data": "e30="},
            },
        ),
        last_sweep=given.NOW - timedelta(minutes=10),
    )


def controller(image: str = "quay.io/argoproj/argocd:v3.6.1") -> Object:
    container = {"name": "argocd-application-controller", "image": image, "env": []}
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "argocd-application-controller"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
    }


def service_account(name: str, email: str = "") -> Object:
    annotations = {"iam.gke.io/gcp-service-account": email} if email else {}
    return {"metadata": {"name": name, "annotations": annotations}}


def _central() -> Central:
    argocd = EXPECTED.account("argocd")
    return Central(
        membership={"state": {"code": "READY"}, "endpoint": {"gkeCluster": {"resourceLink": "//central"}}},
        reached_as="you@example.com",
        namespace={"metadata": {"name": "argocd"}},
        controllers=(controller(),),
        parameters={"data": {}},
        service_accounts=(*(service_account(name, argocd) for name in UPGRADE), service_account("argocd-repo-server")),
        workload_pool="",
        access={
            (name, verb, where): where == "argocd" and verb in EXPECTED.roles[name]["secrets"]
            for name in EXPECTED.deployed
            for verb, where in [*((verb, "argocd") for verb in VERBS), ("list", "")]
        },
        impersonation={},
        policy={"metadata": {"name": "fleet-registrar.default"}, "spec": {"failurePolicy": "Fail"}},
        policy_bindings=({"spec": {"policyName": "fleet-registrar.default", "validationActions": ["Deny"]}},),
        wrong_secrets={"write-secret creates a Secret without our mark": DryRun(accepted=False, message="refused")},
        right_secret=DryRun(accepted=True, message=""),
    )


def _fleet() -> Fleet:
    return Fleet(
        memberships={"europe-west1": 3, "global": 1},
        membership_limits={"": 50, "global": 250},
        secrets=(("demo-apps.europe-west1.blue", ""),),
        unmanaged=(),
        writers=(),
        gateway_peak=40,
        gateway_limit=2400,
    )


def right() -> Observed:
    """Return a right deployment; every value is the caller's own to change."""
    return copy.deepcopy(Observed(_google(), _delivery(), _central(), _fleet(), dict(given.ENVIRONMENT)))


def changed(path: str, change: Any) -> Observed:
    """Return a right deployment with one value set, or changed by a function: `delivery.functions.sweep.state`."""
    seen = right()
    change = change if callable(change) else lambda _old, new=change: new
    result: Observed = _set(seen, path.split("/"), change)
    return result


def _set(value: Any, path: list[str], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    key, rest = path[0], path[1:]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{key: _set(getattr(value, key), rest, change)})
    if isinstance(value, tuple | list):
        items = list(value)
        items[int(key)] = _set(items[int(key)], rest, change)
        return type(value)(items)
    return {**value, key: _set(value.get(key), rest, change)}
