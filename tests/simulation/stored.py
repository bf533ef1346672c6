"""What a stored object is, in words that no deliberate fault of `mutants.py` replaces; and a promise that is broken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shared.values.cluster_secret import (
    KEEP,
    MANAGED_BY_LABEL,
    MEMBERSHIP,
    MEMBERSHIP_HASH,
    ClusterSecret,
)
from shared.values.model import MANAGED_BY

if TYPE_CHECKING:
    from tests.simulation.deliveries import Context
    from tests.simulation.kubernetes import Object


PERSON = "person"


class ViolationError(BaseException):
    """A promise is broken. Not an Exception: the product must not take it for a fault of its own."""


def has_our_labels(secret: ClusterSecret) -> bool:
    return secret.labels.get(MANAGED_BY_LABEL) == MANAGED_BY and MEMBERSHIP_HASH in secret.labels


def is_of_fleet(secret: ClusterSecret, fleet: str) -> bool:
    """Whether the Secret names a membership of this fleet."""
    return secret.annotations.get(MEMBERSHIP, "").startswith(f"projects/{fleet}/")


def has_our_label(stored: Object) -> bool:
    return bool((stored["metadata"].get("labels") or {}).get(MANAGED_BY_LABEL) == MANAGED_BY)


def has_keep_annotation(secret: ClusterSecret) -> bool:
    return secret.annotations.get(KEEP) == "true"


def as_text(stored: Object) -> str:
    return json.dumps(stored, sort_keys=True)


def require(holds: bool, context: Context, text: str) -> None:
    if not holds:
        what = context.message.data.decode(errors="replace")
        raise ViolationError(f"{context.topic} {what} (attempt {context.attempt}) {text}")
