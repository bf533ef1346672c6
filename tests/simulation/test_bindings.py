"""Bindings of earlier identities, and those that stayed in clusters that are no longer selected."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from functions import revoke_rbac
from shared.decisions import rbac, sweep_plan
from shared.values.cluster_secret import GRANT, timestamp
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import PermanentError
from shared.values.messages import StepRequest
from tests.simulation.kubernetes import copied
from tests.simulation.one_thread import replaced
from tests.simulation.ports import WorldServices
from tests.simulation.test_grants import BLUE, EDGE, onboard, secret
from tests.simulation.world import World

NEXT = "argocd2@demo-fleet.iam.gserviceaccount.com"


def bindings(world: World) -> list[str]:
    """The names of our objects in both clusters."""
    edge = world.kubernetes[world.memberships[EDGE].unique_id]
    return sorted(name for cluster in (world.inside(BLUE), edge) for _, name in cluster.objects)


def both(world: World) -> None:
    onboard(world, BLUE, {"env": "prod"})
    world.attach(EDGE, {"env": "prod"})
    world.publish("register-membership", {"membership": str(EDGE)})
    world.settle()


def test_earlier_identity_loses_its_access_with_the_new_grant() -> None:
    """By a sweep, and by the chain of an event, which knows nothing of the change."""
    for by_sweep in (True, False):
        world = World()
        both(world)
        earlier = bindings(world)
        world.settings = replace(world.settings, argocd_service_account=NEXT)
        if by_sweep:
            world.sweep()
        else:
            world.publish("register-membership", {"cluster": str(BLUE)})
            world.publish("register-membership", {"membership": str(EDGE)})
            world.settle()
        assert bindings(world) == sorted(name.replace("argocd@", "argocd2@") for name in earlier)
        assert secret(world, BLUE)["metadata"]["annotations"][GRANT] == world.settings.grant
        assert not world.dead


def test_earlier_identity_keeps_its_access_until_the_new_one_has_it() -> None:
    world = World()
    onboard(world, BLUE, {})
    world.settings = replace(world.settings, argocd_service_account=NEXT)
    seen: list[bool] = []

    def watch(phase: str, call: str) -> None:
        if phase == "before" and call.startswith("gateway delete"):
            seen.append((rbac.BINDINGS, f"fleet-registrar:{NEXT}") in world.inside(BLUE).objects)

    world.touch = watch
    world.sweep()
    assert seen == [True]


def test_unmanaged_binding_of_the_earlier_identity_stays() -> None:
    world = World()
    onboard(world, BLUE, {})
    (stored,) = world.inside(BLUE).objects.values()
    stored["metadata"]["labels"] = {}
    world.settings = replace(world.settings, argocd_service_account=NEXT)
    world.sweep()
    assert len(world.inside(BLUE).objects) == 2


def test_forged_earlier_identity_takes_no_access_away() -> None:
    world = World()
    both(world)
    before = bindings(world)
    for previous in (world.settings.argocd_service_account, "x", "argocd@elsewhere.iam.gserviceaccount.com"):
        for topic in ("grant-rbac", "write-secret", "revoke-rbac"):
            world.publish(topic, {"cluster": str(BLUE), "previous": previous})
            world.publish(topic, {"membership": str(EDGE), "previous": previous})
        world.settle()
    assert bindings(world) == before


def test_identity_changed_after_the_grant_leaves_no_binding() -> None:
    """Nothing notes the binding: the message with the earlier identity was lost."""
    world = World()
    both(world)
    expected = [name.replace("argocd@", "argocd2@") for name in bindings(world)]
    world.central.objects.clear()
    world.settings = replace(world.settings, argocd_service_account=NEXT)
    for _ in range(2):
        world.now += timedelta(minutes=11)
        with replaced((sweep_plan, "CHECK_ONE_IN", 1)):
            world.sweep()
    assert bindings(world) == expected
    assert not world.dead


def test_new_binding_of_another_identity_stays_for_ten_minutes() -> None:
    """A step that began before the identity changed must not delete what a later one made."""
    world = World()
    onboard(world, BLUE, {})
    later = copied(rbac.objects(replace(world.settings, argocd_service_account=NEXT), attached=False)[0])
    for age, stays in ((9, True), (11, False)):
        later["metadata"]["creationTimestamp"] = timestamp(world.now - timedelta(minutes=age))
        world.inside(BLUE).put(rbac.BINDINGS, later)
        world.publish("grant-rbac", {"cluster": str(BLUE)})
        world.settle()
        assert ((rbac.BINDINGS, later["metadata"]["name"]) in world.inside(BLUE).objects) is stays


def test_binding_that_functions_of_another_project_made_stays() -> None:
    """They serve another Argo CD, and have the same INSTANCE; or nobody knows who made it."""
    world = World()
    onboard(world, BLUE, {"env": "prod"})
    for notes in ({"fleet-registrar/functions-project": "other-project"}, {}, None):
        theirs = copied(rbac.objects(replace(world.settings, argocd_service_account=NEXT), attached=False)[0])
        theirs["metadata"] |= {"annotations": notes, "creationTimestamp": "2026-01-01T00:00:00Z"}
        world.inside(BLUE).put(rbac.BINDINGS, theirs)
        world.publish("grant-rbac", {"cluster": str(BLUE)})
        world.settle()
        assert (rbac.BINDINGS, theirs["metadata"]["name"]) in world.inside(BLUE).objects
    world.central.objects.clear()
    world.select("env=dev")
    with replaced((sweep_plan, "CHECK_ONE_IN", 1)):
        world.sweep()
    assert [name for _, name in world.inside(BLUE).objects] == [f"fleet-registrar:{NEXT}"]


def test_binding_left_in_an_unselected_attached_cluster_is_deleted() -> None:
    world = World()
    both(world)
    world.central.objects.clear()
    world.select("env=dev")
    with replaced((sweep_plan, "CHECK_ONE_IN", 1)):
        world.sweep()
    assert not bindings(world)
    assert not world.dead


def test_unselected_attached_cluster_that_refuses_is_no_error() -> None:
    world = World()
    world.attach(EDGE)
    world.kubernetes[world.memberships[EDGE].unique_id].admits_us = False
    world.select("env=prod")
    with replaced((sweep_plan, "CHECK_ONE_IN", 1)):
        world.sweep()
    [body] = [body for topic, body, _ in world.published if topic == "revoke-rbac"]
    assert body == {"membership": str(EDGE), "check": True}
    outcome = revoke_rbac.run(StepRequest(None, EDGE, check=True), WorldServices(world))
    assert (outcome.decision, outcome.code, outcome.next) == (Decision.NO_BINDING, ErrorCode.NOT_ADMITTED, ())
    with pytest.raises(PermanentError):
        revoke_rbac.run(StepRequest(None, EDGE), WorldServices(world))
