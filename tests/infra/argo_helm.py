"""Argo CD as the Helm chart `argo-cd` of argoproj/argo-helm installs it, as far as the registrar's part could meet it.

Written from the chart's README (names, defaults and the values `serviceAccount`, `env`, `volumes`, `volumeMounts`), because
no package registry carries the chart. Left out: images, probes, CRDs, Services, Dex, notifications and Redis' own objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.infra.argocd import Object

RBAC = "rbac.authorization.k8s.io"
# component → kind of its workload, key in the values
COMPONENTS = {
    "server": ("Deployment", "server"),
    "application-controller": ("StatefulSet", "controller"),
    "applicationset-controller": ("Deployment", "applicationSet"),
    "repo-server": ("Deployment", "repoServer"),
}
CONFIG_MAPS = (
    "argocd-cm",
    "argocd-cmd-params-cm",
    "argocd-rbac-cm",
    "argocd-ssh-known-hosts-cm",
    "argocd-tls-certs-cm",
)
KNOWN = {"serviceAccount", "env", "volumes", "volumeMounts"}


def installed(release: str, namespace: str, values: Mapping[str, Any]) -> list[Object]:
    """Return the objects of a Helm release of the chart `argo/argo-cd` in a namespace, with these values."""
    full = release if "argocd" in release else f"{release}-argocd"
    assert values.keys() <= {key for _, key in COMPONENTS.values()}, "values that this chart does not have"
    objects = [_object("v1", "ConfigMap", name, namespace, release) for name in CONFIG_MAPS]
    objects.append(_object("v1", "Secret", "argocd-secret", namespace, release, type="Opaque"))
    for component, (kind, key) in COMPONENTS.items():
        given = values.get(key, {})
        assert given.keys() <= KNOWN, f"{key} has no {given.keys() - KNOWN} here"
        account, name = f"argocd-{component}", f"{full}-{component}"
        service_account = _object("v1", "ServiceAccount", account, namespace, release)
        if annotations := given.get("serviceAccount", {}).get("annotations"):
            service_account["metadata"]["annotations"] = annotations
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        for scope in ("", "Cluster"):
            where = "" if scope else namespace
            ref = {"apiGroup": RBAC, "kind": f"{scope}Role", "name": name}
            objects.append(_object(f"{RBAC}/v1", f"{scope}Role", name, where, release, rules=[]))
            objects.append(
                _object(f"{RBAC}/v1", f"{scope}RoleBinding", name, where, release, roleRef=ref, subjects=[subject])
            )
        container = {
            "name": component,
            "env": [{"name": "REDIS_USERNAME"}, *given.get("env", [])],
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *given.get("volumeMounts", [])],
        }
        pod = {
            "serviceAccountName": account,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}, *given.get("volumes", [])],
        }
        workload = _object("apps/v1", kind, name, namespace, release, spec={"template": {"spec": pod}})
        objects += [service_account, workload]
    return objects


def _object(version: str, kind: str, name: str, namespace: str, release: str, **fields: Any) -> Object:
    labels = {
        "app.kubernetes.io/instance": release,
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/part-of": "argocd",
    }
    meta: Object = {"name": name, "labels": labels}
    if namespace:
        meta["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": meta, **fields}
