"""What happened to one cluster, in order: its objects' own times, and what the steps logged. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.activity import parse_time
from shared.values.model import Cluster

if TYPE_CHECKING:
    from datetime import datetime

    from ops.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened. `failed` is a step's error."""

    time: datetime
    what: str
    text: str = ""
    failed: bool = False


def timeline(evidence: Evidence) -> list[Moment]:
    """Return all moments, the oldest first."""
    found = [
        Moment(
            entry.time,
            entry.step + (f" attempt {entry.attempt} of {entry.attempts or '?'}" if entry.attempt else ""),
            f"{entry.decision}: {entry.message}",
            entry.failed,
        )
        for entry in evidence.activity.entries
    ]
    cluster, membership = evidence.cluster, evidence.present
    if isinstance(cluster, Cluster) and cluster.created:
        found.append(Moment(cluster.created, "cluster created"))
    if membership is not None and membership.created:
        found.append(Moment(membership.created, "membership created", str(membership.name)))
    for secret in evidence.secrets:
        if (created := parse_time(secret.created)) is not None:
            found.append(Moment(created, "Secret created", secret.name))
        if secret.hold:
            found.append(Moment(secret.hold.since, "Secret held", secret.hold.reason))
    return sorted(found, key=lambda moment: moment.time)
