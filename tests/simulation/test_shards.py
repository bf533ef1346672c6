"""Shards on the simulated world: written at creation, kept, shown and assigned (docs/operate.md#shards)."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from ops import shards as command
from shared.decisions import shards
from shared.values.cluster_secret import ClusterSecret
from shared.values.names import ClusterName
from tests.simulation.test_ops import QUICK, by_hand, services
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

NAMES = [ClusterName("demo-apps", "europe-west1", f"blue-{number}") for number in range(6)]


def onboarded(world: World, names: Iterable[ClusterName]) -> None:
    for name in names:
        world.create(name)
        world.publish("register-membership", {"cluster": str(name)})
        world.settle()


def written(world: World) -> dict[str, str]:
    """The shard of each Secret; '' without one."""
    return {name: ClusterSecret.read(secret).data.get("shard", "") for name, secret in world.secrets().items()}


def with_shards(number: int) -> World:
    world = World()
    world.settings = replace(world.settings, argocd_shards=number)
    return world


def run(world: World, monkeypatch: pytest.MonkeyPatch, *, assign: bool) -> int:
    monkeypatch.setattr(command, "connected", lambda: services(world))
    return command.run(argparse.Namespace(assign=assign, rate=QUICK, json=False))


def test_new_clusters_are_spread_evenly_and_cost_one_call_more() -> None:
    world = with_shards(3)
    onboarded(world, NAMES[:1])
    calls = len([call for call in world.calls if not call.startswith("pubsub")])
    onboarded(world, NAMES[1:])
    assert Counter(written(world).values()) == {"0": 2, "1": 2, "2": 2}
    plain = World()
    onboarded(plain, NAMES[:1])
    assert calls == len([call for call in plain.calls if not call.startswith("pubsub")]) + 1
    assert set(written(plain).values()) == {""}


def test_a_shard_stays_when_other_clusters_leave_and_at_another_number() -> None:
    world = with_shards(3)
    onboarded(world, NAMES)
    before = written(world)
    world.delete(NAMES[0])
    world.publish("remove-secret", {"cluster": str(NAMES[0])})
    world.settle()
    world.settings = replace(world.settings, argocd_shards=2)
    onboarded(world, NAMES[1:])
    world.publish("sweep", {})
    world.settle()
    assert written(world) == {name: shard for name, shard in before.items() if name != NAMES[0].secret_name}


def test_assign_gives_shards_to_secrets_that_have_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World()
    onboarded(world, NAMES)
    by_hand(world, "https://192.0.2.1")  # shard 3 is a person's
    world.settings = replace(world.settings, argocd_shards=4)
    before = written(world)
    assert run(world, monkeypatch, assign=False) == 2
    assert written(world) == before
    assert run(world, monkeypatch, assign=True) == 0
    assert NAMES[0].secret_name in capsys.readouterr().out
    after = written(world)
    assert after["by-hand"] == "3"
    assert sorted(Counter(after.values()).values()) == [1, 2, 2, 2]
    assert run(world, monkeypatch, assign=True) == 0
    assert after == written(world)


def test_assign_leaves_a_secret_that_changed_meanwhile() -> None:
    world = World()
    onboarded(world, NAMES[:1])
    ours = [ClusterSecret.read(secret) for secret in world.secrets().values()]
    moves = [(replace(secret, resource_version="1"), shard) for secret, shard in shards.assignments(ours, ours, 2)]
    assert [name for name, _ in command.assign(moves, services(world), QUICK)] == [NAMES[0].secret_name]
    assert set(written(world).values()) == {""}
