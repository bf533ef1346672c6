"""The objects in an application cluster that let Argo CD's identity in, as data, and how they compare.

Pure. On GKE the API server sees the plain e-mail as the user; on an attached cluster the agent must also be allowed to
impersonate it (gcloud: command_lib/container/fleet/rbac_util.py).
"""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from shared.values.cluster_secret import INSTANCE, MANAGED_BY_LABEL
from shared.values.model import MANAGED_BY
from shared.values.objects import Object, precondition
from shared.values.settings import DEFAULT_INSTANCE, Settings
from shared.values.target import GkeTarget, Target

if TYPE_CHECKING:
    from collections.abc import Mapping


# Collections of the Kubernetes API, below a cluster's address.
BINDINGS: Final = "apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
ROLES: Final = "apis/rbac.authorization.k8s.io/v1/clusterroles"
REVIEWS: Final = "apis/authorization.k8s.io/v1/subjectaccessreviews"

GROUP: Final = "rbac.authorization.k8s.io"
AGENT: Final = {"kind": "ServiceAccount", "name": "connect-agent-sa", "namespace": "gke-connect"}
AGENT_USER: Final = "system:serviceaccount:gke-connect:connect-agent-sa"


class Drift(enum.Enum):
    """How an object in the cluster differs from the desired one."""

    NONE = "up to date"
    MISSING = "missing"
    CHANGED = "changed"
    OTHER_ROLE = "bound to another role"
    UNMANAGED = "an unmanaged object has the name"


def objects(settings: Settings, *, attached: bool) -> list[Object]:
    """Return the desired objects in the order of their creation; the first is Argo CD's ClusterRoleBinding."""
    labels = {MANAGED_BY_LABEL: MANAGED_BY, INSTANCE: settings.instance}
    user = {"apiGroup": GROUP, "kind": "User", "name": settings.argocd_service_account}
    binding = _binding(f"fleet-registrar:{settings.argocd_service_account}", settings.argocd_cluster_role, user, labels)
    if not attached:
        return [binding]
    name = f"fleet-registrar:impersonate:{settings.argocd_service_account}"
    rule = {
        "apiGroups": [""],
        "resources": ["users"],
        "verbs": ["impersonate"],
        "resourceNames": [settings.argocd_service_account],
    }
    role = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "rules": [rule],
    }
    return [binding, role, _binding(name, name, AGENT, labels)]


def objects_of_previous(settings: Settings, previous: str, *, attached: bool) -> list[Object]:
    """Return what we made for an identity that is no longer Argo CD's; nothing for Argo CD's own."""
    if not previous or previous == settings.argocd_service_account:
        return []
    return objects(replace(settings, argocd_service_account=previous), attached=attached)


def grant_audience(target: Target, settings: Settings) -> str:
    """Return the audience of the proof of one grant: which role for whom, in which generation of which cluster.

    It is the audience of no service, so the ID token that carries it opens nothing.
    """
    parts = [
        *((str(target.name), target.cluster.id) if isinstance(target, GkeTarget) else ("", "")),
        str(target.membership.name),
        target.membership.unique_id,
        settings.argocd_cluster_role,
        settings.argocd_service_account,
        settings.instance,
    ]
    return f"fleet-registrar:grant:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def collection(manifest: Object) -> str:
    """Return the collection that an object belongs to."""
    return ROLES if manifest["kind"] == "ClusterRole" else BINDINGS


def compare(current: Object | None, desired: Object) -> Drift:
    """Compare an object as the API gives it with the one we want. A `roleRef` can never be changed in place."""
    if current is None:
        return Drift.MISSING
    if not is_managed(current, desired["metadata"]["labels"][INSTANCE]):
        return Drift.UNMANAGED
    if current.get("roleRef", {}).get("name") != desired.get("roleRef", {}).get("name"):
        return Drift.OTHER_ROLE
    part = "rules" if desired["kind"] == "ClusterRole" else "subjects"
    return Drift.NONE if _plain(current.get(part)) == _plain(desired[part]) else Drift.CHANGED


def is_managed(current: Mapping[str, Any], instance: str) -> bool:
    """Whether this instance made an object; objects that are older than instances belong to the default one."""
    labels = current["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY_LABEL) == MANAGED_BY and labels.get(INSTANCE, DEFAULT_INSTANCE) == instance


def patch(current: Object, desired: Object) -> Object:
    """Return the merge patch that repairs subjects or rules, with the version that was read."""
    part = "rules" if desired["kind"] == "ClusterRole" else "subjects"
    return {"metadata": version(current), part: desired[part]}


def version(current: Object) -> Object:
    """The precondition of a write: the very object and version that were read."""
    return precondition(current["metadata"]["uid"], current["metadata"]["resourceVersion"])


def reviews(settings: Settings, role: Object | None, *, attached: bool) -> list[Object]:
    """Return the SubjectAccessReviews that prove the access: `role` is the bound ClusterRole, None for cluster-admin.

    They ask about Argo CD's identity, and on attached clusters also whether the agent may impersonate it.
    """
    request = [_review(settings.argocd_service_account, one_permission(role))]
    if attached:
        impersonate = {"verb": "impersonate", "group": "", "resource": "users", "name": settings.argocd_service_account}
        groups = ["system:serviceaccounts", "system:serviceaccounts:gke-connect", "system:authenticated"]
        request.append(_review(AGENT_USER, impersonate, groups))
    return request


def one_permission(role: Object | None) -> Object:
    """Return the attributes of one thing that the role allows: everything, for cluster-admin."""
    if role is None:
        return {"verb": "*", "group": "*", "resource": "*"}
    for rule in role.get("rules") or []:
        if rule.get("resources") and rule.get("verbs"):
            attributes = {
                "verb": rule["verbs"][0],
                "group": (rule.get("apiGroups") or [""])[0],
                "resource": rule["resources"][0],
            }
            resource, slash, subresource = attributes["resource"].partition("/")
            attributes |= {"resource": resource, "subresource": subresource} if slash else {}
            return attributes | ({"name": rule["resourceNames"][0]} if rule.get("resourceNames") else {})
    return {"verb": "get", "group": "", "resource": "namespaces"}


def admission_command(membership: str, project: str, users: list[str]) -> str:
    """Return the one command by which a person lets our identities into an attached cluster."""
    return (
        f"gcloud container fleet memberships generate-gateway-rbac --membership={membership} --project={project}"
        f" --role=clusterrole/cluster-admin --users={','.join(users)}"
        " --kubeconfig=KUBECONFIG_OF_THE_CLUSTER --context=ITS_CONTEXT --apply"
    )


def _binding(name: str, role: str, subject: Object, labels: Mapping[str, str]) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": dict(labels)},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def _review(user: str, attributes: Object, groups: list[str] | None = None) -> Object:
    spec: Object = {"user": user, "resourceAttributes": attributes}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {**spec, "groups": groups} if groups else spec,
    }


def _plain(entries: list[Object] | None) -> list[Object]:
    """Entries without empty fields: the API server fills some in and leaves others out."""
    return [{key: value for key, value in entry.items() if value not in ("", None, [])} for entry in entries or []]
