"""What remove-secret holds and deletes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.values.codes import Decision, ErrorCode, FindingCode
from shared.values.errors import PermanentError, RetryableError
from shared.values.messages import StepRequest
from shared.values.names import MembershipName
from tests.simulation.given import (
    BLUE,
    EDGE,
    HELD,
    OWN,
    SECRET,
    SECRETS,
    notes,
    onboarded,
    pinned,
    removed,
    when,
    written,
)
from tests.simulation.world import World


def test_an_unselected_cluster_keeps_its_secret_without_a_sweep() -> None:
    world = onboarded()
    world.select("env=dev")
    before = world.secrets()
    removed(world)
    assert world.secrets() == before


def test_a_hold_is_kept_until_its_time_has_passed() -> None:
    world = onboarded()
    world.select("env=dev")
    assert removed(world, StepRequest(BLUE, leave="hold")).decision is Decision.HELD
    since = notes(world)[HELD]
    assert removed(world, StepRequest(BLUE, leave="hold")).decision is not Decision.HELD
    world.now += world.settings.hold - timedelta(seconds=1)
    removed(world, StepRequest(BLUE, leave="remove"))
    assert notes(world)[HELD] == since
    world.now += timedelta(seconds=1)
    outcome = removed(world, StepRequest(BLUE, leave="remove"))
    assert outcome.decision is Decision.DELETED
    assert outcome.next[0].topic == "revoke-rbac"
    assert outcome.next[0].request.membership == OWN


def test_a_cluster_selected_again_is_not_removed() -> None:
    world = onboarded()
    world.select("env=dev")
    removed(world, StepRequest(BLUE, leave="hold"))
    world.now += timedelta(hours=1)
    world.select("env=prod")
    outcome = removed(world, StepRequest(BLUE, leave="remove"))
    assert SECRET in world.secrets()
    assert [each.topic for each in outcome.next] == ["register-membership"]


def test_a_pinned_secret_is_neither_held_nor_deleted() -> None:
    world = onboarded()
    pinned(world)
    world.select("env=dev")
    world.change(BLUE, status="STOPPING")
    before = world.secrets()
    for leave in ("", "hold", "remove"):
        removed(world, StepRequest(BLUE, leave=leave))
    world.delete(BLUE)
    outcome = removed(world)
    assert (outcome.decision, outcome.code) == (Decision.BLOCKED, FindingCode.PINNED)
    assert world.secrets() == before


def test_a_secret_changed_since_it_was_read_is_not_deleted() -> None:
    world = onboarded()
    world.delete(BLUE)
    stored = world.central.objects[SECRETS, SECRET]
    when(world, "before", "gateway delete", lambda: world.central.put(SECRETS, stored, stored["metadata"]["uid"]))
    with pytest.raises(RetryableError):
        removed(world)
    assert SECRET in world.secrets()


def test_the_secret_is_read_before_the_cluster() -> None:
    """A step that reads it later could delete the Secret of a cluster that was created in between."""
    world = onboarded()
    world.delete(BLUE)

    def later() -> None:
        world.create(BLUE, {"env": "prod"})
        stored = world.central.objects[SECRETS, SECRET]
        world.central.put(SECRETS, stored, stored["metadata"]["uid"])

    when(world, "after", "container list", later)
    with pytest.raises(RetryableError):
        removed(world)
    assert SECRET in world.secrets()


def test_an_attached_cluster_that_left_is_held_first() -> None:
    world = onboarded(attached=True)
    name = "demo-fleet.global.memberships.edge"
    del world.memberships[EDGE]
    removed(world, StepRequest(None, EDGE))
    assert notes(world, name)[HELD].startswith("left-fleet ")


def test_an_attached_cluster_in_deletion_is_held_as_going() -> None:
    world = onboarded(attached=True)
    world.memberships[EDGE] = replace(world.memberships[EDGE], state="DELETING")
    removed(world, StepRequest(None, EDGE))
    assert notes(world, "demo-fleet.global.memberships.edge")[HELD].startswith("going ")


def test_the_message_of_a_gke_membership_goes_to_its_cluster() -> None:
    world = onboarded()
    world.select("env=dev")
    outcome = removed(world, StepRequest(None, OWN, leave="hold"))
    assert outcome.decision is Decision.FORWARDED
    [following] = outcome.next
    assert following.topic == "remove-secret"
    assert (following.request.cluster, following.request.membership) == (BLUE, OWN)
    assert HELD not in notes(world)


def test_an_unknown_membership_makes_no_list_call_of_the_fleet() -> None:
    world = World()
    removed(world, StepRequest(None, MembershipName("demo-fleet", "global", "never")))
    assert not [call for call in world.calls if call.startswith("gkehub list")]


def test_the_central_membership_is_answered_without_a_call() -> None:
    world = World()
    assert removed(world, StepRequest(None, world.settings.central_membership)).decision is Decision.NO_OP
    assert world.calls == []


def test_a_cluster_without_secret_is_revoked_in_turn() -> None:
    world = onboarded()
    world.select("env=dev")
    del world.central.objects[SECRETS, SECRET]
    outcome = removed(world)
    assert outcome.decision is Decision.NO_SECRET
    assert [each.topic for each in outcome.next] == ["revoke-rbac"]


def test_a_failed_deletion_releases_the_hold() -> None:
    world = onboarded()
    world.change(BLUE, status="STOPPING")
    removed(world)
    assert notes(world)[HELD].startswith("going ")
    assert notes(world)["argocd.argoproj.io/skip-reconcile"] == "true"
    world.change(BLUE, status="RUNNING")
    removed(world)
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    assert HELD not in notes(world)


def test_a_contradiction_of_two_answers_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = onboarded()
    monkeypatch.setattr(world, "seen_cluster", lambda _: None)
    with pytest.raises(RetryableError) as raised:
        removed(world)
    assert raised.value.code is ErrorCode.CONTRADICTION
    assert SECRET in world.secrets()


def test_a_contradiction_of_the_fleet_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = onboarded(attached=True)
    monkeypatch.setattr(world, "seen_membership", lambda _: None)
    with pytest.raises(RetryableError) as raised:
        removed(world, StepRequest(None, EDGE))
    assert raised.value.code is ErrorCode.CONTRADICTION
    assert HELD not in notes(world, "demo-fleet.global.memberships.edge")


def test_two_secrets_of_one_cluster_stop_every_step() -> None:
    world = onboarded()
    twin = {**world.secrets()[SECRET]}
    twin["metadata"] = {**twin["metadata"], "name": "twin"}
    world.central.put(SECRETS, twin)
    for run in (removed, written):
        with pytest.raises(PermanentError) as raised:
            run(world)
        assert raised.value.code is ErrorCode.DUPLICATE_SECRETS


def test_the_deletion_of_a_running_clusters_membership_registers_it_again() -> None:
    world = onboarded()
    del world.memberships[OWN]
    world.change(BLUE, membership=None, fleet_project="")
    outcome = removed(world, StepRequest(None, OWN))
    assert [each.topic for each in outcome.next] == ["register-membership"]
    world.change(BLUE, status="STOPPING")
    assert removed(world, StepRequest(None, OWN)).next == ()


def test_a_complete_hold_is_not_written_again() -> None:
    world = onboarded()
    world.change(BLUE, status="STOPPING")
    removed(world)
    writes = world.central.writes
    assert removed(world).decision is Decision.UNCHANGED
    assert world.central.writes == writes


def test_a_gone_cluster_has_no_binding_to_revoke() -> None:
    world = onboarded()
    world.delete(BLUE)
    assert [each.topic for each in removed(world).next] == ["unregister-membership"]


def test_an_unselected_cluster_without_secret_and_membership_ends_there() -> None:
    world = World()
    world.create(BLUE)
    world.select("env=dev")
    assert removed(world).next == ()
