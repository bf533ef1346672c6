"""Worlds with a fleet that a sweep has registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions import sweep
from shared.values.messages import Scope
from shared.values.names import ClusterName
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

if TYPE_CHECKING:
    from shared.decisions.sweep_plan import Plan


def fleet(number: int, *, select: str = "") -> World:
    """A world with clusters that a first sweep has registered."""
    world = World()
    world.select(select)
    for index in range(number):
        world.create(ClusterName("demo-apps", "europe-west1", f"c{index:03}"), {"env": "prod", "tier": "web"})
    world.sweep()
    assert len(world.secrets()) == number
    return world


def planned(world: World, scope: Scope | None = None) -> Plan:
    return sweep.planned(scope or Scope(), WorldServices(world))


def held(world: World) -> list[str]:
    return [
        name for name, secret in world.secrets().items() if "fleet-registrar/held" in secret["metadata"]["annotations"]
    ]
