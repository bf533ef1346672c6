"""Facts about a cluster for its Secret: labels to select on, annotations to read.

Pure. Every fact is from an answer that the step reads anyway. None means that the key must not be there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shared.values.cluster_secret import NETWORK, PREFIX, SUBNETWORK, WORKLOAD_POOL
from shared.values.labels import valid_value
from shared.values.target import AttachedTarget, GkeTarget, Target

if TYPE_CHECKING:
    from shared.values.settings import Settings

_NAME: Final = f"{PREFIX}name"
_PROJECT: Final = f"{PREFIX}project"
_LOCATION: Final = f"{PREFIX}location"
_REGION: Final = f"{PREFIX}region"
_KIND: Final = f"{PREFIX}kind"
_CHANNEL: Final = f"{PREFIX}channel"
_VERSION: Final = f"{PREFIX}version"
_PROJECT_NUMBER: Final = f"{PREFIX}project-number"
_ENDPOINT: Final = f"{PREFIX}endpoint"

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
        _NAME: where.short,
        _PROJECT: valid_value(where.project) or "",
        _LOCATION: where.location,
        _REGION: where.region or None,
        _KIND: kind,
        _CHANNEL: None if channel in _NO_CHANNEL else valid_value(channel.lower()),
    }
    minor = _MINOR.match(version)
    if minor:
        labels[_VERSION] = minor[1]
    return labels


def fact_annotations(target: Target, settings: Settings) -> dict[str, str | None]:
    """Return what does not fit into a label. Project numbers are known for the fleet project only."""
    cluster = target.cluster if isinstance(target, GkeTarget) else None
    return {
        NETWORK: (cluster and cluster.network) or None,
        SUBNETWORK: (cluster and cluster.subnetwork) or None,
        WORKLOAD_POOL: (cluster and cluster.workload_pool) or None,
        _ENDPOINT: (cluster and cluster.endpoint) or None,
        _PROJECT_NUMBER: settings.number_of(target.name.project),
    }
