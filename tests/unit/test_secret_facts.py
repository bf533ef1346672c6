"""Labels and annotations with facts about a cluster (docs/objects.md#labels)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.decisions import secret_plan
from shared.decisions.secret_facts import fact_annotations, fact_labels
from shared.values.names import ClusterName, MembershipName
from shared.values.target import target_of
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NOW, SETTINGS, patched, secret

if TYPE_CHECKING:
    from shared.values.cluster_secret import ClusterSecret
    from shared.values.model import Cluster

KNOWN = replace(
    BLUE,
    version="1.33.5-gke.1080000",
    channel="REGULAR",
    network="projects/demo-net/global/networks/shared",
    subnetwork="projects/demo-net/regions/europe-west1/subnetworks/apps",
    workload_pool="demo-apps.svc.id.goog",
    endpoint="34.1.2.3",
)


def after(current: ClusterSecret, cluster: Cluster | None, membership: Any = BLUE_MEMBER) -> ClusterSecret:
    """The Secret after the step's write."""
    plan = secret_plan.plan(current, target_of(cluster, membership), SETTINGS, granted=False, drop=frozenset(), now=NOW)
    return current if plan.patch is None else patched(current, plan.patch)


def test_a_secret_gets_the_facts_and_keeps_them() -> None:
    current = after(secret(), KNOWN)
    assert {key: current.labels[f"fleet-registrar/{key}"] for key in ("name", "region", "channel", "version")} == {
        "name": "blue",
        "region": "europe-west1",
        "channel": "regular",
        "version": "1.33",
    }
    assert {key: value for key, value in current.annotations.items() if value in (KNOWN.network, KNOWN.endpoint)} == {
        "fleet-registrar/network": KNOWN.network,
        "fleet-registrar/endpoint": KNOWN.endpoint,
    }
    assert current.annotations["fleet-registrar/subnetwork"] == KNOWN.subnetwork
    assert current.annotations["fleet-registrar/workload-pool"] == KNOWN.workload_pool
    assert after(current, KNOWN) is current


def test_a_patch_version_changes_nothing() -> None:
    current = after(secret(), KNOWN)
    assert after(current, replace(KNOWN, version="1.33.9-gke.1")) is current
    assert after(current, replace(KNOWN, version="1.34.0-gke.1")).labels["fleet-registrar/version"] == "1.34"


@pytest.mark.parametrize(
    ("version", "minor"),
    [("1.33.5-gke.1080000", "1.33"), ("v1.30.1", "1.30"), ("1.31", "1.31"), ("", None), ("odd", None), ("1.", None)],
)
def test_the_version_is_the_minor_version(version: str, minor: str | None) -> None:
    for labels in (
        fact_labels(target_of(replace(BLUE, version=version), BLUE_MEMBER)),
        fact_labels(target_of(None, replace(EDGE, version=version))),
    ):
        assert labels.get("fleet-registrar/version") == minor


def test_what_becomes_unknown_goes_except_the_version() -> None:
    current = after(after(secret(), KNOWN), BLUE)
    assert "fleet-registrar/channel" not in current.labels
    assert "fleet-registrar/network" not in current.annotations
    assert current.labels["fleet-registrar/version"] == "1.33"


@pytest.mark.parametrize(
    ("location", "region"),
    [("europe-west1", "europe-west1"), ("europe-west1-b", "europe-west1"), ("global", None)],
)
def test_the_region_is_that_of_the_location(location: str, region: str | None) -> None:
    member = replace(EDGE, name=MembershipName("demo-fleet", location, "edge"))
    assert fact_labels(target_of(None, member))["fleet-registrar/region"] == region
    if region:
        cluster = replace(BLUE, name=ClusterName("demo-apps", location, "blue"))
        assert fact_labels(target_of(cluster, BLUE_MEMBER))["fleet-registrar/region"] == region


def test_the_project_number_is_known_for_the_fleet_project_only() -> None:
    fleet = replace(BLUE, name=ClusterName("demo-fleet", "europe-west1", "blue"))
    key = "fleet-registrar/project-number"
    assert fact_annotations(target_of(fleet, BLUE_MEMBER), SETTINGS)[key] == "100000000001"
    assert fact_annotations(target_of(None, EDGE), SETTINGS)[key] == "100000000001"
    assert fact_annotations(target_of(BLUE, BLUE_MEMBER), SETTINGS)[key] is None
