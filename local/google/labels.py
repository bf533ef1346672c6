"""Google's rules for labels, which GKE's resource labels and a membership's labels share.

https://cloud.google.com/resource-manager/docs/labels-overview#requirements: at most 64; keys 1 to 63 characters that start
with a lower-case or caseless letter, values at most 63; letters (of any script, none upper-case), digits, `_` and `-`;
128 bytes. Much of this is no legal Kubernetes label: that is what the functions must cope with.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from local.google.wire import GoogleError


def _letter(character: str) -> bool:
    return unicodedata.category(character) in ("Ll", "Lo")


def _legal(text: str) -> bool:
    if len(text) > 63 or len(text.encode()) > 128:
        return False
    return all(_letter(c) or unicodedata.category(c).startswith("N") or c in "_-" for c in text)


def checked(labels: Any) -> dict[str, str]:
    """Return the labels, or refuse them with 400."""
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise GoogleError(400, "Invalid JSON payload received: labels must be a map of strings.")
    if len(labels) > 64:
        raise GoogleError(400, f"Too many labels: {len(labels)}, at most 64 are allowed.")
    for key, value in labels.items():
        if not key or not _letter(key[0]) or not _legal(key):
            raise GoogleError(400, f'Invalid label key "{key}".')
        if not _legal(value):
            raise GoogleError(400, f'Invalid label value "{value}" of key "{key}".')
    return dict(labels)
