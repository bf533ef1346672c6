"""The objects of a new cluster: namespaces, and the default roles and bindings that are used here.

The roles have the meaning of kube-apiserver's own (plugin/pkg/auth/authorizer/rbac/bootstrappolicy), cut down to
what this API serves and what the usual workloads need; `admin`, `edit` and `view` are not aggregated.
"""

from __future__ import annotations

from typing import Any

from local.kubernetes.authorization import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from local.kubernetes.resources import AUTHENTICATION, AUTHORIZATION, RBAC

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")

_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_CORE = [
    "configmaps",
    "endpoints",
    "events",
    "persistentvolumeclaims",
    "pods",
    "pods/log",
    "replicationcontrollers",
    "services",
]
_APPS = ["daemonsets", "deployments", "deployments/scale", "replicasets", "statefulsets", "statefulsets/scale"]
_BATCH = ["cronjobs", "jobs"]
_NETWORK = ["ingresses", "networkpolicies"]
_HEALTH = ["/healthz", "/livez", "/readyz", "/version", "/version/"]


def _rule(verbs: list[str], groups: list[str], names: list[str]) -> dict[str, Any]:
    return {"verbs": verbs, "apiGroups": groups, "resources": names}


def _workloads(verbs: list[str]) -> list[dict[str, Any]]:
    return [
        _rule(verbs, [""], [*_CORE, "serviceaccounts"]),
        _rule(verbs, ["apps"], _APPS),
        _rule(verbs, ["batch"], _BATCH),
        _rule(verbs, ["networking.k8s.io"], _NETWORK),
    ]


_VIEW = [*_workloads(_READ), _rule(_READ, [""], ["namespaces"])]
_EDIT = [*_VIEW, *_workloads(_WRITE), _rule([*_READ, *_WRITE], [""], ["secrets"])]
_ADMIN = [
    *_EDIT,
    _rule([*_READ, *_WRITE], [RBAC], ["rolebindings", "roles"]),
    _rule(["create"], [AUTHORIZATION], ["localsubjectaccessreviews"]),
]

_CLUSTERROLES: dict[str, list[dict[str, Any]]] = {
    "cluster-admin": [_rule(["*"], ["*"], ["*"]), {"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "admin": _ADMIN,
    "edit": _EDIT,
    "view": _VIEW,
    "system:basic-user": [
        _rule(["create"], [AUTHORIZATION], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
        _rule(["create"], [AUTHENTICATION], ["selfsubjectreviews"]),
    ],
    "system:discovery": [
        {
            "verbs": ["get"],
            "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_HEALTH],
        }
    ],
    "system:public-info-viewer": [{"verbs": ["get"], "nonResourceURLs": _HEALTH}],
}
_BOUND = {
    "cluster-admin": [MASTERS],
    "system:basic-user": [AUTHENTICATED],
    "system:discovery": [AUTHENTICATED],
    "system:public-info-viewer": [AUTHENTICATED, UNAUTHENTICATED],
}


def manifests() -> list[dict[str, Any]]:
    """Return the objects of a fresh cluster."""
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in NAMESPACES]
    roles = [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name, "labels": labels},
            "rules": rules,
        }
        for name, rules in _CLUSTERROLES.items()
    ]
    bindings = [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name, "labels": labels},
            "subjects": [{"kind": "Group", "name": group} for group in groups],
            "roleRef": {"kind": "ClusterRole", "name": name},
        }
        for name, groups in _BOUND.items()
    ]
    return [*namespaces, *roles, *bindings]
