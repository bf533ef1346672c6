"""Every outside call of every step goes wrong once, before or after it took effect: the final state is the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shared.values.cluster_secret import REFRESH
from shared.values.errors import RetryableError
from shared.values.names import ClusterName, MembershipName
from tests.simulation.world import KilledError, World

if TYPE_CHECKING:
    from tests.simulation.kubernetes import Object

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
EDGE = MembershipName("demo-fleet", "global", "edge")


def created(world: World) -> None:
    world.create(BLUE, {"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()


def deleted(world: World) -> None:
    world.delete(BLUE)
    world.publish("remove-secret", {"cluster": str(BLUE)})
    world.settle()


def recreated(world: World) -> None:
    world.delete(BLUE)
    world.create(BLUE, {"env": "dev"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.publish("remove-secret", {"cluster": str(BLUE)})
    world.settle()


def unwanted(world: World) -> None:
    world.change(BLUE, labels={})
    world.publish("remove-secret", world.leave(BLUE, "hold"))
    world.settle()
    world.now += timedelta(seconds=700)
    world.publish("remove-secret", world.leave(BLUE, "remove"))
    world.settle()


def attached(world: World) -> None:
    world.attach(EDGE, {"env": "prod"})
    world.publish("register-membership", {"membership": str(EDGE)})
    world.settle()


def left(world: World) -> None:
    del world.memberships[EDGE]
    world.publish("remove-secret", {"membership": str(EDGE)})
    world.settle()
    world.now += timedelta(seconds=700)
    world.publish("remove-secret", world.leave(EDGE, "remove"))
    world.settle()


Act = Callable[[World], None]
LIVES: dict[str, tuple[list[Act], Act]] = {
    "created": ([], created),
    "deleted": ([created], deleted),
    "recreated": ([created], recreated),
    "unwanted": ([created], unwanted),
    "attached": ([], attached),
    "left": ([attached], left),
}


def start(before: list[Act]) -> World:
    world = World()
    world.select("env")
    for act in before:
        act(world)
    world.calls.clear()
    return world


def final_state(world: World) -> Object:
    """What a person would see, without versions, ids and times, which may differ."""

    def plain(manifest: Object) -> Object:
        versions = ("uid", "resourceVersion", "creationTimestamp")
        meta = {key: value for key, value in manifest["metadata"].items() if key not in versions}
        noted = {
            key: value
            for key, value in (meta.get("annotations") or {}).items()
            if not key.endswith(("-id", "-uid", "/held", "/refresh"))
        } | {key: "set" for key in meta.get("annotations") or {} if key == REFRESH}
        return {**manifest, "metadata": {**meta, "annotations": noted}}

    inside = [[plain(stored) for stored in cluster.objects.values()] for cluster in world.kubernetes.values()]
    return {"memberships": sorted(map(str, world.memberships)), "inside": inside, "dead": len(world.dead)}


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize("kind", ["fault", "kill"])
@pytest.mark.parametrize("life", LIVES)
def test_an_interruption_at_any_call_changes_nothing_in_the_end(life: str, kind: str, phase: str) -> None:
    before, act = LIVES[life]
    calm = start(before)
    act(calm)
    assert len(calm.calls) > 8
    for index in range(len(calm.calls)):
        world = start(before)
        world.touch = once(world, index, phase, RetryableError("asked for") if kind == "fault" else KilledError())
        act(world)
        interrupted = f"interrupted {phase} call {index}: {calm.calls[index]}"
        assert final_state(world) == final_state(calm), interrupted
        assert set(calm.heard) <= set(world.heard), interrupted


def once(world: World, index: int, phase: str, error: BaseException) -> Callable[[str, str], None]:
    """Let the call of this index go wrong, once."""

    def touch(now: str, _call: str) -> None:
        if now == phase and len(world.calls) == index + 1 and not hit:
            hit.append(1)
            raise error

    hit: list[int] = []
    return touch
