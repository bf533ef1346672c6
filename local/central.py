"""Manifests that somebody applies before the functions run: in the central cluster, and in an attached one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from local.identities import service_account, shipped_roles
from local.names import FLEET, NUMBERS, ROOT
from local.processes import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"


def namespace_and_roles(namespace: str) -> Iterator[Json]:
    """Argo CD's namespace, and what the functions may do with Secrets there."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    for name, role in shipped_roles().items():
        if role["secrets"]:
            meta = {"name": f"fleet-registrar-{name}", "namespace": namespace}
            rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": role["secrets"]}]
            yield {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": meta, "rules": rules}
            user = {"apiGroup": RBAC, "kind": "User", "name": service_account(name, FLEET)}
            yield _binding("RoleBinding", meta, "Role", meta["name"], user)


def admission_policy(namespace: str, gateway_address: str) -> list[Json]:
    """The admission policy that is deployed, for our names, and for our gateway instead of Google's."""
    google = "([a-z0-9-]+-)?connectgateway[.]googleapis[.]com"
    text = (ROOT / "infra" / "argocd" / "base" / "registrar-policy.yaml").read_text()
    domain = service_account("argocd", FLEET).partition("@")[2]
    for old, new in {
        "'DOMAIN'": f"'{domain}'",
        "'NUMBER'": f"'{NUMBERS[FLEET]}'",
        "'argocd'": f"'{namespace}'",
        google: gateway_address.replace(".", "[.]"),
    }.items():
        if old not in text:
            raise StartError(f"the admission policy in infra/argocd has no {old} any more")
        text = text.replace(old, new)
    return [item for item in yaml.safe_load_all(text) if item]


def admission_to_attached(user: str, membership: str) -> Iterator[Json]:
    """What `gcloud container fleet memberships generate-gateway-rbac --apply` writes into an attached cluster.

    The agent may impersonate the user, and the user is an administrator. `membership` is the short name.
    """
    agent = {"kind": "ServiceAccount", "name": "connect-agent-sa", "namespace": "gke-connect"}
    labels = {"connect.gke.io/owner-feature": "connect-gateway"}
    impersonate: Json = {"name": f"gateway-impersonate-{FLEET}_{user}_{membership}", "labels": labels}
    permission = {"name": f"gateway-permission-{FLEET}_{user}_{membership}", "labels": labels}
    rules = [{"apiGroups": [""], "resources": ["users"], "resourceNames": [user], "verbs": ["impersonate"]}]
    person = {"apiGroup": RBAC, "kind": "User", "name": user}
    yield {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": impersonate, "rules": rules}
    yield _binding("ClusterRoleBinding", impersonate, "ClusterRole", impersonate["name"], agent)
    yield _binding("ClusterRoleBinding", permission, "ClusterRole", "cluster-admin", person)


def _binding(kind: str, meta: Json, role_kind: str, role: str, subject: Json) -> Json:
    ref = {"apiGroup": RBAC, "kind": role_kind, "name": role}
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": meta, "roleRef": ref, "subjects": [subject]}
