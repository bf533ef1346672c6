"""What the operator's commands write: shards, adoptions and backfills, on the simulated world."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ops import backfill
from ops.adopt import take_over
from ops.adoption import match_secrets
from ops.shards import assign
from ops.survey import Snapshot, snapshot_of
from shared.clients.inventory import read_inventory
from shared.decisions import shards
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from tests.simulation.given import BLUE, OWN, SECRET, SECRETS, by_hand, onboarded
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

A_MINUTE = 10**9


class Operator(WorldServices):
    """The world as an operator reaches it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.credentials = SimpleNamespace(account="you@example.com")


def snapshot(world: World) -> Snapshot:
    services = WorldServices(world)
    return snapshot_of(read_inventory(services), world.settings, services.central_cluster, world.now)


def refusing(call: str, world: World) -> Callable[[str, str], None]:
    def touch(phase: str, name: str) -> None:
        if phase == "before" and name.startswith(call):
            raise RetryableError("no", ErrorCode.UNAVAILABLE)

    return touch


def shard_of(world: World) -> str:
    return base64.b64decode(world.secrets()[SECRET]["data"].get("shard", "")).decode()


def test_a_secret_gets_its_shard_and_nothing_else() -> None:
    world = onboarded()
    before = world.secrets()[SECRET]
    services: Any = Operator(world)
    moves = shards.assignments(services.central.managed(), services.central.cluster_secrets(), 3)
    assert assign(moves, services, A_MINUTE) == []
    assert shard_of(world) in ("0", "1", "2")
    after = world.secrets()[SECRET]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert {key: text for key, text in after["data"].items() if key != "shard"} == before["data"]


def test_a_secret_that_changed_meanwhile_gets_no_shard_and_is_named() -> None:
    world = onboarded()
    services: Any = Operator(world)
    moves = shards.assignments(services.central.managed(), services.central.cluster_secrets(), 3)
    stored = world.central.objects[SECRETS, SECRET]
    world.central.put(SECRETS, stored, stored["metadata"]["uid"])
    assert [name for name, _ in assign(moves, services, A_MINUTE)] == [SECRET]
    assert shard_of(world) == ""


def others() -> World:
    """A person's Secret for a cluster that is in the fleet."""
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.join(BLUE, OWN)
    by_hand(world, "by-hand", OWN.gateway_url(world.settings.fleet_project_number, gke=True))
    return world


def test_an_adoption_marks_the_secret_and_starts_its_chain() -> None:
    world = others()
    adoptions, left = match_secrets(snapshot(world), world.settings)
    services: Any = Operator(world)
    uid = world.secrets()["by-hand"]["metadata"]["uid"]
    assert (len(adoptions), left) == (1, [])
    assert take_over(adoptions, services, A_MINUTE) == []
    assert [(topic, body["cluster"]) for topic, body, _ in world.published] == [("register-membership", str(BLUE))]
    assert world.published[0][2]["cause"].startswith("adopt by ")
    world.settle()
    assert list(world.secrets()) == ["by-hand"]
    assert world.secrets()["by-hand"]["metadata"]["uid"] == uid
    assert not world.dead


@pytest.mark.parametrize("call", ["gateway patch", "pubsub publish"])
def test_an_adoption_that_failed_is_named(call: str) -> None:
    """A Secret that was marked is completed by the next sweep."""
    world = others()
    adoptions, _ = match_secrets(snapshot(world), world.settings)
    world.touch = refusing(call, world)
    services: Any = Operator(world)
    assert [name for name, _ in take_over(adoptions, services, A_MINUTE)] == ["by-hand"]
    assert world.published == []


def test_a_backfill_says_how_far_it_came() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    services: Any = Operator(world)
    requests = backfill.missing(snapshot(world).plan)
    world.touch = refusing("pubsub publish", world)
    with pytest.raises(RetryableError, match="0 of 1") as raised:
        backfill.publish_all(requests, services, A_MINUTE, "backfill")
    assert raised.value.code is ErrorCode.UNAVAILABLE
    world.touch = lambda _phase, _call: None
    backfill.publish_all(requests, services, A_MINUTE, "backfill")
    [(topic, body, attributes)] = world.published
    assert (topic, body) == ("register-membership", {"cluster": str(BLUE)})
    assert attributes["cause"].startswith("backfill by ")
    assert "requested-by" not in attributes
