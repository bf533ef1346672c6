"""The edges of each step: a state that stops it, a hint that saves a read, a write that another writer overtakes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from functions import grant_rbac, register_membership, revoke_rbac, unregister_membership
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import ConflictError, RetryableError
from shared.values.messages import StepRequest, parse
from tests.simulation.given import BLUE, OWN, SECRET, SECRETS, onboarded, when, written
from tests.simulation.ports import WorldServices
from tests.simulation.world import World


def joined() -> World:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.join(BLUE, OWN)
    return world


def in_the_cluster(world: World) -> list[str]:
    """The verbs of the calls to the cluster's own objects."""
    return [call.split()[1] for call in world.calls if call.startswith("gateway") and "/central" not in call.split()[2]]


def proof_of(world: World) -> StepRequest:
    """The message of grant-rbac for a cluster that has its Secret."""
    [following] = grant_rbac.run(StepRequest(BLUE), WorldServices(world)).next
    return following.request


def test_an_unselected_cluster_is_granted_nothing() -> None:
    world = joined()
    world.select("env=dev")
    assert grant_rbac.run(StepRequest(BLUE), WorldServices(world)).decision is Decision.NO_OP
    assert (in_the_cluster(world), world.inside(BLUE).objects) == ([], {})


@pytest.mark.parametrize(("new", "first"), [(True, "create"), (False, "list")])
def test_a_new_cluster_gets_its_binding_without_a_read(new: bool, first: str) -> None:
    world = joined()
    grant_rbac.run(StepRequest(BLUE, new=new), WorldServices(world))
    assert in_the_cluster(world)[0] == first


def test_a_binding_that_exists_in_a_new_cluster_is_read() -> None:
    world = joined()
    for expected in (Decision.GRANTED, Decision.UNCHANGED):
        assert grant_rbac.run(StepRequest(BLUE, new=True), WorldServices(world)).decision is expected


def test_an_earlier_membership_stays_if_the_cluster_is_recreated_meanwhile() -> None:
    world = World()
    world.create(BLUE)
    register_membership.run(StepRequest(BLUE), WorldServices(world))
    world.delete(BLUE)
    world.create(BLUE)
    before = world.memberships[OWN]

    def again() -> None:
        world.delete(BLUE)
        world.create(BLUE)

    when(world, "after", "gkehub get", again)
    with pytest.raises(RetryableError) as found:
        register_membership.run(StepRequest(BLUE), WorldServices(world))
    assert (found.value.code, world.memberships[OWN]) == (ErrorCode.RECREATED, before)


def test_an_earlier_membership_stays_while_the_later_cluster_is_in_error() -> None:
    world = World()
    world.create(BLUE)
    register_membership.run(StepRequest(BLUE), WorldServices(world))
    world.delete(BLUE)
    world.create(BLUE, status="ERROR")
    assert unregister_membership.run(StepRequest(BLUE), WorldServices(world)).decision is Decision.NO_OP
    assert OWN in world.memberships


def test_the_secret_of_a_named_cluster_is_looked_for_once() -> None:
    world = joined()
    world.select("env=dev")
    revoke_rbac.run(StepRequest(BLUE), WorldServices(world))
    central = world.settings.central_membership.membership
    assert len([call for call in world.calls if call.startswith("gateway list") and call.endswith(central)]) == 1


def test_a_secret_changed_by_another_writer_is_not_written() -> None:
    world = onboarded()
    world.change(BLUE, labels={"env": "dev"})
    stored = world.central.objects[SECRETS, SECRET]
    when(world, "before", "gateway patch", lambda: world.central.put(SECRETS, stored, stored["metadata"]["uid"]))
    with pytest.raises(ConflictError):
        written(world)
    assert world.secrets()[SECRET]["metadata"]["labels"]["env"] == "prod"


def test_labels_are_written_while_a_changed_identity_waits_for_its_grant() -> None:
    world = onboarded()
    world.settings = replace(world.settings, argocd_service_account="new@demo-fleet.iam.gserviceaccount.com")
    world.change(BLUE, labels={"env": "dev"})
    assert written(world).decision is Decision.NEEDS_GRANT
    assert world.secrets()[SECRET]["metadata"]["labels"]["env"] == "dev"


def test_a_forged_previous_does_not_send_a_granted_chain_back() -> None:
    world = onboarded()
    request = replace(proof_of(world), previous="old@demo-fleet.iam.gserviceaccount.com")
    assert written(world, request).decision is Decision.UNCHANGED


def test_a_chain_whose_membership_is_not_ready_waits_for_it() -> None:
    world = onboarded()
    request: Any = proof_of(world)
    world.change_membership(OWN, state="UPDATING_BADLY")
    with pytest.raises(RetryableError) as found:
        written(world, request)
    assert found.value.code is ErrorCode.MEMBERSHIP_NOT_READY


def test_a_message_says_who_was_granted() -> None:
    world = joined()
    body = proof_of(world).body()
    assert body["identity"] == world.settings.argocd_service_account
    assert parse("write-secret", json.dumps(body).encode(), world.settings).identity == body["identity"]


def bindings(world: World, verb: str) -> list[str]:
    """The calls of a verb that name our binding."""
    return [call for call in world.calls if call.startswith(f"gateway {verb}") and "fleet-registrar:" in call]


def test_a_binding_that_exists_is_not_created_again() -> None:
    world = onboarded()
    world.calls.clear()
    assert grant_rbac.run(StepRequest(BLUE), WorldServices(world)).decision is Decision.UNCHANGED
    assert bindings(world, "create") == []


def test_a_binding_that_another_step_made_meanwhile_is_found() -> None:
    world = joined()

    def touch(phase: str, call: str) -> None:
        if phase == "before" and call.startswith("gateway create") and "fleet-registrar:" in call and not made:
            made.append(call)
            grant_rbac.run(StepRequest(BLUE, new=True), WorldServices(world))

    made: list[str] = []
    world.touch = touch
    assert grant_rbac.run(StepRequest(BLUE), WorldServices(world)).decision is Decision.UNCHANGED


def test_a_binding_that_is_deleted_meanwhile_is_created() -> None:
    world = onboarded()
    (key, stored), *_ = world.inside(BLUE).objects.items()
    del world.inside(BLUE).objects[key]
    steps: list[str] = []

    def touch(phase: str, call: str) -> None:
        if phase != "before" or ("fleet-registrar:" not in call and not call.startswith("gateway list")):
            return
        steps.append(call)
        if call.startswith("gateway create") and len(bindings(world, "create")) == 1:
            world.inside(BLUE).put(key[0], stored)
        elif call.startswith("gateway list") and len(bindings(world, "create")) == 1:
            world.inside(BLUE).objects.pop(key, None)

    world.calls.clear()
    world.touch = touch
    assert grant_rbac.run(StepRequest(BLUE), WorldServices(world)).decision is Decision.GRANTED
    assert len(bindings(world, "create")) == 2
    assert key in world.inside(BLUE).objects
