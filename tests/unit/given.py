"""What the unit tests start from: settings, a cluster, memberships and Secrets, each to be changed by name."""

from __future__ import annotations

import base64
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.decisions import secret_plan
from shared.values import settings as settings_module
from shared.values.cluster_secret import HELD, SKIP_RECONCILE, ClusterSecret
from shared.values.model import Cluster, Membership
from shared.values.names import ClusterName, MembershipName
from shared.values.target import target_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.values.settings import Settings

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
NUMBERS = {"100000000001": "demo-fleet"}
ENVIRONMENT = {
    "FLEET_PROJECT": "demo-fleet",
    "FLEET_PROJECT_NUMBER": "100000000001",
    "SOURCE_PROJECTS": "demo-fleet,demo-apps",
    "CENTRAL_MEMBERSHIP": "projects/demo-fleet/locations/europe-west1/memberships/central",
    "ARGOCD_SERVICE_ACCOUNT": "argocd@demo-fleet.iam.gserviceaccount.com",
}
CENTRAL = ClusterName("demo-fleet", "europe-west1", "central")
GRANT = "cluster-admin argocd@demo-fleet.iam.gserviceaccount.com"


def settings(**changes: str) -> Settings:
    return settings_module.load({**ENVIRONMENT, **changes})


SETTINGS = settings()
SELECTING = settings(CLUSTER_SELECTOR="env=prod")

BLUE = Cluster(
    name=ClusterName("demo-apps", "europe-west1", "blue"),
    id="a" * 64,
    status="RUNNING",
    labels={"env": "prod"},
)
BLUE_MEMBER = Membership(
    name=BLUE.name.membership("demo-fleet"),
    unique_id="uid-blue",
    state="READY",
    labels={"managed-by": "fleet-registrar", "fleet-registrar-cluster-id": "a" * 40},
    cluster=BLUE.name,
)
EDGE = Membership(
    name=MembershipName("demo-fleet", "global", "edge"),
    unique_id="uid-edge",
    state="READY",
    labels={"env": "prod"},
    last_connection=NOW - timedelta(minutes=1),
)


def as_secret(manifest: dict[str, Any], **annotations: str | None) -> ClusterSecret:
    """The Secret after this manifest has been written, with some annotations set or taken away."""
    meta = manifest["metadata"]
    present = {**meta["annotations"], **annotations}
    return ClusterSecret.read(
        {
            **manifest,
            "metadata": {
                **meta,
                "uid": "uid-1",
                "resourceVersion": "7",
                "annotations": {key: value for key, value in present.items() if value is not None},
            },
        }
    )


def created(cluster: Cluster | None = BLUE, membership: Membership = BLUE_MEMBER) -> dict[str, Any]:
    """The manifest of a Secret after both writes of its creation."""
    target = target_of(cluster, membership)
    manifest = secret_plan.new_secret(target, SETTINGS, NOW)
    first = as_secret(manifest)
    second = secret_plan.plan(first, target, SETTINGS, granted=True, drop=frozenset(), now=NOW).patch
    complete = patched(first, second or {"metadata": {"uid": first.uid, "resourceVersion": first.resource_version}})
    meta = {**manifest["metadata"], "labels": complete.labels, "annotations": complete.annotations}
    return {**manifest, "metadata": meta}


def secret(cluster: Cluster | None = BLUE, membership: Membership = BLUE_MEMBER, **annotations: str) -> ClusterSecret:
    """Our Secret in its steady state; annotations of ours are named by their last part (`held`, `keep`, …)."""
    named = {f"fleet-registrar/{key.replace('_', '-')}": value for key, value in annotations.items()}
    found = as_secret(created(cluster, membership), **named)
    if found.hold is None:
        return found
    # A hold is complete: with its label, and with Argo CD's annotation.
    labels, notes = {**found.labels, HELD: found.hold.reason}, {SKIP_RECONCILE: "true", **found.annotations}
    return dataclasses.replace(found, labels=labels, annotations=notes)


def patched(current: ClusterSecret, patch: Mapping[str, Any]) -> ClusterSecret:
    """The Secret after a merge patch (RFC 7386) made from this very version."""
    meta = patch["metadata"]
    assert (meta["uid"], meta["resourceVersion"]) == (current.uid, current.resource_version)

    def merged(old: Mapping[str, str], change: Mapping[str, str | None]) -> dict[str, str]:
        return {key: value for key, value in {**old, **change}.items() if value is not None}

    data = {key: base64.b64decode(value).decode() for key, value in patch.get("data", {}).items()}
    return dataclasses.replace(
        current,
        resource_version=str(int(current.resource_version) + 1),
        labels=merged(current.labels, meta.get("labels", {})),
        annotations=merged(current.annotations, meta.get("annotations", {})),
        data={**current.data, **data},
    )
