"""The tables that `kubectl get` prints: the server makes them (`as=Table`), with the columns of each kind.

Columns: pkg/printers/internalversion/printers.go of kubernetes/kubernetes.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from local.kubernetes import resources

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.kubernetes.resources import Resource
    from local.kubernetes.store import Object


def table(
    resource: Resource,
    items: list[Object],
    now: dt.datetime,
    include: str,
    metadata: dict[str, Any],
    *,
    header: bool = True,
) -> dict[str, Any]:
    """Return a meta.k8s.io/v1 Table; `include` is the parameter `includeObject`: None, Metadata (default) or Object."""
    columns = _COLUMNS[resource]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_column(name, wide) for name, wide, _ in columns] if header else None,
        "rows": [
            {"cells": [cell(item, now) for _, _, cell in columns]}
            | ({} if include == "None" else {"object": _part(item, include)})
            for item in items
        ],
    }


def _part(item: Object, include: str) -> Object:
    if include == "Object":
        return item
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def _column(name: str, wide: bool) -> dict[str, Any]:
    kind = "integer" if name == "Data" else "string"
    format_ = "name" if name == "Name" else ""
    return {"name": name, "type": kind, "format": format_, "description": name, "priority": int(wide)}


def _name(item: Object, _now: dt.datetime) -> str:
    name: str = item["metadata"]["name"]
    return name


def _age(item: Object, now: dt.datetime) -> str:
    return human_duration(now - dt.datetime.fromisoformat(item["metadata"]["creationTimestamp"]))


def human_duration(duration: dt.timedelta) -> str:
    """Write an age as kubectl does (k8s.io/apimachinery/pkg/util/duration): 59s, 5m10s, 3h, 2d4h, 30d, 3y."""
    seconds = max(int(duration.total_seconds()), 0)
    if seconds < 120:
        return f"{seconds}s"
    steps = (
        ("m", 60, "s", 1, 10),
        ("m", 60, "", 1, 180),
        ("h", 3600, "m", 60, 8),
        ("h", 3600, "", 1, 48),
        ("d", 86400, "h", 3600, 8),
    )
    for unit, size, rest, rest_size, limit in steps:
        whole, left = divmod(seconds, size)
        if whole < limit:
            return f"{whole}{unit}{left // rest_size}{rest}" if rest and left // rest_size else f"{whole}{unit}"
    years, days = divmod(seconds // 86400, 365)
    if years < 2:
        return f"{seconds // 86400}d"
    return f"{years}y{days}d" if years < 8 and days else f"{years}y"


def _role(item: Object, _now: dt.datetime) -> str:
    return f"{item['roleRef']['kind']}/{item['roleRef']['name']}"


def _subjects(kind: str) -> Callable[[Object, dt.datetime], str]:
    def cell(item: Object, _now: dt.datetime) -> str:
        return ", ".join(
            f"{subject['namespace']}/{subject['name']}" if kind == "ServiceAccount" else subject["name"]
            for subject in item.get("subjects", [])
            if subject["kind"] == kind
        )

    return cell


_BINDING: list[tuple[str, bool, Callable[[Object, dt.datetime], Any]]] = [
    ("Name", False, _name),
    ("Role", False, _role),
    ("Age", False, _age),
    ("Users", True, _subjects("User")),
    ("Groups", True, _subjects("Group")),
    ("ServiceAccounts", True, _subjects("ServiceAccount")),
]
_ROLE: list[tuple[str, bool, Callable[[Object, dt.datetime], Any]]] = [
    ("Name", False, _name),
    ("Created At", False, lambda item, _now: item["metadata"]["creationTimestamp"]),
]
_COLUMNS: dict[Resource, list[tuple[str, bool, Callable[[Object, dt.datetime], Any]]]] = {
    resources.NAMESPACES: [
        ("Name", False, _name),
        ("Status", False, lambda item, _now: item["status"]["phase"]),
        ("Age", False, _age),
    ],
    resources.SECRETS: [
        ("Name", False, _name),
        ("Type", False, lambda item, _now: item["type"]),
        ("Data", False, lambda item, _now: len(item.get("data", {}))),
        ("Age", False, _age),
    ],
    resources.CONFIGMAPS: [
        ("Name", False, _name),
        ("Data", False, lambda item, _now: len(item.get("data", {})) + len(item.get("binaryData", {}))),
        ("Age", False, _age),
    ],
    resources.SERVICEACCOUNTS: [
        ("Name", False, _name),
        ("Secrets", False, lambda item, _now: len(item.get("secrets", []))),
        ("Age", False, _age),
    ],
    resources.CLUSTERROLES: _ROLE,
    resources.ROLES: _ROLE,
    resources.CLUSTERROLEBINDINGS: _BINDING,
    resources.ROLEBINDINGS: _BINDING,
}
