"""What random runs have found in the product, each as a short story that shows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from functions import sweep
from shared.values.cluster_secret import HELD, KEEP, SKIP_RECONCILE
from shared.values.messages import Scope
from shared.values.names import ClusterName, MembershipName
from tests.simulation.given import when
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
EDGE = MembershipName("demo-fleet", "global", "edge")


def asked(world: World) -> list[str]:
    plan = sweep.planned(Scope(), WorldServices(world))
    return [ask.next.topic for ask in plan.requests if ask.kind != "check"]


def onboarded() -> World:
    world = World()
    world.select("env")
    world.create(BLUE, {"env": "prod"})
    world.sweep()
    return world


def noted(world: World) -> dict[str, str]:
    found: dict[str, str] = world.secrets()[BLUE.secret_name]["metadata"]["annotations"]
    return found


def test_re_attached_unselected_cluster_leaves_in_two_sweeps() -> None:
    """The step held it as left-fleet, the sweep asked for not-wanted: it was asked for ever and never removed."""
    world = World()
    world.select("env")
    world.attach(EDGE, {"env": "prod"})
    world.attach(replace(EDGE, membership="other"), {"env": "prod"})
    world.sweep()
    del world.memberships[EDGE]
    world.sweep()
    world.attach(EDGE, {})
    world.sweep()
    world.now += timedelta(seconds=700)
    world.sweep()
    assert EDGE.secret_name not in world.secrets()
    assert not asked(world)


def test_pinned_secret_in_an_unknown_state_is_not_requested() -> None:
    """The sweep asked for the hold to be lifted, and the step reports a pinned Secret and leaves it alone."""
    world = onboarded()
    world.change(BLUE, status="STOPPING")
    world.sweep()
    assert HELD in noted(world)
    noted(world)[KEEP] = "true"
    world.change(BLUE, status="ERROR")
    assert not asked(world)


def test_earlier_clusters_secret_stays_held_during_an_error() -> None:
    """The sweep asked for that hold to be lifted, at every sweep, and never for it to be set."""
    world = onboarded()
    world.delete(BLUE)
    world.create(BLUE, {"env": "prod"}, "ERROR")
    assert asked(world) == ["remove-secret"]
    world.sweep()
    assert noted(world)[HELD].startswith("going ")
    assert not asked(world)
    world.change(BLUE, status="RUNNING")
    world.sweep()
    assert HELD not in noted(world)


def test_secret_created_for_an_earlier_cluster_is_held() -> None:
    """The cluster was re-created while the Secret was on its way; no event followed when the creation failed."""
    world = World()
    world.create(BLUE, {"env": "prod"})

    def re_created() -> None:
        world.delete(BLUE)
        world.create(BLUE, {"env": "prod"}, "PROVISIONING")

    when(world, "before", f"gateway create {WorldServices(world).central_url}", re_created)
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    assert noted(world)[HELD].startswith("going ")
    world.change(BLUE, status="ERROR")
    assert not asked(world)


def test_skip_of_a_hold_ends_with_it_without_its_annotation() -> None:
    """A person removed the annotation: the sweep removed the label, and Argo CD skipped the cluster for ever."""
    world = onboarded()
    world.change(BLUE, status="STOPPING")
    world.sweep()
    del noted(world)[HELD]
    world.change(BLUE, status="RUNNING")
    world.sweep()
    assert SKIP_RECONCILE not in noted(world)
    assert HELD not in world.secrets()[BLUE.secret_name]["metadata"]["labels"]
    assert not asked(world)


def test_cluster_deleted_between_two_reads_is_not_registered() -> None:
    world = World()
    world.create(BLUE)
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    world.delete(BLUE)
    world.create(BLUE)
    seen: list[str] = []

    def going(phase: str, call: str) -> None:
        if phase == "after" and call.startswith("container get") and not seen:
            seen.append(call)
            world.change(BLUE, status="STOPPING")

    world.touch = going
    uid = world.memberships[BLUE.membership("demo-fleet")].unique_id
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    assert seen
    assert world.memberships[BLUE.membership("demo-fleet")].unique_id == uid
