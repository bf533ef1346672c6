"""Worlds with a fleet that a sweep has registered, and what a further sweep plans, holds and logs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from functions import sweep
from shared.values.messages import Message, Scope
from shared.values.names import ClusterName
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

if TYPE_CHECKING:
    import pytest

    from shared.decisions.sweep_plan import Plan

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def fleet(number: int, *, select: str = "") -> World:
    """A world with clusters that a first sweep has registered, and whose subscribers have received nothing yet."""
    world = World()
    world.select(select)
    for index in range(number):
        world.create(ClusterName("demo-apps", "europe-west1", f"c{index:03}"), {"env": "prod", "tier": "web"})
    world.sweep()
    assert len(world.secrets()) == number
    world.events.clear()
    return world


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The log entries since the last call."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def swept(world: World, capsys: pytest.CaptureFixture[str], **scope: str) -> list[dict[str, Any]]:
    """The log entries of one sweep."""
    capsys.readouterr()
    sweep.run(Message(json.dumps(scope).encode(), {}, "m1", world.now), WorldServices(world), TRACE)
    return lines(capsys)


def planned(world: World, scope: Scope | None = None) -> Plan:
    return sweep.planned(scope or Scope(), WorldServices(world))


def held(world: World) -> list[str]:
    return [
        name for name, secret in world.secrets().items() if "fleet-registrar/held" in secret["metadata"]["annotations"]
    ]
