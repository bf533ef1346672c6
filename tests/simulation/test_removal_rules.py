"""Rules of the steps that remove: what each may touch, what it publishes, and what subscribers hear."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from functions import revoke_rbac, unregister_membership
from shared.values.cluster_secret import FUNCTIONS_PROJECT
from shared.values.codes import Decision, FindingCode
from shared.values.messages import StepRequest
from shared.values.model import State
from shared.values.names import ClusterName, MembershipName
from tests.simulation.given import BLUE, HELD, OWN, SECRET, SECRETS, notes, onboarded, pinned, removed
from tests.simulation.ports import WorldServices
from tests.simulation.world import Delivery, World

NEXT = "argocd2@demo-fleet.iam.gserviceaccount.com"
OTHER = ClusterName("demo-apps", "europe-west1", "other")


def revoked(world: World, request: StepRequest | None = None) -> Decision:
    return revoke_rbac.run(request or StepRequest(BLUE), WorldServices(world)).decision


def unselected() -> World:
    """The cluster is not selected any more, and has no Secret."""
    world = onboarded()
    world.select("env=dev")
    del world.central.objects[SECRETS, SECRET]
    return world


def delivered(world: World, body: dict[str, str], attempt: int = 1) -> list[str]:
    """What subscribers hear of one delivery to remove-secret."""
    world.events.clear()
    world.publish("remove-secret", body)
    delivery = world.queue.pop()
    world.deliver(Delivery(delivery.topic, delivery.message, attempt))
    return world.heard


def test_a_leave_for_a_gke_membership_that_is_gone_goes_to_its_cluster() -> None:
    """A GKE cluster's Secret is never held as that of an attached cluster that left the fleet."""
    world = onboarded()
    world.unregister(BLUE)
    outcome = removed(world, StepRequest(None, OWN, leave="hold"))
    assert outcome.decision is Decision.FORWARDED
    assert [(each.request.cluster, each.request.leave) for each in outcome.next] == [(BLUE, "hold")]
    assert HELD not in notes(world)


def test_without_a_membership_of_ours_the_cluster_is_read_once() -> None:
    world = onboarded()
    world.delete(BLUE)
    world.memberships[OWN] = replace(world.memberships[OWN], labels={})
    world.calls.clear()
    unregister_membership.run(StepRequest(BLUE, OWN), WorldServices(world))
    assert len([call for call in world.calls if call.startswith("container get")]) == 1
    assert OWN in world.memberships


def test_a_hold_for_another_cluster_needs_a_secret() -> None:
    world = World()
    world.create(BLUE)
    outcome = removed(world, StepRequest(BLUE, OWN, leave="other-cluster"))
    assert (outcome.decision, outcome.code) == (Decision.NO_OP, FindingCode.OTHER_CLUSTER)


def test_a_pinned_secret_of_a_selected_cluster_is_no_obstacle() -> None:
    """docs/architecture.md#state-table: the rows `remove, pinned` and `remove, pinned earlier`."""
    world = onboarded()
    pinned(world)
    outcome = removed(world)
    assert [each.topic for each in outcome.next] == ["register-membership"]
    assert outcome.severity == "INFO"


def test_a_cluster_in_deletion_without_secret_makes_no_fleet_call() -> None:
    world = World()
    world.create(BLUE, status="STOPPING")
    world.calls.clear()
    assert removed(world).decision is Decision.NO_OP
    assert not [call for call in world.calls if call.startswith("gkehub")]


def test_events_hold_three_that_left_the_fleet_and_a_sweep_the_rest() -> None:
    """docs/architecture.md#states: beyond three, the removal limit `left` decides."""
    world = World()
    names = [MembershipName("demo-fleet", "global", f"edge-{number}") for number in range(5)]
    for name in names:
        world.attach(name)
        world.publish("register-membership", {"membership": str(name)})
    world.settle()
    for name in names:
        del world.memberships[name]
    decisions = [removed(world, StepRequest(None, name)).decision for name in names]
    assert decisions == [Decision.HELD] * 3 + [Decision.NO_OP] * 2
    outcome = removed(world, StepRequest(None, names[3], leave="hold"))
    assert outcome.decision is Decision.HELD


def test_an_earlier_identity_is_named_where_a_binding_may_be_left() -> None:
    world = onboarded()
    earlier = world.settings.argocd_service_account
    world.settings = replace(world.settings, argocd_service_account=NEXT)
    world.select("env=dev")
    removed(world, StepRequest(BLUE, leave="hold"))
    world.now += world.settings.hold
    [following] = removed(world, StepRequest(BLUE, leave="remove")).next
    assert (following.topic, following.request.previous) == ("revoke-rbac", earlier)
    gone = onboarded()
    gone.settings = replace(gone.settings, argocd_service_account=NEXT)
    gone.delete(BLUE)
    [following] = removed(gone).next
    assert (following.topic, following.request.previous) == ("unregister-membership", "")


def test_subscribers_hear_each_change_of_a_leaving_cluster_once() -> None:
    """docs/events: a redelivery repeats what an earlier attempt may not have published."""
    world = onboarded()
    world.change(BLUE, status="STOPPING")
    body: dict[str, str] = {"cluster": str(BLUE)}
    assert delivered(world, body) == ["held"]
    first = json.loads(world.events[0].data)
    assert (first["labels"], first["code"]) == ({"env": "prod"}, "going")
    assert delivered(world, body) == []
    assert delivered(world, body, attempt=2) == ["held"]
    world.now += timedelta(minutes=1)
    assert delivered(world, body, attempt=2) == []
    world.change(BLUE, status="ERROR")
    assert delivered(world, body) == ["released"]
    assert json.loads(world.events[0].data)["code"] == "unknown"
    world.delete(BLUE)
    assert delivered(world, body) == ["offboarded"]
    assert delivered(world, body) == []
    assert delivered(world, body, attempt=2) == ["offboarded"]


def test_a_removed_secret_is_heard_of_on_a_redelivery_of_its_request_only() -> None:
    world = unselected()
    del world.memberships[OWN]
    world.change(BLUE, membership=None, fleet_project="")
    body = {"cluster": str(BLUE), "leave": "remove"}
    assert delivered(world, body) == []
    assert delivered(world, body, attempt=2) == ["offboarded"]
    assert delivered(world, {"cluster": str(BLUE)}, attempt=2) == []


def test_a_hold_for_another_reason_is_not_heard_of_as_this_one() -> None:
    world = onboarded()
    notes(world)[HELD] = f"not-wanted {world.now:%Y-%m-%dT%H:%M:%SZ} skip-reconcile=ours"
    world.change(BLUE, status="PROVISIONING")
    assert delivered(world, {"cluster": str(BLUE)}, attempt=2) == []


def test_a_label_that_a_person_took_off_is_not_in_the_event() -> None:
    world = onboarded()
    del world.central.objects[SECRETS, SECRET]["metadata"]["labels"]["env"]
    world.central.objects[SECRETS, SECRET]["metadata"]["labels"]["by-hand"] = "x"
    world.delete(BLUE)
    assert delivered(world, {"cluster": str(BLUE)}) == ["offboarded"]
    assert json.loads(world.events[0].data)["labels"] == {}


@pytest.mark.parametrize("by_membership", [False, True])
def test_a_binding_stays_while_a_namesakes_secret_needs_it(by_membership: bool) -> None:
    """docs/configuration.md#several-registrars: both registrars bind the same object."""
    world = onboarded()
    world.select("env=dev")
    world.central.objects[SECRETS, SECRET]["metadata"]["annotations"][FUNCTIONS_PROJECT] = "demo-rival"
    before = dict(world.inside(BLUE).objects)
    assert revoked(world, StepRequest(None, OWN) if by_membership else StepRequest(BLUE)) is Decision.NO_OP
    assert world.inside(BLUE).objects == before


def test_a_binding_in_a_project_that_is_no_source_any_more_is_deleted() -> None:
    world = unselected()
    world.settings = replace(world.settings, source_projects=frozenset({"demo-fleet"}))
    assert revoked(world) is Decision.REVOKED
    assert world.inside(BLUE).objects == {}


def test_a_selected_cluster_is_registered_again_and_keeps_its_binding() -> None:
    world = onboarded()
    before = dict(world.inside(BLUE).objects)
    outcome = revoke_rbac.run(StepRequest(BLUE), WorldServices(world))
    assert [each.topic for each in outcome.next] == ["register-membership"]
    assert world.inside(BLUE).objects == before


def test_a_check_of_a_binding_that_stayed_publishes_nothing() -> None:
    for check, topics in ((True, []), (False, ["unregister-membership"])):
        world = unselected()
        outcome = revoke_rbac.run(StepRequest(BLUE, OWN, check=check), WorldServices(world))
        assert (outcome.decision, outcome.code, outcome.severity) == (Decision.REVOKED, State.UNSELECTED, "INFO")
        assert [each.topic for each in outcome.next] == topics
        assert world.inside(BLUE).objects == {}


def test_an_unmanaged_binding_of_our_name_stays_at_a_revocation() -> None:
    world = unselected()
    for stored in world.inside(BLUE).objects.values():
        stored["metadata"]["labels"] = {}
    assert revoked(world) is Decision.NO_BINDING
    assert len(world.inside(BLUE).objects) == 1


def test_a_binding_changed_since_it_was_read_is_not_deleted() -> None:
    world = unselected()
    (key, stored), *_ = world.inside(BLUE).objects.items()

    def touch(phase: str, call: str) -> None:
        if phase == "before" and call.startswith("gateway delete"):
            world.inside(BLUE).put(key[0], stored, stored["metadata"]["uid"])

    world.touch = touch
    with pytest.raises(Exception, match="409"):
        revoked(world)
    assert key in world.inside(BLUE).objects


def test_membership_of_another_cluster_is_not_used_to_revoke() -> None:
    world = unselected()
    world.create(OTHER)
    world.memberships[OWN] = replace(world.memberships[OWN], cluster=OTHER)
    before = dict(world.inside(BLUE).objects)
    world.change(BLUE, membership=None, fleet_project="")
    assert revoked(world, StepRequest(BLUE, OWN)) is Decision.BLOCKED
    assert world.inside(BLUE).objects == before
