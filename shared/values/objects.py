"""JSON objects, as the APIs send and take them."""

from __future__ import annotations

import base64
from typing import Any

Object = dict[str, Any]


def precondition(uid: str, resource_version: str) -> Object:
    """Return the metadata with which a write changes only this very object, in the version that was read."""
    return {"uid": uid, "resourceVersion": resource_version}


def encoded(text: str) -> str:
    """Return a text as a Secret's `data` holds it: in base64."""
    return base64.b64encode(text.encode()).decode()
