"""What helps against each fault, by its code: sentences and commands. Pure.

No command comes from a log entry, a dead letter or an error: anybody may have written those. Commands are made of names
that were parsed, and of settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ops.advice import Advice
from shared.decisions import outcomes
from shared.decisions.reports import DOCTOR, describe_command, leave_fleet_command
from shared.values.cluster_secret import MANAGED_BY_LABEL
from shared.values.codes import ErrorCode
from shared.values.commands import gcloud, gcloud_on, kubectl
from shared.values.messages import publish_command
from shared.values.model import MANAGED_BY
from shared.values.names import ClusterName, MembershipName, Name

if TYPE_CHECKING:
    from shared.values.settings import Settings

STATUS: Final = "python -m ops status"
SETTINGS: Final = (
    """eval "$(terraform -chdir=infra/terraform output -json environment"""
    """ | jq -r 'to_entries[] | "export \\(.key)=\\(.value | @sh)"')\""""
)
# Our own codes beside those of errors: what `explain` sees inside a cluster.
NO_BINDING: Final = "no_binding"


def remedies(code: str, name: Name, membership: MembershipName, settings: Settings, found: str = "") -> list[Advice]:
    """Return what helps; empty where only time does. `found` is the name of the object that is in question."""
    match code:
        case ErrorCode.NOT_ADMITTED:
            text = "Grant our two identities access to the cluster, with its own kubeconfig and context"
            return [Advice(text, outcomes.admission_command(membership, settings))]
        case ErrorCode.UNMANAGED_MEMBERSHIP:
            return unmanaged_membership(membership)
        case ErrorCode.UNMANAGED_SECRET:
            return unmanaged_secret(found or name.secret_name, settings)
        case ErrorCode.DUPLICATE_SECRETS:
            selector = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
            get = kubectl(settings.argocd_namespace, "get secrets -l", selector, "--show-labels")
            return [Advice("See both Secrets, and delete the wrong one", get)]
        case ErrorCode.UNMANAGED_BINDING:
            return unmanaged_binding(found or f"fleet-registrar:{settings.argocd_service_account}", membership)
        case ErrorCode.NO_ROLE:
            return no_role(membership, settings)
        case ErrorCode.DENIED:
            text = "Find the missing permission and the command that grants it; `make apply` grants all of them"
            return [Advice(text, DOCTOR)]
        case ErrorCode.INVALID_SETTINGS | ErrorCode.NO_IDENTITY | ErrorCode.NO_CENTRAL_MEMBERSHIP:
            return [Advice("Check the functions' settings", DOCTOR)]
        case ErrorCode.UNREACHABLE:
            return unreachable(name, membership)
        case ErrorCode.OTHER_FLEET if isinstance(name, ClusterName):
            return [Advice("Take it out of the other fleet", leave_fleet_command(name))]
        case _:
            return []


def incomplete(again: str) -> list[Advice]:
    """Something could not be read. `again` is the command that reads it once more."""
    return [
        Advice("Do not delete anything because of this: it is incomplete. Try again in some minutes", again),
        Advice("Check APIs, permissions and settings", DOCTOR),
    ]


def outside(project: str) -> list[Advice]:
    """No sweep reads the project: either it should be a source project, or its name is wrong."""
    return [
        Advice(
            f"If its clusters should be registered, add {project} to SOURCE_PROJECTS: `sources` in terraform.tfvars,"
            " then `make plan` and `make apply`"
        ),
        Advice(
            "Otherwise check the name: list the clusters of the project",
            gcloud("container clusters list", project=project),
        ),
    ]


def own_settings() -> list[Advice]:
    """The settings in the operator's environment are wrong; so no name can be taken from them."""
    shown = '--format="yaml(name,serviceConfig.environmentVariables)"'
    return [
        Advice("Set what Terraform has deployed", SETTINGS),
        Advice("See the settings that the functions have", f"gcloud functions list {shown}"),
        Advice(
            "If the functions have the same, correct `settings` in terraform.tfvars, then `make plan` and `make apply`"
        ),
    ]


def not_looked_into(name: Name, membership: MembershipName, settings: Settings) -> list[Advice]:
    """The gateway, or the cluster behind it, gave no answer that says anything about the access."""
    key = "cluster" if isinstance(name, ClusterName) else "membership"
    return [
        Advice("See the state of its membership", describe_command(membership)),
        Advice("Check APIs, permissions and settings", DOCTOR),
        Advice(
            "Verify the access again, when the cluster answers",
            publish_command("register-membership", {key: str(name)}, settings),
        ),
    ]


def unmanaged_membership(membership: MembershipName) -> list[Advice]:
    """The id that we need is taken by a membership that is unmanaged."""
    return [
        Advice("See whose membership it is", describe_command(membership)),
        Advice("If nobody needs it, delete it", gcloud_on("delete", membership)),
    ]


def unmanaged_secret(secret: str, settings: Settings) -> list[Advice]:
    """The name that we need is taken by a Secret that is unmanaged."""
    namespace = settings.argocd_namespace
    return [
        Advice("See whose Secret it is", kubectl(namespace, "get secret", secret, "--show-labels")),
        Advice("If nobody needs it, delete it", kubectl(namespace, "delete secret", secret)),
    ]


def unmanaged_binding(binding: str, membership: MembershipName) -> list[Advice]:
    """The name that we need is taken by an RBAC object that is unmanaged."""
    return [
        _credentials(membership),
        Advice("See whose binding it is", f"kubectl get clusterrolebinding {binding} -o wide"),
        Advice("If nobody needs it, delete it", f"kubectl delete clusterrolebinding {binding}"),
    ]


def no_role(membership: MembershipName, settings: Settings) -> list[Advice]:
    """ARGOCD_CLUSTER_ROLE does not exist in the cluster."""
    role = settings.argocd_cluster_role
    return [
        _credentials(membership),
        Advice("List the ClusterRoles that exist", "kubectl get clusterroles"),
        Advice(f"Create ClusterRole {role} in the cluster, or change ARGOCD_CLUSTER_ROLE with Terraform"),
    ]


def unreachable(name: Name, membership: MembershipName) -> list[Advice]:
    """The gateway does not reach the cluster: an attached cluster has an agent, a GKE cluster has none."""
    if isinstance(name, ClusterName):
        return [Advice("See the cluster's status", describe_command(name))]
    return [
        Advice("Check its agent, with the cluster's own kubeconfig", "kubectl -n gke-connect get pods"),
        Advice("See its membership", describe_command(membership)),
    ]


def pause_hint(step: str) -> list[Advice]:
    """A step has not answered a message."""
    return [
        Advice("See whether its function runs, and whether its subscription is paused", STATUS),
        Advice("If the step is paused, resume it", f"python -m ops resume {step}"),
    ]


def update_labels(name: Name, labels: dict[str, str]) -> str:
    """Return the command that sets the labels: gcloud replaces all of them, so `labels` must be complete."""
    return gcloud_on(
        "update", name, "--update-labels=" + ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    )


def _credentials(membership: MembershipName) -> Advice:
    return Advice("Make the cluster kubectl's context", gcloud_on("get-credentials", membership))
