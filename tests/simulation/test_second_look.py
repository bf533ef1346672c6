"""After a Secret is created, the cluster is read again before the labels follow (docs/architecture.md#two-writes)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.values.codes import Decision, ErrorCode
from shared.values.errors import RetryableError
from shared.values.messages import StepRequest, parse
from tests.simulation.given import BLUE, EDGE, SECRET, when, written
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

OF_EDGE = EDGE.secret_name


def unselected(world: World) -> None:
    world.change(BLUE, labels={"tier": "web"})


def gone(world: World) -> None:
    world.delete(BLUE)


def deleting(world: World) -> None:
    world.change(BLUE, status="STOPPING")


def recreated(world: World) -> None:
    world.delete(BLUE)
    world.create(BLUE, {"env": "prod"})


def arriving(happens: Callable[[World], None]) -> tuple[World, StepRequest]:
    """A proven grant of a cluster to which something happens right after its Secret is created."""
    world = World()
    world.select("env")
    world.create(BLUE, {"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.deliver(world.queue.pop(0))
    world.deliver(world.queue.pop(0))
    request = parse("write-secret", world.queue.pop(0).message.data, world.settings)
    when(world, "after", "gateway create", lambda: happens(world))
    return world, request


def labels(world: World, name: str = SECRET) -> set[str]:
    return {key for key in world.secrets()[name]["metadata"]["labels"] if "/" not in key}


@pytest.mark.parametrize("happens", [gone, deleting])
def test_a_cluster_in_deletion_goes_to_remove_secret(happens: Callable[[World], None]) -> None:
    world, request = arriving(happens)
    outcome = written(world, request)
    assert (outcome.decision, [each.topic for each in outcome.next]) == (Decision.REVERSED, ["remove-secret"])
    assert labels(world) == set()


def test_an_unselected_cluster_gets_no_labels() -> None:
    world, request = arriving(unselected)
    assert (written(world, request).decision, labels(world)) == (Decision.NO_OP, set())


def test_a_recreated_cluster_is_read_again() -> None:
    world, request = arriving(recreated)
    with pytest.raises(RetryableError) as found:
        written(world, request)
    assert (found.value.code, labels(world)) == (ErrorCode.RECREATED, set())


def test_a_membership_registered_again_is_read_again() -> None:
    world = World()
    world.attach(EDGE, {"env": "prod"})
    world.publish("grant-rbac", {"membership": str(EDGE)})
    world.deliver(world.queue.pop(0))
    request = parse("write-secret", world.queue.pop(0).message.data, world.settings)

    def again() -> None:
        del world.memberships[EDGE]
        world.attach(EDGE, {"env": "prod"})

    when(world, "after", "gateway create", again)
    with pytest.raises(RetryableError) as found:
        written(world, request)
    assert (found.value.code, labels(world, OF_EDGE)) == (ErrorCode.RECREATED, set())


def test_a_cluster_that_is_the_same_gets_its_labels() -> None:
    world, request = arriving(lambda _: None)
    assert (written(world, request).decision, labels(world)) == (Decision.CREATED, {"env"})
