"""Lists by pages: all pages of a list are as of one version."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from local.kubernetes.requests import integer
from local.kubernetes.selectors import selector
from local.kubernetes.status import StatusError, bad_request

if TYPE_CHECKING:
    from local.kubernetes.requests import Asked
    from local.kubernetes.resources import Resource
    from local.kubernetes.store import Object, Store


def page(store: Store, resource: Resource, asked: Asked) -> tuple[list[Object], dict[str, Any]]:
    """Return one page of a list, all pages as of one version, and the list's metadata."""
    labels, fields = asked.query.get("labelSelector", ""), asked.query.get("fieldSelector", "")
    matches = selector(resource, labels, fields)
    limit = integer(asked.query, "limit")
    version, start = store.version, None
    if token := asked.query.get("continue"):
        version, start = _read_continue(token)
    elif asked.query.get("resourceVersionMatch") == "Exact":
        version = integer(asked.query, "resourceVersion")
    if version > store.version:
        raise StatusError(504, "Timeout", f"Too large resource version: {version}, current: {store.version}")
    items = [item for item in store.all(resource, asked.namespace or None, version) if matches(item)]
    if start is not None:
        items = [item for item in items if _position(item) > start]
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if limit and len(items) > limit:
        metadata["continue"] = _continue(version, items[limit - 1])
        if not labels and not fields:
            metadata["remainingItemCount"] = len(items) - limit
        items = items[:limit]
    return items, metadata


def _position(item: Object) -> list[str]:
    return [item["metadata"].get("namespace", ""), item["metadata"]["name"]]


def _continue(version: int, last: Object) -> str:
    token = {"v": "meta.k8s.io/v1", "rv": version, "start": _position(last)}
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode().rstrip("=")


def _read_continue(token: str) -> tuple[int, list[str]]:
    try:
        read = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = read["start"]
        return int(read["rv"]), [str(namespace), str(name)]
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request("continue key is not valid") from error
