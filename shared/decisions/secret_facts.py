"""Facts about a cluster for its Secret: labels to select on, annotations to read.

Pure. Every fact is from an answer that the step reads anyway. None means that the key must not be there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.values.cluster_secret import PREFIX
from shared.values.labels import valid_value
from shared.values.target import AttachedTarget, GkeTarget, Target

if TYPE_CHECKING:
    from shared.values.settings import Settings

_MINOR = re.compile(r"v?([0-9]+\.[0-9]+)(?![0-9])")
_NO_CHANNEL = ("", "UNSPECIFIED")


def fact_labels(target: Target) -> dict[str, str | None]:
    """Return the labels that people select clusters and name Applications by.

    The version is the minor version, so that it changes a few times a year. An unknown version keeps the label that is
    there: an agent that reports nothing must not take a cluster's workloads away.
    """
    match target:
        case GkeTarget(cluster):
            kind, channel, version = ("gke-autopilot" if cluster.autopilot else "gke"), cluster.channel, cluster.version
        case AttachedTarget(membership):
            kind, channel, version = "attached", "", membership.version
    where = target.name
    labels: dict[str, str | None] = {
        f"{PREFIX}name": where.short,
        f"{PREFIX}project": valid_value(where.project) or "",
        f"{PREFIX}location": where.location,
        f"{PREFIX}region": where.region or None,
        f"{PREFIX}kind": kind,
        f"{PREFIX}channel": None if channel in _NO_CHANNEL else valid_value(channel.lower()),
    }
    minor = _MINOR.match(version)
    return {**labels, f"{PREFIX}version": minor[1]} if minor else labels


def fact_annotations(target: Target, settings: Settings) -> dict[str, str | None]:
    """Return what does not fit into a label. Project numbers are known for the fleet project only."""
    number = next((number for number, id_ in settings.numbers.items() if id_ == target.name.project), None)
    cluster = target.cluster if isinstance(target, GkeTarget) else None
    return {
        f"{PREFIX}network": (cluster and cluster.network) or None,
        f"{PREFIX}subnetwork": (cluster and cluster.subnetwork) or None,
        f"{PREFIX}workload-pool": (cluster and cluster.workload_pool) or None,
        f"{PREFIX}endpoint": (cluster and cluster.endpoint) or None,
        f"{PREFIX}project-number": number,
    }
