"""The RBAC objects of an application cluster for Argo CD's identity, as data, and their differences.

Pure. On GKE the API server sees the plain e-mail as the user; on an attached cluster the agent must also be allowed to
impersonate it (gcloud: command_lib/container/fleet/rbac_util.py).
"""

from __future__ import annotations

import enum
import hashlib
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.values.cluster_secret import FUNCTIONS_PROJECT, INSTANCE, MANAGED_BY_LABEL, SELECT_MANAGED
from shared.values.model import MANAGED_BY
from shared.values.objects import Object, precondition
from shared.values.settings import DEFAULT_INSTANCE, Settings
from shared.values.target import GkeTarget, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# Collections of the Kubernetes API, below a cluster's address.
BINDINGS: Final = "apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
ROLES: Final = "apis/rbac.authorization.k8s.io/v1/clusterroles"
REVIEWS: Final = "apis/authorization.k8s.io/v1/subjectaccessreviews"

SELECT: Final = SELECT_MANAGED
NAME_PREFIX: Final = "fleet-registrar:"
# A step that began with earlier settings has ended after this time. Until then it must not delete the objects of newer settings.
SETTLED: Final = timedelta(minutes=10)

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
    marks = {
        "labels": {MANAGED_BY_LABEL: MANAGED_BY, INSTANCE: settings.instance},
        "annotations": {FUNCTIONS_PROJECT: settings.pubsub_project},
    }
    user = {"apiGroup": GROUP, "kind": "User", "name": settings.argocd_service_account}
    own, name = names_for(settings.argocd_service_account)
    binding = _binding(own, settings.argocd_cluster_role, user, marks)
    if not attached:
        return [binding]
    rule = {
        "apiGroups": [""],
        "resources": ["users"],
        "verbs": ["impersonate"],
        "resourceNames": [settings.argocd_service_account],
    }
    role = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, **marks},
        "rules": [rule],
    }
    return [binding, role, _binding(name, name, AGENT, marks)]


def names_for(identity: str) -> tuple[str, str]:
    """Return the names of the objects that give an identity access: its binding, and those for the agent."""
    return f"{NAME_PREFIX}{identity}", f"{NAME_PREFIX}impersonate:{identity}"


def stale(found: Iterable[Object], settings: Settings, previous: str, now: datetime) -> list[Object]:
    """Return our objects of identities that are no longer Argo CD's: of `previous`, and of others that these functions granted."""
    current = names_for(settings.argocd_service_account)
    gone = removable(found, settings, previous, made_before=now - SETTLED)
    return [each for each in gone if each["metadata"]["name"] not in current]


def removable(found: Iterable[Object], settings: Settings, *identities: str, made_before: datetime) -> list[Object]:
    """Return our objects of these identities, and those of any identity that these functions made before that time.

    Functions of another project may serve another Argo CD under the same INSTANCE, so what they made for others stays.
    """
    named = {name for identity in identities if identity for name in names_for(identity)}
    return [
        each
        for each in found
        if is_managed(each, settings.instance)
        and each["metadata"]["name"].startswith(NAME_PREFIX)
        and (each["metadata"]["name"] in named or _was_made_by(settings, each, made_before))
    ]


def _was_made_by(settings: Settings, found: Object, before: datetime) -> bool:
    annotations, created = found["metadata"].get("annotations") or {}, found["metadata"].get("creationTimestamp")
    if annotations.get(FUNCTIONS_PROJECT) != settings.pubsub_project or not isinstance(created, str):
        return False
    try:
        return datetime.fromisoformat(created) <= before
    except (ValueError, TypeError):  # no time, or one without a zone
        return False


def grant_audience(target: Target, settings: Settings) -> str:
    """Return the audience of the proof of one grant: it names role, identity, cluster and the cluster's generation.

    No service has this audience, so the ID token gives no access.
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
    """Return the command with which a person grants our identities access to an attached cluster."""
    return (
        f"gcloud container fleet memberships generate-gateway-rbac --membership={membership} --project={project}"
        f" --role=clusterrole/cluster-admin --users={','.join(users)}"
        " --kubeconfig=KUBECONFIG_OF_THE_CLUSTER --context=ITS_CONTEXT --apply"
    )


def delete_command(settings: Settings) -> str:
    """Return the command with which a person deletes what we made in a cluster that the functions do not reach."""
    marks = f"{SELECT},{INSTANCE}={settings.instance}"
    return f"kubectl delete clusterrolebindings,clusterroles -l {marks}"


def _binding(name: str, role: str, subject: Object, marks: Object) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, **marks},
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
