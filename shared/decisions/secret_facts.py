"""Facts about a cluster for its Secret: labels to select on, annotations to read.

Pure. Every fact is from an answer that the step reads anyway. None means that the key must not be there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.values.cluster_secret import PREFIX
from shared.values.labels import valid_value

if TYPE_CHECKING:
    from shared.values.model import Cluster, Membership
    from shared.values.settings import Settings

_MINOR = re.compile(r"v?([0-9]+\.[0-9]+)(?![0-9])")
_NO_CHANNEL = ("", "UNSPECIFIED")


def fact_labels(cluster: Cluster | None, membership: Membership) -> dict[str, str | None]:
    """Return the labels that people select clusters and name Applications by.

    `cluster` is None for an attached cluster. The version is the minor version, so that it changes a few times a year. An
    unknown version keeps the label that is there: an agent that reports nothing must not take a cluster's workloads away.
    """
    where = cluster.name if cluster else membership.name
    kind = "attached" if cluster is None else "gke-autopilot" if cluster.autopilot else "gke"
    channel = cluster.channel if cluster else ""
    labels: dict[str, str | None] = {
        f"{PREFIX}name": where.short,
        f"{PREFIX}project": valid_value(where.project) or "",
        f"{PREFIX}location": where.location,
        f"{PREFIX}region": where.region or None,
        f"{PREFIX}kind": kind,
        f"{PREFIX}channel": None if channel in _NO_CHANNEL else valid_value(channel.lower()),
    }
    version = _MINOR.match(cluster.version if cluster else membership.version)
    return {**labels, f"{PREFIX}version": version[1]} if version else labels


def fact_annotations(cluster: Cluster | None, membership: Membership, settings: Settings) -> dict[str, str | None]:
    """Return what does not fit into a label. Project numbers are known for the fleet project only."""
    project = cluster.name.project if cluster else membership.name.project
    number = next((number for number, id_ in settings.numbers.items() if id_ == project), None)
    return {
        f"{PREFIX}network": (cluster.network if cluster else "") or None,
        f"{PREFIX}subnetwork": (cluster.subnetwork if cluster else "") or None,
        f"{PREFIX}workload-pool": (cluster.workload_pool if cluster else "") or None,
        f"{PREFIX}endpoint": (cluster.endpoint if cluster else "") or None,
        f"{PREFIX}project-number": number,
    }
