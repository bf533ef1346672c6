"""The cluster Secret: what the grant changes, later clusters of the same name, the agent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.values.cluster_secret import timestamp
from shared.values.names import MembershipName
from tests.unit.given import (
    BLUE,
    BLUE_MEMBER,
    EDGE,
    GRANT,
    as_secret,
    created,
    patched,
    secret,
)
from tests.unit.secret_plans import BACK, HOST, LATER, REFRESH, SILENT, decoded, labelled, plan

if TYPE_CHECKING:
    from shared.values.model import Cluster, Membership


def test_without_a_noted_grant_labels_change_and_it_is_requested() -> None:
    current = as_secret(created(), **{"fleet-registrar/grant": None})
    found = plan(current, labelled(env="dev"))
    assert found.needs_grant
    assert found.patch is not None
    assert found.patch["metadata"]["labels"] == {"env": "dev"}
    assert "annotations" not in found.patch["metadata"]


def test_another_grant_than_the_settings_say_is_asked_for_and_then_noted() -> None:
    current = secret(grant="view argocd@demo-fleet.iam.gserviceaccount.com")
    assert plan(current).patch is None
    assert plan(current).needs_grant
    found = plan(current, granted=True)
    assert found.patch is not None
    assert found.patch["metadata"]["annotations"] == {"fleet-registrar/grant": GRANT}
    assert not found.needs_grant


LATER_CLUSTER = replace(BLUE, id="b" * 64, labels={"env": "dev"})
LATER_MEMBER = replace(BLUE_MEMBER, unique_id="uid-later")


@pytest.mark.parametrize(
    ("cluster", "membership"),
    [(LATER_CLUSTER, LATER_MEMBER), (LATER_CLUSTER, BLUE_MEMBER), (BLUE, LATER_MEMBER)],
)
def test_of_a_later_cluster_nothing_is_written_before_the_grant(cluster: Cluster, membership: Membership) -> None:
    found = plan(secret(), cluster, membership)
    assert (found.patch, found.needs_grant) == (None, True)


def test_a_later_cluster_gets_the_secret_in_place() -> None:
    found = plan(secret(), LATER_CLUSTER, LATER_MEMBER, granted=True)
    assert found.patch == {
        "metadata": {
            "uid": "uid-1",
            "resourceVersion": "7",
            "labels": {"env": "dev"},
            "annotations": {
                "fleet-registrar/cluster-id": "b" * 64,
                "fleet-registrar/membership-uid": "uid-later",
                "argocd.argoproj.io/refresh": timestamp(LATER),
            },
        }
    }


def test_another_membership_of_the_same_cluster_moves_the_server() -> None:
    auto = replace(BLUE_MEMBER, name=MembershipName("demo-fleet", "europe-west1", "blue"), unique_id="uid-auto")
    found = plan(secret(), BLUE, auto, granted=True)
    assert found.patch is not None
    assert decoded(found.patch["data"]) == {"server": f"{HOST}/gkeMemberships/blue"}
    assert found.patch["metadata"]["labels"] == {"fleet-registrar/membership-hash": auto.name.hash}


def test_a_lost_agent_is_noted_once() -> None:
    current = secret(None, EDGE)
    found = plan(current, None, SILENT)
    assert found.patch is not None
    assert found.patch["metadata"]["annotations"] == {"fleet-registrar/agent-lost": "2026-11-24T15:00:00Z"}
    assert plan(patched(current, found.patch), None, SILENT).patch is None


def test_a_returned_agent_has_argocd_reconcile_once() -> None:
    current = secret(None, EDGE, agent_lost="2026-11-24T13:00:00Z")
    found = plan(current, None, BACK)
    assert found.patch is not None
    assert found.patch["metadata"]["annotations"] == {
        "fleet-registrar/agent-lost": None,
        REFRESH: "2026-11-24T15:00:00Z",
    }
    assert plan(patched(current, found.patch), None, BACK).patch is None


def test_a_grant_keeps_the_skip_reconcile_of_a_person() -> None:
    current = secret()
    skipped = {**current.annotations, "argocd.argoproj.io/skip-reconcile": "true"}
    assert plan(replace(current, annotations=skipped), granted=True).patch is None
