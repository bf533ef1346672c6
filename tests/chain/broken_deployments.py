"""Ways in which a deployment is broken, and the finding of doctor for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ops.doctor.codes import Code
from tests.chain.breakages import central, functions, projects, pubsub
from tests.chain.breakages.central import BASE, CONTROLLER, RBAC
from tests.chain.breakages.operator import ARGOCD, PUSH
from tests.chain.breakages.projects import IDENTITY
from tests.chain.running import APPS, FLEET, REGION, email

if TYPE_CHECKING:
    from tests.chain.breakages.operator import Broken

    Json = dict[str, Any]
    Table = list[tuple[Code, str, Broken]]


SUBSCRIBER = "roles/pubsub.subscriber"
MEMBER = f"serviceAccount:{FLEET}.svc.id.goog[argocd/argocd-server]"
ELSEWHERE = "https://elsewhere.example/"

TABLE: Table = [
    # Projects, identities, permissions
    (
        Code.API_DISABLED,
        "apis",
        projects.toggled("serviceusage", f"v1/projects/{APPS}/services/gkehub.googleapis.com", "disable", "enable"),
    ),
    (
        Code.API_DISABLED,
        "apis",
        projects.toggled("serviceusage", f"v1/projects/{FLEET}/services/eventarc.googleapis.com", "disable", "enable"),
    ),
    (
        Code.ACCOUNT_DISABLED,
        "service-accounts",
        projects.toggled("iam", f"v1/projects/{FLEET}/serviceAccounts/{email('grant-rbac')}", "disable", "enable"),
    ),
    (Code.ACCOUNT_MISSING, "service-accounts", projects.deleted_account("route-event")),
    (Code.PERMISSION_MISSING, "permissions", projects.role_without(FLEET, "write_secret", "gkehub.gateway.post")),
    (Code.PERMISSION_MISSING, "permissions", projects.role_without(APPS, "grant_rbac", "container.clusterRoles.bind")),
    (Code.PERMISSION_MISSING, "permissions", projects.project_policy(APPS, projects.take("fleet-sweep@"))),
    (
        Code.PERMISSION_EXTRA,
        "permissions",
        projects.project_policy(APPS, projects.give("roles/container.developer", f"serviceAccount:{email('sweep')}")),
    ),
    (Code.PUBLISHER_MISSING, "publishers", projects.topic_policy("grant-rbac", projects.take("register-membership@"))),
    (
        Code.AGENT_ROLE_MISSING,
        "service-agents",
        projects.project_policy(FLEET, projects.take("gcp-sa-eventarc", "roles/eventarc.serviceAgent")),
    ),
    (
        Code.AGENT_ROLE_MISSING,
        "service-agents",
        projects.project_policy(APPS, projects.take("gcp-sa-gkehub", "roles/gkehub.serviceAgent")),
    ),
    (
        Code.AGENT_ROLE_MISSING,
        "service-agents",
        central.together(
            projects.project_policy(FLEET, projects.take("gcp-sa-pubsub", "roles/pubsub.serviceAgent")),
            projects.account_policy(PUSH, projects.take("gcp-sa-pubsub")),
        ),
    ),
    (
        Code.BUILD_ROLE_MISSING,
        "build-identity",
        projects.project_policy(FLEET, projects.take("fleet-registrar-build", "roles/storage.objectViewer")),
    ),
    (
        Code.WORKLOAD_IDENTITY_MISSING,
        "argocd-workload-identity",
        projects.account_policy(ARGOCD, projects.take("argocd-server")),
    ),
    (
        Code.WORKLOAD_IDENTITY_EXTRA,
        "argocd-workload-identity",
        projects.account_policy(
            ARGOCD, projects.give("roles/iam.workloadIdentityUser", MEMBER.replace("server", "repo-server"))
        ),
    ),
    # Functions
    (Code.FUNCTION_NOT_ACTIVE, "functions", functions.failed_function("write-secret")),
    (
        Code.FUNCTION_IDENTITY_WRONG,
        "functions",
        functions.function("write-secret", "serviceAccountEmail", value=email("grant-rbac")),
    ),
    (Code.FUNCTION_OPEN, "functions", functions.function("write-secret", "ingressSettings", value="ALLOW_ALL")),
    (Code.CODE_DIFFERS, "code", functions.other_code("write-secret")),
    (
        Code.SETTINGS_DIFFER,
        "function-settings",
        functions.function("unregister-membership", "environmentVariables", HOLD="901"),
    ),
    (Code.SETTINGS_FAULTY, "function-settings", functions.function("revoke-rbac", "environmentVariables", HOLD="abc")),
    (
        Code.INVOKER_MISSING,
        "invokers",
        projects.policy("run", f"{functions.SERVICES}/unregister-membership", projects.take("fleet-registrar-push")),
    ),
    (
        Code.INVOKER_MISSING,
        "invokers",
        projects.policy("run", f"{functions.SERVICES}/route-event", projects.take("fleet-registrar-trigger")),
    ),
    (
        Code.PUBLIC_INVOKER,
        "invokers",
        projects.policy("run", f"{functions.SERVICES}/sweep", projects.give("roles/run.invoker", "allUsers")),
    ),
    # Pub/Sub
    (Code.TOPIC_MISSING, "topics", pubsub.deleted_topic("cluster-events")),
    (Code.SUBSCRIPTION_MISSING, "subscriptions", pubsub.replaced_subscription("unregister-membership")),
    (Code.SUBSCRIPTION_DETACHED, "subscriptions", pubsub.deleted_topic("unregister-membership", created_again=True)),
    (
        Code.WRONG_TOPIC,
        "subscriptions",
        pubsub.replaced_subscription("unregister-membership", topic=f"projects/{FLEET}/topics/cluster-events"),
    ),
    (Code.PAUSED, "subscriptions", pubsub.push_config("revoke-rbac", lambda _: {})),
    (
        Code.WRONG_ENDPOINT,
        "subscriptions",
        pubsub.push_config("revoke-rbac", lambda old: old | {"pushEndpoint": ELSEWHERE}),
    ),
    (
        Code.NO_OIDC,
        "subscriptions",
        pubsub.push_config("revoke-rbac", lambda old: {"pushEndpoint": old["pushEndpoint"]}),
    ),
    (
        Code.WRONG_OIDC_ACCOUNT,
        "subscriptions",
        pubsub.push_config(
            "revoke-rbac", lambda old: old | {"oidcToken": old["oidcToken"] | {"serviceAccountEmail": email("sweep")}}
        ),
    ),
    (
        Code.WRONG_AUDIENCE,
        "subscriptions",
        pubsub.push_config("revoke-rbac", lambda old: old | {"oidcToken": old["oidcToken"] | {"audience": ELSEWHERE}}),
    ),
    (Code.NO_RETRY, "subscriptions", pubsub.subscription("sweep", retryPolicy=None)),
    (Code.ACK_TOO_SHORT, "subscriptions", pubsub.subscription("sweep", ackDeadlineSeconds=10)),
    (Code.NO_DEAD_LETTER_POLICY, "subscriptions", pubsub.subscription("sweep", deadLetterPolicy=None)),
    (
        Code.WRONG_DEAD_LETTER_TOPIC,
        "subscriptions",
        pubsub.subscription("sweep", deadLetterPolicy={"deadLetterTopic": f"projects/{FLEET}/topics/cluster-events"}),
    ),
    (
        Code.ATTEMPTS_TOO_FEW,
        "subscriptions",
        pubsub.subscription(
            "sweep",
            deadLetterPolicy={"deadLetterTopic": f"projects/{FLEET}/topics/dead-letters", "maxDeliveryAttempts": 5},
        ),
    ),
    (Code.EXPIRES, "subscriptions", pubsub.subscription("sweep", expirationPolicy={"ttl": "2678400s"})),
    (Code.SUBSCRIPTION_MISSING, "dead-letters", pubsub.replaced_subscription("dead-letters")),
    (
        Code.LETTERS_ARE_PUSHED,
        "dead-letters",
        pubsub.push_config("dead-letters", lambda _: {"pushEndpoint": "https://elsewhere.example/"}),
    ),
    (
        Code.LETTERS_ARE_LOST,
        "dead-letters",
        pubsub.subscription(
            "dead-letters",
            deadLetterPolicy={"deadLetterTopic": f"projects/{FLEET}/topics/cluster-events"},
        ),
    ),
    (Code.EXPIRES, "dead-letters", pubsub.subscription("dead-letters", expirationPolicy={"ttl": "86400s"})),
    (
        Code.AGENT_CANNOT_PUBLISH_LETTERS,
        "dead-letters",
        projects.topic_policy("dead-letters", projects.take("gcp-sa-pubsub")),
    ),
    (
        Code.AGENT_CANNOT_ACKNOWLEDGE,
        "dead-letters",
        projects.policy("pubsub", f"{pubsub.SUBSCRIPTIONS}/grant-rbac", projects.take("gcp-sa-pubsub", SUBSCRIBER)),
    ),
    # Events
    (Code.TRIGGER_MISSING, "triggers", functions.deleted_triggers("audit-createcluster-v1")),
    (Code.TRIGGER_MISSING, "triggers", functions.deleted_triggers("membership-deleted-")),
    (Code.TRIGGER_WRONG, "triggers", functions.trigger("audit-setlabels-v1", serviceAccount=email("sweep"))),
    (
        Code.TRIGGER_WRONG,
        "triggers",
        functions.trigger("audit-setlabels-v1", destination={"cloudRun": {"service": "sweep", "region": REGION}}),
    ),
    (Code.SINK_MISSING, "sinks", projects.sink(APPS)),
    (Code.SINK_DISABLED, "sinks", projects.sink(APPS, disabled=True)),
    (Code.SINK_FILTER, "sinks", projects.sink(APPS, filter='resource.type="gke_cluster"')),
    (
        Code.SINK_DESTINATION,
        "sinks",
        projects.sink(APPS, destination=f"pubsub.googleapis.com/projects/{FLEET}/topics/cluster-events"),
    ),
    (Code.SINK_CANNOT_PUBLISH, "sinks", projects.topic_policy("audit-log-entries", projects.take("serviceAccount:"))),
    (Code.JOB_MISSING, "sweep", functions.job()),
    (Code.JOB_PAUSED, "sweep", projects.toggled("cloudscheduler", f"{functions.JOBS}/sweep", "pause", "resume")),
    (
        Code.JOB_WRONG,
        "sweep",
        functions.job(pubsubTarget={"topicName": f"projects/{FLEET}/topics/cluster-events", "data": "e30="}),
    ),
    # The central cluster
    (Code.GATEWAY_UNREACHABLE, "central-cluster", central.lost_agent("READY")),
    (Code.CENTRAL_NOT_READY, "central-cluster", central.lost_agent("UPDATING")),
    (
        Code.CONTROLLER_MISSING,
        "argocd-version",
        central.patched(CONTROLLER, {"metadata": {"labels": {"app.kubernetes.io/name": "something-else"}}}),
    ),
    (
        Code.ARGOCD_TOO_OLD,
        "argocd-version",
        central.patched(CONTROLLER, central.pod({"image": "argoproj/argocd:v2.3.17"})),
    ),
    (
        Code.ARGOCD_NO_HOLD,
        "argocd-version",
        central.patched(CONTROLLER, central.pod({"image": "quay.io/argoproj/argocd:v3.2.11"})),
    ),
    (
        Code.SHARDING_MOVES_CLUSTERS,
        "argocd-sharding",
        central.together(
            central.patched(CONTROLLER, {"spec": {"replicas": 3}}),
            central.patched(
                f"{BASE}/configmaps/argocd-cmd-params-cm", {"data": {"controller.sharding.algorithm": "round-robin"}}
            ),
        ),
    ),
    (
        Code.SHARDING_REPLICAS_DIFFER,
        "argocd-sharding",
        central.patched(CONTROLLER, central.pod({"env": [{"name": "ARGOCD_CONTROLLER_REPLICAS", "value": "2"}]})),
    ),
    (Code.SHARD_OUT_OF_RANGE, "argocd-sharding", central.shard(f"{FLEET}.{REGION}.doctored", "-1")),
    (
        Code.APPLICATIONS_ELSEWHERE,
        "argocd-applications",
        central.patched(
            f"{BASE}/configmaps/argocd-cmd-params-cm", {"data": {"application.namespaces": "team-a, team-b-*"}}
        ),
    ),
    (
        Code.ARGOCD_IDENTITY_MISSING,
        "argocd-identity",
        central.patched(f"{BASE}/serviceaccounts/argocd-server", {"metadata": {"annotations": {IDENTITY: None}}}),
    ),
    (
        Code.ARGOCD_IDENTITY_WRONG,
        "argocd-identity",
        central.patched(
            f"{BASE}/serviceaccounts/argocd-server", {"metadata": {"annotations": {IDENTITY: email("sweep")}}}
        ),
    ),
    (
        Code.ARGOCD_IDENTITY_SHARED,
        "argocd-identity",
        central.added(
            f"{BASE}/serviceaccounts",
            {"metadata": {"name": "argocd-repo-server", "annotations": {IDENTITY: ARGOCD}}},
        ),
    ),
    (
        Code.SECRETS_VERB_MISSING,
        "secrets-access",
        central.patched(
            f"{RBAC}/namespaces/argocd/roles/fleet-registrar.default.write-secret",
            {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "get", "list"]}]},
        ),
    ),
    (
        Code.SECRETS_VERB_EXTRA,
        "secrets-access",
        central.patched(
            f"{RBAC}/namespaces/argocd/roles/fleet-registrar.default.sweep",
            {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]},
        ),
    ),
    (
        Code.SECRETS_VERB_EXTRA,
        "secrets-access",
        central.added(
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
        central.removed(f"{central.ADMISSION}/validatingadmissionpolicies/fleet-registrar.default"),
    ),
    (
        Code.POLICY_NOT_ENFORCED,
        "admission-policy",
        central.removed(f"{central.ADMISSION}/validatingadmissionpolicybindings/fleet-registrar.default"),
    ),
    (
        Code.POLICY_NOT_ENFORCED,
        "admission-policy",
        central.patched(
            f"{central.ADMISSION}/validatingadmissionpolicybindings/fleet-registrar.default",
            {"spec": {"validationActions": ["Audit"]}},
        ),
    ),
    # The fleet
    (
        Code.MEMBERSHIPS_AT_QUOTA,
        "quota-memberships",
        projects.quota("gkehub.googleapis.com", "gkehub.googleapis.com/regional_memberships", 2, 50),
    ),
    (
        Code.GATEWAY_NEAR_QUOTA,
        "quota-gateway",
        projects.quota(*projects.GATEWAY_QUOTA, 20, 1_000_000),
    ),
    (Code.UNMANAGED_SECRETS, "unmanaged-secrets", central.by_hand("legacy")),
    (
        Code.SECOND_WRITER,
        "other-writers",
        central.by_hand("synced", **{"multicluster.x-k8s.io/managed-by-cp-syncer": "true"}),
    ),
    (Code.SECOND_WRITER, "other-writers", central.by_registrar("other-instance", "west", "other-run")),
    (Code.SECOND_WRITER, "other-writers", central.by_registrar("same-instance", "default", "other-run")),
]


def _without_validations() -> Json:
    return {"spec": {"validations": [{"expression": "true"}]}}


# A kube-apiserver evaluates the policy; the embedded server does not, and says so.
ADMISSION: Table = [
    (
        Code.POLICY_ACCEPTS_WRONG,
        "admission-policy",
        central.patched(
            f"{central.ADMISSION}/validatingadmissionpolicies/fleet-registrar.default", _without_validations()
        ),
    ),
    (
        Code.POLICY_REFUSES_RIGHT,
        "admission-policy",
        central.patched(
            f"{central.ADMISSION}/validatingadmissionpolicies/fleet-registrar.default",
            {"spec": {"validations": [{"expression": "request.operation == 'DELETE'"}]}},
        ),
    ),
]
