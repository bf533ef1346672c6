"""Manifests that a person applies before the functions run: in the central cluster, and in an attached one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from local.google.iam.state import unique_id
from local.identities import shipped_roles
from local.names import FLEET, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.registrars import Registrar

Json = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"


# Placeholder in the manifests of `infra/argocd` → key in its `values/values.yaml`. Kustomize replaces parts of strings there;
# here the same values replace the words. A test compares the two.
_PLACEHOLDERS = {
    "NAMESPACE": "namespace",
    "INSTANCE": "instance",
    "FLEET": "fleet-project",
    "NUMBER": "fleet-project-number",
    "DOMAIN": "functions-domain",
    "IDS": "functions-ids",
    "SHARDS": "shards",
    "CENTRAL": "central-membership",
}
_WORD = re.compile(rf"\b({'|'.join(_PLACEHOLDERS)})\b")
_FILES = ("registrar/roles.yaml", "registrar/policy.yaml")
_FILES_ATTACHED = (*_FILES, "components/attached-central/impersonation.yaml")


def values(
    registrar: Registrar, settings: Mapping[str, str], namespace: str, central_membership: str
) -> dict[str, str]:
    """Return the values of `infra/argocd/values` that describe a deployment; `settings` are the functions'."""
    functions = [name for name in shipped_roles() if name != "argocd"]
    return {
        "instance": settings.get("INSTANCE", registrar.instance),
        "namespace": namespace,
        "fleet-project": registrar.project,
        "fleet-project-number": str(registrar.number),
        "functions-domain": registrar.account("write-secret").partition("@")[2],
        "functions-ids": ",".join(unique_id(registrar.account(name)) for name in functions),
        "shards": settings.get("ARGOCD_SHARDS", "0"),
        "argocd-identity": registrar.account("argocd"),
        "central-membership": central_membership,
    }


def registrar(given: Mapping[str, str], *, attached: bool = False, gateway: str = "") -> list[Json]:
    """Return the manifests of `infra/argocd/registrar` (`registrar-attached`) with the given values.

    `gateway` (host:port) replaces Google's Connect Gateway in the admission policy.
    """
    found: list[Json] = []
    for file in _FILES_ATTACHED if attached else _FILES:
        text = (ROOT / "infra" / "argocd" / file).read_text()
        found += filter(None, yaml.safe_load_all(_WORD.sub(lambda match: given[_PLACEHOLDERS[match[1]]], text)))
    for item in found:
        for variable in item.get("spec", {}).get("variables", []):
            if variable["name"] == "host" and gateway:
                variable["expression"] = f"'{gateway}'"
    return found


def admission_to_attached(user: str, membership: str, project: str = FLEET) -> Iterator[Json]:
    """The objects that `gcloud container fleet memberships generate-gateway-rbac --apply` writes into an attached cluster.

    The agent may impersonate the user, and the user is an administrator. `membership` is the short name.
    """
    agent = {"kind": "ServiceAccount", "name": "connect-agent-sa", "namespace": "gke-connect"}
    labels = {"connect.gke.io/owner-feature": "connect-gateway"}
    impersonate: Json = {"name": f"gateway-impersonate-{project}_{user}_{membership}", "labels": labels}
    permission = {"name": f"gateway-permission-{project}_{user}_{membership}", "labels": labels}
    rules = [{"apiGroups": [""], "resources": ["users"], "resourceNames": [user], "verbs": ["impersonate"]}]
    person = {"apiGroup": RBAC, "kind": "User", "name": user}
    yield {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": impersonate, "rules": rules}
    yield _binding("ClusterRoleBinding", impersonate, "ClusterRole", impersonate["name"], agent)
    yield _binding("ClusterRoleBinding", permission, "ClusterRole", "cluster-admin", person)


def _binding(kind: str, meta: Json, role_kind: str, role: str, subject: Json) -> Json:
    ref = {"apiGroup": RBAC, "kind": role_kind, "name": role}
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": meta, "roleRef": ref, "subjects": [subject]}
