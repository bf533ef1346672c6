"""Surveys to start from: what the lists held, and the plan that was made of it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from ops.survey import Snapshot, snapshot_of
from shared.values.cluster_secret import TYPE, ClusterSecret
from shared.values.inventory import Inventory
from tests.unit.given import BLUE, BLUE_MEMBER, CENTRAL, EDGE, NOW, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.values.model import Cluster, Membership
    from shared.values.settings import Settings

PROJECTS = frozenset({"demo-fleet", "demo-apps"})


def seen(
    clusters: Iterable[Cluster] = (BLUE,),
    memberships: Iterable[Membership] = (BLUE_MEMBER, EDGE),
    secrets: Iterable[ClusterSecret] = (),
    unmanaged: Iterable[ClusterSecret] = (),
    *,
    settings: Settings = SETTINGS,
    listed: frozenset[str] = PROJECTS,
) -> Snapshot:
    """By default one GKE cluster and one attached one, both in the fleet, and no Secret."""
    inventory = Inventory(
        secrets=tuple(secrets),
        unmanaged=tuple(unmanaged),
        memberships={each.name: each for each in memberships},
        clusters={each.name: each for each in clusters},
        listed=listed,
        unread=dict.fromkeys(PROJECTS - listed, "403"),
    )
    return snapshot_of(inventory, settings, CENTRAL, NOW)


def theirs(
    name: str = "by-hand",
    server: str = "",
    argocd_name: str = "",
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **data: str,
) -> ClusterSecret:
    """A cluster Secret that somebody else has written."""
    values = {"name": argocd_name or name, "server": server, "config": '{"bearerToken":"x"}', **data}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    meta = {"name": name, "uid": f"uid-of-{name}", "resourceVersion": "3", "annotations": annotations or {}}
    return ClusterSecret.read({"metadata": {**meta, "labels": {TYPE: "cluster", **(labels or {})}}, "data": encoded})
