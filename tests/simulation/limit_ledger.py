"""Requests of a sweep, judged by the removal limits of docs/architecture.md#removal-limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shared.values.cluster_secret import MEMBERSHIP_UID
from tests.simulation.stored import require

if TYPE_CHECKING:
    from tests.simulation.deliveries import Context
    from tests.simulation.kubernetes import Object
    from tests.simulation.ledger import Ledger


def requested(ledger: Ledger, context: Context, body: Object) -> None:
    """Judge a hold or lost label key: it is counted, or part of the plan that a person has released."""
    if body.get("leave") != "hold" and not body.get("drop_labels"):
        return
    if digest := context.body.get("release"):
        released = text_of(body) in ledger.released.get(digest, ())
        require(released, context, f"requested {dict(body)}, which nobody released")
        return
    left = _has_left(ledger, body)
    if not left and not body.get("drop_labels") and _has_passed(ledger, context, body.get("secret_uid", "")):
        return
    counted = context.left if left else context.blocked
    counted.add(body.get("cluster") or body["membership"])
    allowed = context.settings.max_removals.of(context.most_secrets)
    text = f"the removal limit: {len(counted)} of {context.most_secrets}, {allowed} allowed"
    require(len(counted) <= allowed, context, text)


def text_of(body: Object) -> str:
    """The request as a text, by which a plan has it."""
    return json.dumps(body, sort_keys=True)


def _has_left(ledger: Ledger, body: Object) -> bool:
    """Whether a request is about an attached cluster that has left the fleet: those have a limit of their own."""
    if "cluster" in body or body.get("drop_labels"):
        return False
    uids = {one.annotations.get(MEMBERSHIP_UID) for one in ledger.ours() if str(one.membership) == body["membership"]}
    return not uids & {member.unique_id for member in ledger.world.memberships.values()}


def _has_passed(ledger: Ledger, context: Context, uid: str) -> bool:
    """Whether the Secret was held because of labels or settings since the sweep began: then it has passed the limit."""
    reason, _ = ledger.held.get(uid, ("", 0.0))
    return reason == "not-wanted" or ledger.ended.get((uid, "not-wanted"), -1.0) >= context.started
