"""`ops doctor` on a running cloud: each thing that it checks is broken once; doctor names it, and nothing else turns red."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ops.doctor.codes import Code
from ops.doctor.findings import Status
from tests.chain import breakages as b
from tests.chain.breakages import ARGOCD, BASE, CONTROLLER, IDENTITY, PUSH, RBAC, Operator, doctor, red
from tests.chain.running import APPS, FLEET, KUBE, REGION, ROOT, Chain, email, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.chain.breakages import Broken

    Json = dict[str, Any]
    Table = list[tuple[Code, str, Broken]]

# The embedded API server evaluates no admission policy, and refuses the dry runs that would ask it.
UNKNOWN = {"admission-policy"} if KUBE == "embedded" else set()
ON_REAL = {"admission-policy", "argocd-identity", "argocd-sharding", "secrets-access"}
SUBSCRIBER = "roles/pubsub.subscriber"
MEMBER = f"serviceAccount:{FLEET}.svc.id.goog[argocd/argocd-server]"
ELSEWHERE = "https://elsewhere.example/"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with running(tmp_path_factory.mktemp("doctor")) as chain:
        yield chain


@pytest.fixture(scope="module")
def environment(cloud: Chain) -> Iterator[Mapping[str, str]]:
    with b.sourced(cloud) as found:
        yield found


@pytest.fixture(scope="module")
def operator(cloud: Chain, environment: Mapping[str, str]) -> Operator:
    """A person in front of a cloud with one cluster in Argo CD, where a sweep has run.

    The gateway's quota is large: so many doctors in one minute are no deployment's.
    """
    cloud.do("quotas", "change", *b.GATEWAY_QUOTA, 1_000_000)
    cluster = cloud.create_cluster("doctored")
    cloud.onboarded(cluster)
    cloud.publish("sweep", {})
    cloud.wait_quiet()
    return Operator(cloud, environment)


def ops(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person does."""
    command = [sys.executable, "-m", "ops", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, text=True, capture_output=True, check=False, timeout=240
    )


def test_deployment_without_a_sweep_is_named_until_one_ran(cloud: Chain, environment: Mapping[str, str]) -> None:
    assert red(doctor(environment)) == {(Code.NO_SWEEP, "sweep")}
    cloud.publish("sweep", {})
    cloud.wait_quiet()
    assert red(doctor(environment)) == set()


def test_right_deployment_passes_every_check(operator: Operator) -> None:
    found = doctor(operator.environment)
    assert {one.check for one in found if one.status is not Status.PASS} == UNKNOWN
    assert len({one.check for one in found}) == 30


TABLE: Table = [
    # Projects, identities, permissions
    (
        Code.API_DISABLED,
        "apis",
        b.toggled("serviceusage", f"v1/projects/{APPS}/services/gkehub.googleapis.com", "disable", "enable"),
    ),
    (
        Code.API_DISABLED,
        "apis",
        b.toggled("serviceusage", f"v1/projects/{FLEET}/services/eventarc.googleapis.com", "disable", "enable"),
    ),
    (
        Code.ACCOUNT_DISABLED,
        "service-accounts",
        b.toggled("iam", f"v1/projects/{FLEET}/serviceAccounts/{email('grant-rbac')}", "disable", "enable"),
    ),
    (Code.ACCOUNT_MISSING, "service-accounts", b.deleted_account("route-event")),
    (Code.PERMISSION_MISSING, "permissions", b.role_without(FLEET, "write_secret", "gkehub.gateway.post")),
    (Code.PERMISSION_MISSING, "permissions", b.role_without(APPS, "grant_rbac", "container.clusterRoles.bind")),
    (Code.PERMISSION_MISSING, "permissions", b.project_policy(APPS, b.take("fleet-sweep@"))),
    (
        Code.PERMISSION_EXTRA,
        "permissions",
        b.project_policy(APPS, b.give("roles/container.developer", f"serviceAccount:{email('sweep')}")),
    ),
    (Code.PUBLISHER_MISSING, "publishers", b.topic_policy("grant-rbac", b.take("register-membership@"))),
    (
        Code.AGENT_ROLE_MISSING,
        "service-agents",
        b.project_policy(FLEET, b.take("gcp-sa-eventarc", "roles/eventarc.serviceAgent")),
    ),
    (
        Code.AGENT_ROLE_MISSING,
        "service-agents",
        b.project_policy(APPS, b.take("gcp-sa-gkehub", "roles/gkehub.serviceAgent")),
    ),
    (
        Code.AGENT_ROLE_MISSING,
        "service-agents",
        b.together(
            b.project_policy(FLEET, b.take("gcp-sa-pubsub", "roles/pubsub.serviceAgent")),
            b.account_policy(PUSH, b.take("gcp-sa-pubsub")),
        ),
    ),
    (
        Code.BUILD_ROLE_MISSING,
        "build-identity",
        b.project_policy(FLEET, b.take("fleet-registrar-build", "roles/storage.objectViewer")),
    ),
    (
        Code.WORKLOAD_IDENTITY_MISSING,
        "argocd-workload-identity",
        b.account_policy(ARGOCD, b.take("argocd-server")),
    ),
    (
        Code.WORKLOAD_IDENTITY_EXTRA,
        "argocd-workload-identity",
        b.account_policy(ARGOCD, b.give("roles/iam.workloadIdentityUser", MEMBER.replace("server", "repo-server"))),
    ),
    # Functions
    (Code.FUNCTION_NOT_ACTIVE, "functions", b.failed_function("write-secret")),
    (
        Code.FUNCTION_IDENTITY_WRONG,
        "functions",
        b.function("write-secret", "serviceAccountEmail", value=email("grant-rbac")),
    ),
    (Code.FUNCTION_OPEN, "functions", b.function("write-secret", "ingressSettings", value="ALLOW_ALL")),
    (Code.CODE_DIFFERS, "code", b.other_code("write-secret")),
    (
        Code.SETTINGS_DIFFER,
        "function-settings",
        b.function("unregister-membership", "environmentVariables", HOLD="901"),
    ),
    (Code.SETTINGS_FAULTY, "function-settings", b.function("revoke-rbac", "environmentVariables", HOLD="abc")),
    (
        Code.INVOKER_MISSING,
        "invokers",
        b.policy("run", f"{b.SERVICES}/unregister-membership", b.take("fleet-registrar-push")),
    ),
    (Code.INVOKER_MISSING, "invokers", b.policy("run", f"{b.SERVICES}/route-event", b.take("fleet-registrar-trigger"))),
    (
        Code.PUBLIC_INVOKER,
        "invokers",
        b.policy("run", f"{b.SERVICES}/sweep", b.give("roles/run.invoker", "allUsers")),
    ),
    # Pub/Sub
    (Code.TOPIC_MISSING, "topics", b.deleted_topic("cluster-offboarded")),
    (Code.SUBSCRIPTION_MISSING, "subscriptions", b.replaced_subscription("unregister-membership")),
    (Code.SUBSCRIPTION_DETACHED, "subscriptions", b.deleted_topic("unregister-membership", created_again=True)),
    (
        Code.WRONG_TOPIC,
        "subscriptions",
        b.replaced_subscription("unregister-membership", topic=f"projects/{FLEET}/topics/cluster-offboarded"),
    ),
    (Code.PAUSED, "subscriptions", b.push_config("revoke-rbac", lambda _: {})),
    (Code.WRONG_ENDPOINT, "subscriptions", b.push_config("revoke-rbac", lambda old: old | {"pushEndpoint": ELSEWHERE})),
    (
        Code.NO_OIDC,
        "subscriptions",
        b.push_config("revoke-rbac", lambda old: {"pushEndpoint": old["pushEndpoint"]}),
    ),
    (
        Code.WRONG_OIDC_ACCOUNT,
        "subscriptions",
        b.push_config(
            "revoke-rbac", lambda old: old | {"oidcToken": old["oidcToken"] | {"serviceAccountEmail": email("sweep")}}
        ),
    ),
    (
        Code.WRONG_AUDIENCE,
        "subscriptions",
        b.push_config("revoke-rbac", lambda old: old | {"oidcToken": old["oidcToken"] | {"audience": ELSEWHERE}}),
    ),
    (Code.NO_RETRY, "subscriptions", b.subscription("sweep", retryPolicy=None)),
    (Code.ACK_TOO_SHORT, "subscriptions", b.subscription("sweep", ackDeadlineSeconds=10)),
    (Code.NO_DEAD_LETTER_POLICY, "subscriptions", b.subscription("sweep", deadLetterPolicy=None)),
    (
        Code.WRONG_DEAD_LETTER_TOPIC,
        "subscriptions",
        b.subscription("sweep", deadLetterPolicy={"deadLetterTopic": f"projects/{FLEET}/topics/cluster-offboarded"}),
    ),
    (
        Code.ATTEMPTS_TOO_FEW,
        "subscriptions",
        b.subscription(
            "sweep",
            deadLetterPolicy={"deadLetterTopic": f"projects/{FLEET}/topics/dead-letters", "maxDeliveryAttempts": 5},
        ),
    ),
    (Code.EXPIRES, "subscriptions", b.subscription("sweep", expirationPolicy={"ttl": "2678400s"})),
    (Code.SUBSCRIPTION_MISSING, "dead-letters", b.replaced_subscription("dead-letters")),
    (
        Code.LETTERS_ARE_PUSHED,
        "dead-letters",
        b.push_config("dead-letters", lambda _: {"pushEndpoint": "https://elsewhere.example/"}),
    ),
    (
        Code.LETTERS_ARE_LOST,
        "dead-letters",
        b.subscription(
            "dead-letters",
            deadLetterPolicy={"deadLetterTopic": f"projects/{FLEET}/topics/cluster-offboarded"},
        ),
    ),
    (Code.EXPIRES, "dead-letters", b.subscription("dead-letters", expirationPolicy={"ttl": "86400s"})),
    (Code.AGENT_CANNOT_PUBLISH_LETTERS, "dead-letters", b.topic_policy("dead-letters", b.take("gcp-sa-pubsub"))),
    (
        Code.AGENT_CANNOT_ACKNOWLEDGE,
        "dead-letters",
        b.policy("pubsub", f"{b.SUBSCRIPTIONS}/grant-rbac", b.take("gcp-sa-pubsub", SUBSCRIBER)),
    ),
    # Events
    (Code.TRIGGER_MISSING, "triggers", b.deleted_triggers("audit-createcluster-v1")),
    (Code.TRIGGER_MISSING, "triggers", b.deleted_triggers("membership-deleted-")),
    (Code.TRIGGER_WRONG, "triggers", b.trigger("audit-setlabels-v1", serviceAccount=email("sweep"))),
    (
        Code.TRIGGER_WRONG,
        "triggers",
        b.trigger("audit-setlabels-v1", destination={"cloudRun": {"service": "sweep", "region": REGION}}),
    ),
    (Code.SINK_MISSING, "sinks", b.sink(APPS)),
    (Code.SINK_DISABLED, "sinks", b.sink(APPS, disabled=True)),
    (Code.SINK_FILTER, "sinks", b.sink(APPS, filter='resource.type="gke_cluster"')),
    (
        Code.SINK_DESTINATION,
        "sinks",
        b.sink(APPS, destination=f"pubsub.googleapis.com/projects/{FLEET}/topics/cluster-offboarded"),
    ),
    (Code.SINK_CANNOT_PUBLISH, "sinks", b.topic_policy("audit-log-entries", b.take("serviceAccount:"))),
    (Code.JOB_MISSING, "sweep", b.job()),
    (Code.JOB_PAUSED, "sweep", b.toggled("cloudscheduler", f"{b.JOBS}/sweep", "pause", "resume")),
    (
        Code.JOB_WRONG,
        "sweep",
        b.job(pubsubTarget={"topicName": f"projects/{FLEET}/topics/cluster-offboarded", "data": "e30="}),
    ),
    # The central cluster
    (Code.GATEWAY_UNREACHABLE, "central-cluster", b.lost_agent("READY")),
    (Code.CENTRAL_NOT_READY, "central-cluster", b.lost_agent("UPDATING")),
    (
        Code.CONTROLLER_MISSING,
        "argocd-version",
        b.patched(CONTROLLER, {"metadata": {"labels": {"app.kubernetes.io/name": "something-else"}}}),
    ),
    (Code.ARGOCD_TOO_OLD, "argocd-version", b.patched(CONTROLLER, b.pod({"image": "argoproj/argocd:v2.3.17"}))),
    (Code.ARGOCD_NO_HOLD, "argocd-version", b.patched(CONTROLLER, b.pod({"image": "quay.io/argoproj/argocd:v3.2.11"}))),
    (
        Code.SHARDING_MOVES_CLUSTERS,
        "argocd-sharding",
        b.together(
            b.patched(CONTROLLER, {"spec": {"replicas": 3}}),
            b.patched(
                f"{BASE}/configmaps/argocd-cmd-params-cm", {"data": {"controller.sharding.algorithm": "round-robin"}}
            ),
        ),
    ),
    (
        Code.SHARDING_REPLICAS_DIFFER,
        "argocd-sharding",
        b.patched(CONTROLLER, b.pod({"env": [{"name": "ARGOCD_CONTROLLER_REPLICAS", "value": "2"}]})),
    ),
    (Code.SHARD_OUT_OF_RANGE, "argocd-sharding", b.shard(f"{FLEET}.{REGION}.doctored", "-1")),
    (
        Code.ARGOCD_IDENTITY_MISSING,
        "argocd-identity",
        b.patched(f"{BASE}/serviceaccounts/argocd-server", {"metadata": {"annotations": {IDENTITY: None}}}),
    ),
    (
        Code.ARGOCD_IDENTITY_WRONG,
        "argocd-identity",
        b.patched(f"{BASE}/serviceaccounts/argocd-server", {"metadata": {"annotations": {IDENTITY: email("sweep")}}}),
    ),
    (
        Code.ARGOCD_IDENTITY_SHARED,
        "argocd-identity",
        b.added(
            f"{BASE}/serviceaccounts",
            {"metadata": {"name": "argocd-repo-server", "annotations": {IDENTITY: ARGOCD}}},
        ),
    ),
    (
        Code.SECRETS_VERB_MISSING,
        "secrets-access",
        b.patched(
            f"{RBAC}/namespaces/argocd/roles/fleet-registrar.default.write-secret",
            {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "get", "list"]}]},
        ),
    ),
    (
        Code.SECRETS_VERB_EXTRA,
        "secrets-access",
        b.patched(
            f"{RBAC}/namespaces/argocd/roles/fleet-registrar.default.sweep",
            {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]},
        ),
    ),
    (
        Code.SECRETS_VERB_EXTRA,
        "secrets-access",
        b.added(
            f"{RBAC}/clusterrolebindings",
            {
                "metadata": {"name": "too-much"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": email("unregister-membership")}
                ],
            },
        ),
    ),
    (
        Code.POLICY_MISSING,
        "admission-policy",
        b.removed(f"{b.ADMISSION}/validatingadmissionpolicies/fleet-registrar.default"),
    ),
    (
        Code.POLICY_NOT_ENFORCED,
        "admission-policy",
        b.removed(f"{b.ADMISSION}/validatingadmissionpolicybindings/fleet-registrar.default"),
    ),
    (
        Code.POLICY_NOT_ENFORCED,
        "admission-policy",
        b.patched(
            f"{b.ADMISSION}/validatingadmissionpolicybindings/fleet-registrar.default",
            {"spec": {"validationActions": ["Audit"]}},
        ),
    ),
    # The fleet
    (
        Code.MEMBERSHIPS_AT_QUOTA,
        "quota-memberships",
        b.quota("gkehub.googleapis.com", "gkehub.googleapis.com/regional_memberships", 2, 50),
    ),
    (
        Code.GATEWAY_NEAR_QUOTA,
        "quota-gateway",
        b.quota(*b.GATEWAY_QUOTA, 20, 1_000_000),
    ),
    (Code.UNMANAGED_SECRETS, "unmanaged-secrets", b.by_hand("legacy")),
    (
        Code.SECOND_WRITER,
        "other-writers",
        b.by_hand("synced", **{"multicluster.x-k8s.io/managed-by-cp-syncer": "true"}),
    ),
]


def _without_validations() -> Json:
    return {"spec": {"validations": [{"expression": "true"}]}}


# A kube-apiserver evaluates the policy; the embedded server does not, and says so.
ADMISSION: Table = [
    (
        Code.POLICY_ACCEPTS_WRONG,
        "admission-policy",
        b.patched(f"{b.ADMISSION}/validatingadmissionpolicies/fleet-registrar.default", _without_validations()),
    ),
    (
        Code.POLICY_REFUSES_RIGHT,
        "admission-policy",
        b.patched(
            f"{b.ADMISSION}/validatingadmissionpolicies/fleet-registrar.default",
            {"spec": {"validations": [{"expression": "request.operation == 'DELETE'"}]}},
        ),
    ),
]


def _case(number: int, code: Code, check: str, broken: Broken) -> Any:
    left_out = pytest.mark.skipif(
        KUBE == "real" and check not in ON_REAL,
        reason="left out on real clusters: a kube-apiserver decides nothing in it",
    )
    return pytest.param(code, check, broken, id=f"{code}-{number}", marks=left_out)


@pytest.mark.parametrize(("code", "check", "broken"), [_case(number, *one) for number, one in enumerate(TABLE, 1)])
def test_what_is_broken_is_named_and_nothing_else(operator: Operator, code: Code, check: str, broken: Broken) -> None:
    with broken(operator):
        found = doctor(operator.environment)
    assert (code, check) in red(found)
    assert {one for _, one in red(found)} == {check}
    assert all(one.fix for one in found if one.status in {Status.WARN, Status.FAIL})


@pytest.mark.skipif(KUBE == "embedded", reason="the embedded API server evaluates no admission policy")
@pytest.mark.parametrize(("code", "check", "broken"), ADMISSION, ids=[str(one[0]) for one in ADMISSION])
def test_policy_that_decides_wrongly_is_named(operator: Operator, code: Code, check: str, broken: Broken) -> None:
    with broken(operator):
        operator.cloud.wait_for(lambda: red(doctor(operator.environment)) == {(code, check)}, 30, str(code))


def test_table_leaves_the_deployment_as_it_was(operator: Operator) -> None:
    operator.cloud.publish("sweep", {})
    operator.cloud.wait_quiet()
    assert red(doctor(operator.environment)) == set()


def test_missing_quota_project_is_named(operator: Operator) -> None:
    assert red(doctor(operator.environment, quota_project="")) == {(Code.NO_QUOTA_PROJECT, "operator")}


def test_outage_of_an_api_makes_its_checks_unknown_and_nothing_red(operator: Operator) -> None:
    for api in ("iam", "pubsub", "eventarc", "logging", "monitoring", "gkehub", "container", "connectgateway"):
        operator.cloud.add_fault("status", api=api, caller="you@example.com", status=503, times=0)
        found = doctor(operator.environment)
        operator.cloud.remove_faults()
        assert red(found) <= {(Code.GATEWAY_UNREACHABLE, "central-cluster")}, api
        assert [one for one in found if one.status is Status.UNKNOWN and one.check not in UNKNOWN], api


# The command, as a person types it


def test_doctor_prints_a_line_for_each_check_and_changes_nothing(operator: Operator) -> None:
    def queues() -> dict[str, Any]:
        return {name: one | {"oldest_age": None} for name, one in operator.cloud.state()["queues"].items()}

    before, waiting = operator.cloud.everything(), queues()
    answer = ops(operator.environment, "doctor", "--json")
    told = json.loads(answer.stdout)
    assert (answer.returncode, told["exitCode"]) == ((2, 2) if UNKNOWN else (0, 0))
    assert told["counts"]["fail"] == told["counts"]["warn"] == 0
    assert operator.cloud.everything() == before
    assert queues() == waiting
    lines = ops(operator.environment, "doctor").stdout.splitlines()
    assert lines[0].split()[:2] == ["pass", "settings"]


def test_settings_that_are_wrong_are_one_failure(operator: Operator) -> None:
    answer = ops({**operator.environment, "HOLD": "abc"}, "doctor", "--json")
    assert answer.returncode == 1
    assert [one["code"] for one in json.loads(answer.stdout)["findings"]] == [Code.SETTINGS_INVALID]


def test_canary_is_followed_to_its_end(operator: Operator) -> None:
    before = operator.cloud.everything()
    answer = ops(operator.environment, "doctor", "--canary", "doctored", "--json")
    [canary] = [one for one in json.loads(answer.stdout)["findings"] if one["check"] == "canary"]
    assert canary["status"] == "pass", canary
    assert "register-membership unchanged → grant-rbac unchanged → write-secret unchanged" in canary["message"]
    assert operator.cloud.everything() == before


def test_canary_that_is_refused_fails_with_the_reason(operator: Operator) -> None:
    edge = operator.cloud.attach("unadmitted")
    operator.cloud.dead_letter(edge, "grant-rbac")
    answer = ops(operator.environment, "doctor", "--canary", edge, "--json")
    [canary] = [one for one in json.loads(answer.stdout)["findings"] if one["check"] == "canary"]
    assert (answer.returncode, canary["code"]) == (1, Code.CANARY_FAILED)
    assert "not_admitted" in canary["message"]
    operator.cloud.detach(edge)
    operator.cloud.wait_quiet()


def test_paused_step_keeps_its_messages_and_resume_restores_the_whole_push(operator: Operator) -> None:
    path = f"{b.SUBSCRIPTIONS}/register-membership"
    before = operator.call("GET", "pubsub", path)["pushConfig"]
    paused = ops(operator.environment, "pause", "register-membership")
    assert paused.returncode == 0
    assert "python -m ops resume register-membership" in paused.stdout
    assert "pushEndpoint" not in operator.call("GET", "pubsub", path).get("pushConfig", {})
    cluster = operator.cloud.create_cluster("waited")
    operator.cloud.running(cluster)
    assert "paused already" in ops(operator.environment, "pause", "register-membership").stdout
    resumed = ops(operator.environment, "resume", "register-membership")
    assert resumed.returncode == 0, resumed.stderr
    assert operator.call("GET", "pubsub", path)["pushConfig"] == before
    operator.cloud.onboarded(cluster)


def test_pause_prints_a_push_configuration_that_resume_would_not_restore(operator: Operator) -> None:
    with b.push_config("revoke-rbac", lambda old: old | {"pushEndpoint": ELSEWHERE})(operator):
        answer = ops(operator.environment, "pause", "revoke-rbac")
    assert "gcloud pubsub subscriptions modify-push-config revoke-rbac" in answer.stdout
    assert ELSEWHERE in answer.stdout


def test_step_that_does_not_exist_is_a_mistake(operator: Operator) -> None:
    answer = ops(operator.environment, "pause", "cluster-onboarded")
    assert answer.returncode == 1
    assert "write-secret" in answer.stderr


def test_function_that_was_deleted_is_named(operator: Operator) -> None:
    operator.call("DELETE", "cloudfunctions", f"{b.FUNCTIONS}/unregister-membership")
    assert red(doctor(operator.environment)) == {(Code.FUNCTION_MISSING, "functions")}
    answer = ops(operator.environment, "resume", "unregister-membership")
    assert answer.returncode == 1
    assert "not deployed" in answer.stderr
