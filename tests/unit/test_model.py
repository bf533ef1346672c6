"""The state of a cluster (docs/architecture.md#states)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.values.model import GONE, Membership, State, state_of_attached, state_of_cluster
from shared.values.names import ClusterName
from tests.unit.given import BLUE, BLUE_MEMBER, CENTRAL, EDGE, NOW, SELECTING, SETTINGS

ELSEWHERE = ClusterName("demo-other", "europe-west1", "blue")
NOT_SELECTED = {"labels": {"env": "dev"}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "RUNNING"}, State.SELECTED),
        ({"status": "RECONCILING"}, State.SELECTED),
        ({"status": "DEGRADED"}, State.SELECTED),
        ({"status": "STOPPING"}, State.DELETING),
        ({"status": "PROVISIONING"}, State.PROVISIONING),
        ({"status": "ERROR"}, State.UNKNOWN),
        ({"status": "STATUS_UNSPECIFIED"}, State.UNKNOWN),
        ({"status": ""}, State.UNKNOWN),
        (NOT_SELECTED, State.UNSELECTED),
        (NOT_SELECTED | {"fleet_project": "demo-other"}, State.UNSELECTED),
        (NOT_SELECTED | {"status": "STOPPING"}, State.DELETING),
        ({"name": ELSEWHERE}, State.UNSELECTED),
        ({"fleet_project": "demo-fleet"}, State.SELECTED),
        ({"fleet_project": "100000000001"}, State.SELECTED),
        ({"fleet_project": "demo-other"}, State.OTHER_FLEET),
        ({"fleet_project": "100000000003"}, State.OTHER_FLEET),
        ({"fleet_project": "demo-other", "status": "PROVISIONING"}, State.PROVISIONING),
        ({"name": CENTRAL}, State.CENTRAL),
        ({"name": CENTRAL, "status": "STOPPING"}, State.CENTRAL),
        ({"membership": SETTINGS.central_membership}, State.CENTRAL),
    ],
)
def test_a_cluster_is(changes: dict[str, Any], expected: State) -> None:
    assert state_of_cluster(replace(BLUE, **changes), SELECTING, CENTRAL) is expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": "READY"}, State.SELECTED),
        ({"state": "UPDATING"}, State.SELECTED),
        ({"state": "SERVICE_UPDATING"}, State.SELECTED),
        ({"state": "CREATING"}, State.PROVISIONING),
        ({"state": "DELETING"}, State.DELETING),
        ({"state": "CODE_UNSPECIFIED"}, State.UNKNOWN),
        ({"state": "UNKNOWN"}, State.UNKNOWN),
        (NOT_SELECTED, State.UNSELECTED),
        ({"name": SETTINGS.central_membership}, State.CENTRAL),
    ],
)
def test_an_attached_cluster_is(changes: dict[str, Any], expected: State) -> None:
    assert state_of_attached(replace(EDGE, **changes), SELECTING) is expected


def test_gone_is_gone() -> None:
    assert state_of_cluster(GONE, SETTINGS, CENTRAL) is State.DELETED
    assert state_of_attached(GONE, SETTINGS) is State.DELETED


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({}, False),
        ({"last_connection": None}, False),
        ({"last_connection": NOW - timedelta(minutes=30)}, False),
        ({"last_connection": NOW - timedelta(minutes=31)}, True),
        ({"state": "UPDATING"}, True),
        ({"cluster": BLUE.name, "last_connection": NOW - timedelta(days=9)}, False),
    ],
)
def test_an_attached_clusters_agent_is_lost(changes: dict[str, Any], lost: bool) -> None:
    assert replace(EDGE, **changes).agent_lost(NOW) is lost


@pytest.mark.parametrize(
    ("labels", "ours"),
    [
        ({"managed-by": "fleet-registrar", "fleet-registrar-cluster-id": "a1"}, "a1"),
        ({"managed-by": "fleet-registrar"}, ""),
        ({"fleet-registrar-cluster-id": "a1"}, ""),
        ({"managed-by": "terraform", "fleet-registrar-cluster-id": "a1"}, ""),
        ({}, ""),
    ],
)
def test_a_membership_is_ours_only_with_both_marks(labels: dict[str, str], ours: str) -> None:
    made: Membership = replace(BLUE_MEMBER, labels=labels)
    assert made.cluster_id == ours
