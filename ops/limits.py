"""The removal limits that a sweep has reached, as people and programs read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.terminal import pluralize, table
from shared.decisions.sweep_plan import COUNTS
from shared.values.codes import Limit
from shared.values.messages import publish_command
from shared.values.objects import Object

if TYPE_CHECKING:
    from shared.decisions.sweep_plan import Reached
    from shared.values.settings import Settings


def as_text(reached: Reached, settings: Settings, secrets: int | None = None) -> str:
    """Return the paragraph of one limit: what it counts, what it stops, and the command that releases exactly this plan."""
    rows = [(each.kind, each.next.topic, each.subject, each.reason) for each in reached.requests]
    what, setting = COUNTS[reached.limit]
    allowed = f"{reached.allowed} are allowed ({setting})"
    if secrets is not None and reached.limit is not Limit.GONE and reached.allowed == max(secrets - 1, 0):
        allowed = f"MAX_REMOVALS never allows all {pluralize(secrets, 'cluster')} of an installation"
        allowed = "MAX_REMOVALS never allows the only cluster" if secrets == 1 else allowed
    return (
        f"REMOVAL LIMIT EXCEEDED ({reached.limit}): {pluralize(reached.clusters, 'cluster')} {what};"
        f" {allowed}. None of these requests is published:\n"
        f"{table(('KIND', 'STEP', 'CLUSTER', 'WHY'), rows)}\n"
        f"If it is right, release exactly this plan ({reached.hash}):\n  {release(reached, settings)}"
    )


def as_json(reached: Reached, settings: Settings) -> Object:
    """Return one limit for programs."""
    return {
        "limit": reached.limit,
        "clusters": reached.clusters,
        "allowed": reached.allowed,
        "hash": reached.hash,
        "release": release(reached, settings),
    }


def release(reached: Reached, settings: Settings) -> str:
    """Return the command that releases exactly this plan."""
    return publish_command("sweep", {"release": reached.hash}, settings)
