"""Events for subscribers of the topic `cluster-events`: what happened to a cluster's entry in Argo CD's list.

Pure values. `shared.decisions.cluster_events` gives them the form of CloudEvents; docs/events has their schemas.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CLUSTER_EVENTS: Final = "cluster-events"


class EventType(enum.StrEnum):
    """The types of the events. A change that breaks subscribers gets a new version."""

    ONBOARDED = "dev.fleet-registrar.cluster.onboarded.v1"
    CHANGED = "dev.fleet-registrar.cluster.changed.v1"
    HELD = "dev.fleet-registrar.cluster.held.v1"
    RELEASED = "dev.fleet-registrar.cluster.released.v1"
    OFFBOARDED = "dev.fleet-registrar.cluster.offboarded.v1"
    FAILED = "dev.fleet-registrar.cluster.failed.v1"
    LIMITED = "dev.fleet-registrar.sweep.limited.v1"
    SWEPT = "dev.fleet-registrar.sweep.swept.v1"


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """A change of a cluster's Secret. `labels` are the cluster's labels on it.

    `code` replaces the outcome's code. `at` is when the Secret was created, or held (RFC 3339), '' if unknown. `earlier`: this
    delivery changed nothing, but an earlier attempt at the same message may have, and may have failed before it published.
    `applications`: how many Applications stay without an offboarded cluster, None if unknown.
    """

    type: EventType
    labels: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    at: str = ""
    earlier: bool = False
    applications: int | None = None
