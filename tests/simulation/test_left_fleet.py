"""Events hold few attached clusters that have left the fleet (docs/architecture.md#removal-limits)."""

from __future__ import annotations

import pytest

from shared.values.cluster_secret import HELD
from shared.values.names import MembershipName
from tests.simulation.world import World


def attached(number: int) -> tuple[World, list[MembershipName]]:
    """A world with so many attached clusters in Argo CD."""
    world = World()
    names = [MembershipName("demo-fleet", "global", f"edge-{each}") for each in range(number)]
    for name in names:
        world.attach(name, {})
        world.publish("register-membership", {"membership": str(name)})
    world.settle()
    assert len(world.secrets()) == number
    return world, names


def held(world: World) -> int:
    return sum(HELD in secret["metadata"]["annotations"] for secret in world.secrets().values())


def unregister(world: World, names: list[MembershipName]) -> None:
    """Unregister clusters; the event of each arrives."""
    for name in names:
        del world.memberships[name]
        world.publish("remove-secret", {"membership": str(name)})
    world.settle()


@pytest.mark.parametrize(("number", "expected"), [(1, 1), (3, 3), (4, 3), (20, 3)])
def test_events_hold_at_most_three_clusters_that_left(number: int, expected: int) -> None:
    world, names = attached(number)
    unregister(world, names)
    assert held(world) == expected
    assert len(world.secrets()) == number
    assert not world.dead


def test_a_hold_for_another_reason_does_not_count() -> None:
    world, names = attached(5)
    for name in names[:3]:
        world.change_membership(name, state="DELETING")
        world.publish("remove-secret", {"membership": str(name)})
    world.settle()
    unregister(world, names[3:])
    assert held(world) == 5


def test_a_redelivered_event_of_a_held_cluster_changes_nothing() -> None:
    world, names = attached(3)
    unregister(world, names)
    writes = world.central.writes
    for name in names:
        world.publish("remove-secret", {"membership": str(name)})
    world.settle()
    assert (world.central.writes, held(world)) == (writes, 3)


def test_a_mass_unregistration_leaves_argocds_list_to_the_sweep() -> None:
    world, names = attached(20)
    unregister(world, names)
    world.sweep()
    world.now += world.settings.hold * 2
    world.sweep()
    assert len(world.secrets()) == 20
