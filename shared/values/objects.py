"""JSON objects, as the APIs send and take them."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def precondition(uid: str, resource_version: str) -> Object:
    """Return the metadata with which a write changes only this very object, in the version that was read."""
    return {"uid": uid, "resourceVersion": resource_version}
