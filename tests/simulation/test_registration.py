"""Memberships: what register-membership creates and replaces, and what unregister-membership deletes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from functions import register_membership, unregister_membership
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import PermanentError, RetryableError
from shared.values.messages import StepRequest
from shared.values.names import ClusterName, MembershipName
from tests.simulation.given import when
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
OWN = BLUE.membership("demo-fleet")
THEIRS = MembershipName("demo-fleet", "europe-west1", "by-hand")
EDGE = MembershipName("demo-fleet", "global", "edge")


def registered(world: World, request: StepRequest | None = None) -> Any:
    return register_membership.run(request or StepRequest(BLUE), WorldServices(world))


def unregistered(world: World, request: StepRequest | None = None) -> Any:
    return unregister_membership.run(request or StepRequest(BLUE), WorldServices(world))


def with_membership() -> World:
    world = World()
    world.create(BLUE)
    registered(world)
    return world


def recreated() -> World:
    """The membership is of an earlier cluster of this name."""
    world = with_membership()
    world.delete(BLUE)
    world.create(BLUE)
    return world


def test_a_selected_cluster_is_registered_once() -> None:
    world = World()
    world.create(BLUE)
    assert registered(world).decision is Decision.REGISTERED
    assert registered(world).decision is Decision.UNCHANGED
    assert world.memberships[OWN].cluster == BLUE


def test_an_attached_cluster_is_never_registered_again() -> None:
    world = World()
    world.attach(EDGE)
    outcome = registered(world, StepRequest(None, EDGE))
    assert outcome.decision is Decision.UNCHANGED
    assert outcome.next[0].request.membership == EDGE
    assert not [call for call in world.calls if call.startswith("gkehub create")]


def test_the_membership_that_the_cluster_names_is_used() -> None:
    world = World()
    world.create(BLUE)
    world.join(BLUE, THEIRS)
    outcome = registered(world)
    assert outcome.next[0].request.membership == THEIRS
    assert OWN not in world.memberships


def test_a_membership_of_another_cluster_with_our_id_stays() -> None:
    world = World()
    world.create(BLUE)
    other = ClusterName("demo-apps", "europe-west1", "other")
    world.create(other)
    theirs = world.join(other, OWN)
    world.change(other, membership=None)
    with pytest.raises(PermanentError) as raised:
        registered(world)
    assert raised.value.code is ErrorCode.UNMANAGED_MEMBERSHIP
    assert world.memberships[OWN] == theirs


def test_a_membership_that_is_not_ready_is_waited_for() -> None:
    world = with_membership()
    world.memberships[OWN] = replace(world.memberships[OWN], state="CREATING")
    with pytest.raises(RetryableError) as raised:
        registered(world)
    assert raised.value.code is ErrorCode.MEMBERSHIP_NOT_READY


def test_a_new_membership_that_is_not_ready_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.create(BLUE)
    monkeypatch.setattr(world, "registered", lambda made: replace(made, state="CREATING"))
    with pytest.raises(RetryableError) as raised:
        registered(world)
    assert raised.value.code is ErrorCode.MEMBERSHIP_NOT_READY


def test_an_earlier_clusters_membership_is_replaced() -> None:
    world = recreated()
    earlier = world.memberships[OWN].unique_id
    assert registered(world).decision is Decision.REGISTERED
    assert world.memberships[OWN].unique_id != earlier


def test_an_earlier_membership_stays_if_the_cluster_is_gone_meanwhile() -> None:
    world = recreated()
    before = world.memberships[OWN]
    when(world, "after", f"gkehub get {OWN}", lambda: world.delete(BLUE))
    with pytest.raises(RetryableError):
        registered(world)
    assert world.memberships[OWN] == before


def test_an_earlier_membership_stays_if_it_is_unselected_meanwhile() -> None:
    world = recreated()
    before = world.memberships[OWN]
    when(world, "after", f"gkehub get {OWN}", lambda: world.change(BLUE, status="STOPPING"))
    with pytest.raises(RetryableError) as raised:
        registered(world)
    assert raised.value.code is ErrorCode.NOT_SELECTED
    assert world.memberships[OWN] == before


def test_a_membership_recreated_meanwhile_is_not_replaced() -> None:
    world = recreated()
    when(
        world,
        "after",
        f"gkehub get {OWN}",
        lambda: world.memberships.update({OWN: replace(world.memberships[OWN], unique_id="later")}),
    )
    with pytest.raises(RetryableError) as raised:
        registered(world)
    assert raised.value.code is ErrorCode.RECREATED
    assert world.memberships[OWN].unique_id == "later"


def test_a_deleted_clusters_membership_is_deleted() -> None:
    world = with_membership()
    world.delete(BLUE)
    outcome = unregistered(world)
    assert outcome.decision is Decision.UNREGISTERED
    assert OWN not in world.memberships
    again = unregistered(world)
    assert again.decision is Decision.NO_MEMBERSHIP


def test_the_membership_that_the_message_names_is_deleted_if_it_is_ours() -> None:
    world = with_membership()
    other = MembershipName("demo-fleet", "europe-west1", "another-id")
    made = world.memberships.pop(OWN)
    world.memberships[other] = replace(made, name=other)
    world.delete(BLUE)
    assert unregistered(world, StepRequest(BLUE, other)).decision is Decision.UNREGISTERED
    assert other not in world.memberships


def test_a_membership_that_we_did_not_make_is_never_deleted() -> None:
    world = World()
    world.create(BLUE)
    world.join(BLUE, THEIRS)
    world.join(BLUE, OWN)
    world.delete(BLUE)
    assert unregistered(world, StepRequest(BLUE, THEIRS)).decision is Decision.NO_MEMBERSHIP
    assert {THEIRS, OWN} <= set(world.memberships)


def test_a_living_clusters_membership_is_never_deleted() -> None:
    world = with_membership()
    for selector in ("", "env=prod"):
        world.select(selector)
        unregistered(world)
        unregistered(world, StepRequest(None, OWN))
        assert OWN in world.memberships


def test_the_message_of_a_membership_becomes_its_clusters() -> None:
    world = with_membership()
    world.delete(BLUE)
    assert unregistered(world, StepRequest(None, OWN)).decision is Decision.UNREGISTERED
    assert OWN not in world.memberships


def test_memberships_are_read_before_the_cluster() -> None:
    world = with_membership()
    world.delete(BLUE)

    def later() -> None:
        """A later cluster of the name is registered after the earlier one was proven gone."""
        third = world.create(BLUE)
        world.memberships[OWN] = replace(
            world.memberships[OWN],
            unique_id="later",
            labels={**made.labels, "fleet-registrar-cluster-id": third.id_label},
        )

    made = world.memberships[OWN]
    when(world, "after", "container list", later)
    with pytest.raises(RetryableError) as raised:
        unregistered(world)
    assert raised.value.code is ErrorCode.RECREATED
    assert OWN in world.memberships


@pytest.mark.parametrize("known", [True, False])
def test_the_uid_of_the_secret_saves_one_read_of_the_membership(known: bool) -> None:
    world = with_membership()
    world.delete(BLUE)
    uid = world.memberships[OWN].unique_id if known else ""
    world.calls.clear()
    assert unregistered(world, StepRequest(BLUE, OWN, membership_uid=uid)).decision is Decision.UNREGISTERED
    assert len([call for call in world.calls if call == f"gkehub get {OWN}"]) == (1 if known else 2)


def test_a_uid_of_an_earlier_membership_takes_the_long_way() -> None:
    world = with_membership()
    world.delete(BLUE)
    request = StepRequest(BLUE, OWN, membership_uid="uid-earlier")
    assert unregistered(world, request).decision is Decision.UNREGISTERED
    assert len([call for call in world.calls if call == f"gkehub get {OWN}"]) == 3
    assert OWN not in world.memberships


def test_a_late_uid_does_not_delete_the_later_clusters_membership() -> None:
    world = with_membership()
    request = StepRequest(BLUE, OWN, membership_uid=world.memberships[OWN].unique_id)
    world.delete(BLUE)

    def again() -> None:
        world.create(BLUE)
        registered(world)

    when(world, "after", "container list", again)
    outcome = unregistered(world, request)
    assert world.memberships[OWN].cluster_id == world.clusters[BLUE].id_label
    assert [each.topic for each in outcome.next] == ["register-membership"]


def test_a_uid_proves_no_ownership() -> None:
    world = World()
    world.create(BLUE)
    world.join(BLUE, OWN)
    world.delete(BLUE)
    request = StepRequest(BLUE, OWN, membership_uid=world.memberships[OWN].unique_id)
    assert unregistered(world, request).decision is Decision.NO_MEMBERSHIP
    assert OWN in world.memberships


def test_a_cluster_created_during_the_deletion_is_registered_again() -> None:
    world = with_membership()
    world.delete(BLUE)
    when(world, "after", "gkehub delete", lambda: world.create(BLUE))
    outcome = unregistered(world)
    assert [each.topic for each in outcome.next] == ["register-membership"]


def test_a_membership_deleted_meanwhile_counts_as_none() -> None:
    world = with_membership()
    world.delete(BLUE)
    when(world, "after", "container list", lambda: world.memberships.pop(OWN))
    outcome = unregistered(world)
    assert outcome.decision is Decision.NO_MEMBERSHIP


def test_memberships_of_a_project_that_is_no_source_are_not_read() -> None:
    world = World()
    outside = ClusterName("demo-other", "europe-west1", "blue")
    unregistered(world, StepRequest(outside, THEIRS))
    assert world.calls == []


def test_sub_resources_of_a_membership_stop_its_deletion() -> None:
    world = with_membership()
    world.bound.add(OWN)
    world.delete(BLUE)
    with pytest.raises(PermanentError):
        unregistered(world)
    assert OWN in world.memberships
