"""Each way in which a deployment can be wrong gives exactly its own finding; a right one gives none."""

from __future__ import annotations

import dataclasses
import shlex
from datetime import timedelta
from typing import Any

import pytest

from ops.doctor.checks_functions import check_settings
from ops.doctor.codes import Code
from ops.doctor.diagnosis import diagnose
from ops.doctor.findings import Status, Unread, exit_code
from ops.doctor.observed import DryRun, Observed, Operator
from ops.remedies import SETTINGS
from tests.unit import given
from tests.unit.deployment import (
    APPS,
    EXPECTED,
    FLEET,
    binding,
    changed,
    controller,
    member,
    right,
    service_account,
    subscription,
)


def without(key: str) -> Any:
    return lambda old: {name: value for name, value in old.items() if name != key}


def drop(index: int = 0) -> Any:
    return lambda old: (*old[:index], *old[index + 1 :])


def no_role(role: str) -> Any:
    return lambda old: tuple(one for one in old if one["role"] != role)


def plus(item: Any) -> Any:
    return lambda old: (*old, item)


GRANT = f"projects/{APPS}/roles/fleet_registrar.grant_rbac"
ARGOCD = EXPECTED.account("argocd")
SUB = "delivery/subscriptions/write-secret"
FUNCTION = "delivery/functions/write-secret"
CONTAINER = "central/controllers/0/spec/template/spec/containers/0"
SINKS = "delivery/sinks/demo-apps/0"
ENV = f"{FUNCTION}/serviceConfig/environmentVariables"
SHARDED = controller() | {"spec": controller()["spec"] | {"replicas": 3}}

BREAKAGES: list[tuple[Code, str, str, Any]] = [
    (Code.NO_QUOTA_PROJECT, "operator", "google/operator", Operator("you@example.com", True, "")),
    (Code.PROJECT_NUMBER_WRONG, "projects", "google/projects/demo-fleet/projectNumber", "7"),
    (Code.PROJECT_NOT_ACTIVE, "projects", "google/projects/demo-apps/lifecycleState", "DELETE_REQUESTED"),
    (Code.PROJECT_NOT_ACTIVE, "projects", "google/projects/demo-apps", None),
    (Code.API_DISABLED, "apis", "google/services/demo-apps", lambda old: old - {"container.googleapis.com"}),
    (Code.API_DISABLED, "apis", "google/services/demo-fleet", lambda old: old - {"connectgateway.googleapis.com"}),
    (Code.ACCOUNT_MISSING, "service-accounts", "google/accounts", without(EXPECTED.account("grant-rbac"))),
    (
        Code.ACCOUNT_DISABLED,
        "service-accounts",
        "google/accounts",
        lambda old: old | {EXPECTED.push_account: {"disabled": True}},
    ),
    (
        Code.PERMISSION_MISSING,
        "permissions",
        "google/roles",
        lambda old: old | {GRANT: old[GRANT] - {"container.clusterRoles.bind"}},
    ),
    (Code.PERMISSION_MISSING, "permissions", "google/policies/demo-apps", no_role(GRANT)),
    (
        Code.PERMISSION_EXTRA,
        "permissions",
        "google/roles",
        lambda old: old | {GRANT: old[GRANT] | {"container.secrets.get"}},
    ),
    (Code.PUBLISHER_MISSING, "publishers", "delivery/topic_policies/write-secret", ()),
    (
        Code.AGENT_ROLE_MISSING,
        "service-agents",
        "google/policies/demo-fleet",
        no_role("roles/eventarc.serviceAgent"),
    ),
    (Code.AGENT_ROLE_MISSING, "service-agents", "google/policies/demo-apps", no_role("roles/gkehub.serviceAgent")),
    (
        Code.BUILD_ROLE_MISSING,
        "build-identity",
        "google/policies/demo-fleet",
        no_role("roles/storage.objectViewer"),
    ),
    (
        Code.WORKLOAD_IDENTITY_MISSING,
        "argocd-workload-identity",
        "google/account_policies",
        lambda old: old | {ARGOCD: (binding("roles/iam.workloadIdentityUser", old[ARGOCD][0]["members"][0]),)},
    ),
    (
        Code.WORKLOAD_IDENTITY_MISSING,
        "argocd-workload-identity",
        "central/workload_pool",
        "my-central.svc.id.goog",
    ),
    (
        Code.WORKLOAD_IDENTITY_EXTRA,
        "argocd-workload-identity",
        "google/account_policies",
        lambda old: old | {ARGOCD: (*old[ARGOCD], binding("roles/iam.workloadIdentityUser", "user:eve@example.com"))},
    ),
    (Code.FUNCTION_MISSING, "functions", "delivery/functions", without("sweep")),
    (Code.FUNCTION_NOT_ACTIVE, "functions", f"{FUNCTION}/state", "FAILED"),
    (Code.FUNCTION_IDENTITY_WRONG, "functions", f"{FUNCTION}/serviceConfig/serviceAccountEmail", "x@example.com"),
    (Code.FUNCTION_OPEN, "functions", f"{FUNCTION}/serviceConfig/ingressSettings", "ALLOW_ALL"),
    (Code.CODE_DIFFERS, "code", f"{FUNCTION}/buildConfig/environmentVariables/BUNDLE", "other"),
    (Code.SETTINGS_DIFFER, "function-settings", f"{ENV}/CLUSTER_SELECTOR", "env=prod"),
    (Code.SETTINGS_FAULTY, "function-settings", f"{ENV}/HOLD", "abc"),
    (Code.INVOKER_MISSING, "invokers", "delivery/invokers/write-secret", ()),
    (
        Code.INVOKER_MISSING,
        "invokers",
        "delivery/invokers/route-event",
        (binding("roles/run.invoker", f"serviceAccount:{EXPECTED.push_account}"),),
    ),
    (
        Code.PUBLIC_INVOKER,
        "invokers",
        "delivery/invokers/sweep",
        plus(binding("roles/run.invoker", "allUsers")),
    ),
    (Code.TOPIC_MISSING, "topics", "delivery/topics", lambda old: old - {EXPECTED.topic("sweep")}),
    (Code.SUBSCRIPTION_MISSING, "subscriptions", "delivery/subscriptions", without("grant-rbac")),
    (Code.SUBSCRIPTION_DETACHED, "subscriptions", f"{SUB}/topic", "_deleted-topic_"),
    (Code.WRONG_TOPIC, "subscriptions", f"{SUB}/topic", EXPECTED.topic("grant-rbac")),
    (Code.PAUSED, "subscriptions", f"{SUB}/pushConfig", {}),
    (Code.WRONG_ENDPOINT, "subscriptions", SUB, {**subscription("sweep"), "topic": EXPECTED.topic("write-secret")}),
    (Code.NO_OIDC, "subscriptions", f"{SUB}/pushConfig", without("oidcToken")),
    (Code.WRONG_OIDC_ACCOUNT, "subscriptions", f"{SUB}/pushConfig/oidcToken/serviceAccountEmail", "x@example.com"),
    (Code.WRONG_AUDIENCE, "subscriptions", f"{SUB}/pushConfig/oidcToken/audience", "https://elsewhere"),
    (Code.NO_RETRY, "subscriptions", SUB, without("retryPolicy")),
    (Code.ACK_TOO_SHORT, "subscriptions", f"{SUB}/ackDeadlineSeconds", 60),
    (Code.NO_DEAD_LETTER_POLICY, "subscriptions", SUB, without("deadLetterPolicy")),
    (Code.WRONG_DEAD_LETTER_TOPIC, "subscriptions", f"{SUB}/deadLetterPolicy/deadLetterTopic", "elsewhere"),
    (Code.ATTEMPTS_TOO_FEW, "subscriptions", f"{SUB}/deadLetterPolicy/maxDeliveryAttempts", 5),
    (Code.EXPIRES, "subscriptions", f"{SUB}/expirationPolicy", {"ttl": "2678400s"}),
    (Code.SUBSCRIPTION_MISSING, "dead-letters", "delivery/subscriptions", without("dead-letters")),
    (
        Code.LETTERS_ARE_PUSHED,
        "dead-letters",
        "delivery/subscriptions/dead-letters/pushConfig",
        {"pushEndpoint": "https://x"},
    ),
    (
        Code.LETTERS_ARE_LOST,
        "dead-letters",
        "delivery/subscriptions/dead-letters/deadLetterPolicy",
        {"deadLetterTopic": "t"},
    ),
    (Code.EXPIRES, "dead-letters", "delivery/subscriptions/dead-letters", without("expirationPolicy")),
    (
        Code.AGENT_CANNOT_PUBLISH_LETTERS,
        "dead-letters",
        "delivery/topic_policies/dead-letters",
        lambda old: (binding("roles/pubsub.publisher", *(one for one in old[0]["members"] if "gcp-sa" not in one)),),
    ),
    (Code.AGENT_CANNOT_ACKNOWLEDGE, "dead-letters", "delivery/subscription_policies/sweep", ()),
    (Code.TRIGGER_MISSING, "triggers", "delivery/triggers", drop()),
    (Code.TRIGGER_MISSING, "triggers", "delivery/triggers", drop(9)),
    (Code.TRIGGER_WRONG, "triggers", "delivery/triggers/0/destination/cloudRun/service", "sweep"),
    (Code.TRIGGER_WRONG, "triggers", "delivery/triggers/0/serviceAccount", "x@example.com"),
    (
        Code.TRIGGER_WRONG,
        "triggers",
        "delivery/triggers/0/name",
        "projects/demo-fleet/locations/europe-west1/triggers/x",
    ),
    (Code.TRIGGER_WRONG, "triggers", "delivery/triggers/9/eventDataContentType", "application/protobuf"),
    (Code.SINK_MISSING, "sinks", "delivery/sinks/demo-apps", ()),
    (Code.SINK_DISABLED, "sinks", f"{SINKS}/disabled", True),
    (Code.SINK_FILTER, "sinks", f"{SINKS}/filter", 'resource.type="gke_cluster"'),
    (Code.SINK_DESTINATION, "sinks", f"{SINKS}/destination", "pubsub.googleapis.com/projects/x/topics/y"),
    (Code.SINK_CANNOT_PUBLISH, "sinks", f"{SINKS}/writerIdentity", "serviceAccount:other@gcp-sa-logging"),
    (Code.JOB_MISSING, "sweep", "delivery/jobs", ()),
    (Code.JOB_PAUSED, "sweep", "delivery/jobs/0/state", "PAUSED"),
    (Code.JOB_WRONG, "sweep", "delivery/jobs/0/pubsubTarget/topicName", EXPECTED.topic("grant-rbac")),
    (Code.JOB_WRONG, "sweep", "delivery/jobs/0/pubsubTarget/data", ""),
    (Code.NO_SWEEP, "sweep", "delivery/last_sweep", given.NOW - timedelta(hours=2)),
    (Code.NO_SWEEP, "sweep", "delivery/last_sweep", None),
    (Code.CENTRAL_MISSING, "central-cluster", "central/membership", None),
    (Code.CENTRAL_NOT_READY, "central-cluster", "central/membership/state/code", "UPDATING"),
    (Code.GATEWAY_UNREACHABLE, "central-cluster", "central/reached_as", Unread("404: the gateway does not reach it")),
    (Code.NAMESPACE_MISSING, "argocd-version", "central/namespace", None),
    (Code.CONTROLLER_MISSING, "argocd-version", "central/controllers", ()),
    (Code.ARGOCD_TOO_OLD, "argocd-version", f"{CONTAINER}/image", "argoproj/argocd:v2.3.0"),
    (Code.ARGOCD_NO_HOLD, "argocd-version", f"{CONTAINER}/image", "quay.io/argoproj/argocd:v3.3.9"),
    (
        Code.SHARDING_MOVES_CLUSTERS,
        "argocd-sharding",
        "central",
        lambda old: dataclasses.replace(
            old, controllers=(SHARDED,), parameters={"data": {"controller.sharding.algorithm": "consistent-hashing"}}
        ),
    ),
    (
        Code.SHARDING_REPLICAS_DIFFER,
        "argocd-sharding",
        f"{CONTAINER}/env",
        [{"name": "ARGOCD_CONTROLLER_REPLICAS", "value": "2"}],
    ),
    (Code.SHARD_OUT_OF_RANGE, "argocd-sharding", "fleet/others", (("by-hand", "7"),)),
    (Code.SHARD_OUT_OF_RANGE, "argocd-sharding", "fleet/secrets", (("demo-apps.europe-west1.blue", "-1"),)),
    (
        Code.APPLICATIONS_ELSEWHERE,
        "argocd-applications",
        "central/parameters",
        {"data": {"application.namespaces": "argocd, team-*"}},
    ),
    (Code.SHARD_OUT_OF_RANGE, "argocd-sharding", "fleet/secrets", (("demo-apps.europe-west1.blue", "\u00b2"),)),
    (Code.SHARD_OUT_OF_RANGE, "argocd-sharding", "fleet/secrets", (("demo-apps.europe-west1.blue", "\u0660"),)),
    (Code.SHARD_OUT_OF_RANGE, "argocd-sharding", "fleet/secrets", (("demo-apps.europe-west1.blue", "9" * 5000),)),
    (Code.ARGOCD_IDENTITY_MISSING, "argocd-identity", "central/service_accounts/0/metadata/annotations", {}),
    (
        Code.ARGOCD_IDENTITY_WRONG,
        "argocd-identity",
        "central/service_accounts/0",
        service_account("argocd-application-controller", "other@example.com"),
    ),
    (
        Code.ARGOCD_IDENTITY_SHARED,
        "argocd-identity",
        "central/service_accounts/2",
        service_account("argocd-repo-server", ARGOCD),
    ),
    (
        Code.SECRETS_VERB_MISSING,
        "secrets-access",
        "central/access",
        lambda old: old | {("write-secret", "patch", "argocd"): False},
    ),
    (
        Code.SECRETS_VERB_EXTRA,
        "secrets-access",
        "central/access",
        lambda old: old | {("grant-rbac", "get", "argocd"): True},
    ),
    (
        Code.SECRETS_VERB_EXTRA,
        "secrets-access",
        "central/access",
        lambda old: old | {("sweep", "list", ""): True},
    ),
    (Code.IMPERSONATION_MISSING, "secrets-access", "central", lambda old: outside_gke(old, {"sweep": False})),
    (Code.POLICY_MISSING, "admission-policy", "central/policy", None),
    (Code.POLICY_NOT_ENFORCED, "admission-policy", "central/policy_bindings", ()),
    (Code.POLICY_NOT_ENFORCED, "admission-policy", "central/policy_bindings/0/spec/validationActions", ["Audit"]),
    (Code.POLICY_NOT_ENFORCED, "admission-policy", "central/policy/spec/failurePolicy", "Ignore"),
    (Code.POLICY_ACCEPTS_WRONG, "admission-policy", "central/wrong_secrets", {"a try": DryRun(True, "")}),
    (Code.POLICY_REFUSES_RIGHT, "admission-policy", "central/right_secret", DryRun(False, "NUMBER")),
    (Code.MEMBERSHIPS_NEAR_QUOTA, "quota-memberships", "fleet/memberships/europe-west1", 45),
    (Code.MEMBERSHIPS_AT_QUOTA, "quota-memberships", "fleet/memberships/europe-west1", 50),
    (Code.GATEWAY_NEAR_QUOTA, "quota-gateway", "fleet/gateway_peak", 2100),
    (
        Code.GATEWAY_WILL_EXCEED,
        "quota-gateway",
        "fleet/secrets",
        tuple((f"demo-apps.europe-west1.c{number}", "") for number in range(200)),
    ),
    (Code.UNMANAGED_SECRETS, "unmanaged-secrets", "fleet/unmanaged", (("by-hand", "projects/a/…"),)),
    (Code.SECOND_WRITER, "other-writers", "fleet/writers", (("s", "", "the ClusterProfile integration"),)),
]


def outside_gke(central: Any, impersonation: dict[str, bool]) -> Any:
    """The central cluster is an attached one: the Connect agent impersonates, and pods bring their credentials."""
    with_credentials = controller()
    with_credentials["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": "/var/run/secrets/tokens/gcp-ksa/credentials.json"}
    ]
    return dataclasses.replace(central, controllers=(with_credentials,), impersonation=impersonation)


def findings(seen: Observed) -> list[Any]:
    return diagnose(EXPECTED, seen, given.NOW)


def test_right_deployment_passes_every_check() -> None:
    found = findings(right())
    assert [one for one in found if one.status is not Status.PASS] == []
    assert len({one.check for one in found}) == len(found) == 31
    assert exit_code(found) == 0


@pytest.mark.parametrize(
    ("code", "check", "path", "change"), BREAKAGES, ids=[f"{one[0]}-{number}" for number, one in enumerate(BREAKAGES)]
)
def test_each_breakage_gives_its_own_finding_alone(code: Code, check: str, path: str, change: Any) -> None:
    found = [one for one in findings(changed(path, change)) if one.status in {Status.WARN, Status.FAIL}]
    assert {(one.check, one.code) for one in found} == {(check, code)}
    assert all(one.fix and one.message for one in found)
    assert exit_code(found) in {1, 2}


def test_settings_that_all_functions_share_are_right_and_yours_are_wrong() -> None:
    """The fix is to load the deployed settings, not to deploy again."""
    seen = right()
    mine = dataclasses.replace(EXPECTED, settings=dataclasses.replace(EXPECTED.settings, sweep_requests=7))
    [found] = check_settings(mine, seen.delivery, {})
    assert (found.code, found.fix) == (Code.SETTINGS_DIFFER, SETTINGS)
    assert found.subject == f"all {len(seen.delivery.functions)} functions"  # type: ignore[arg-type]


def test_every_code_of_a_finding_has_a_breakage() -> None:
    elsewhere = {
        Code.UNREAD,  # test_unread_values_are_unknown_and_turn_nothing_red
        Code.SETTINGS_INVALID,
        Code.NO_IDENTITY,
        Code.ARGOCD_VERSION_UNKNOWN,
        Code.SHARDS_DIFFER,  # test_number_of_shards_must_be_the_controllers
        Code.CANARY_FAILED,
        Code.CANARY_LATE,
    }
    assert {one[0] for one in BREAKAGES} == set(Code) - elsewhere


UNREAD = Unread("403: you may not", "gcloud projects add-iam-policy-binding …", denied=True)
PARTS = {
    f"{part}/{field.name}": str(field.type)
    for part in ("google", "delivery", "central", "fleet")
    for field in dataclasses.fields(getattr(right(), part))
}


@pytest.mark.parametrize("path", PARTS)
def test_unread_values_are_unknown_and_turn_nothing_red(path: str) -> None:
    def unread(old: Any) -> Any:
        return dict.fromkeys(old, UNREAD) if PARTS[path].startswith("Mapping[") else UNREAD

    found = findings(changed(path, unread))
    assert not [one for one in found if one.status in {Status.WARN, Status.FAIL}]
    assert all(one.code == Code.UNREAD for one in found if one.status is Status.UNKNOWN)
    if path not in {"central/impersonation", "google/roles", "google/account_policies"}:
        assert exit_code(found) == 2


def test_image_without_a_version_is_unknown() -> None:
    found = findings(changed(f"{CONTAINER}/image", "argocd@sha256:0123"))
    assert [one.code for one in found if one.status is Status.UNKNOWN] == [Code.ARGOCD_VERSION_UNKNOWN]


def test_attached_central_cluster_passes() -> None:
    seen = changed("central", lambda old: outside_gke(old, dict.fromkeys(EXPECTED.deployed, True)))
    assert not [one for one in findings(seen) if one.status is not Status.PASS]


def with_binding(seen: Observed, added: Any) -> Observed:
    of_project = seen.google.policies[FLEET]
    assert isinstance(of_project, tuple)
    policies = {**seen.google.policies, FLEET: (*of_project, added)}
    return dataclasses.replace(seen, google=dataclasses.replace(seen.google, policies=policies))


def test_terminal_of_argocd_is_no_extra_permission() -> None:
    admin = frozenset({"gkehub.gateway.stream", "gkehub.memberships.get", "resourcemanager.projects.get"})
    seen = changed("google/roles", lambda old: old | {"roles/gkehub.gatewayAdmin": admin})
    seen = with_binding(seen, binding("roles/gkehub.gatewayAdmin", member("argocd")))
    assert not [one for one in findings(seen) if one.status is not Status.PASS]


def test_grant_on_the_project_is_enough_to_publish() -> None:
    seen = changed("delivery/topic_policies/write-secret", ())
    found = findings(with_binding(seen, binding("roles/pubsub.publisher", member("grant-rbac"))))
    missing = [one.subject for one in found if one.code == Code.PUBLISHER_MISSING]
    assert missing == ["route-event to topic write-secret", "sweep to topic write-secret"]


def test_fixes_never_delete_and_are_one_shell_line() -> None:
    for _, _, path, change in BREAKAGES:
        for one in findings(changed(path, change)):
            words = shlex.split(one.fix)
            assert "\n" not in one.fix
            assert not {"delete", "remove", "destroy", "--force"} & set(words), one.fix
