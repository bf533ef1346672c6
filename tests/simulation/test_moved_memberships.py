"""A membership id passes from an attached cluster to a GKE cluster (docs/architecture.md#proof-of-deletion)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.values.cluster_secret import HELD
from shared.values.names import ClusterName, MembershipName
from tests.simulation.world import World

EDGE = MembershipName("demo-fleet", "global", "edge")
BLUE = ClusterName("demo-apps", "europe-west1", "blue")
OF_EDGE, OF_BLUE = "demo-fleet.global.memberships.edge", "demo-apps.europe-west1.blue"


def moved(*, others: int = 0) -> World:
    """A world in which the id of an attached cluster is a GKE cluster's now; the event of its deletion is lost."""
    world = World()
    for number in range(others):
        world.create(ClusterName("demo-apps", "europe-west4", f"other-{number}"))
        world.publish(
            "register-membership", {"cluster": f"projects/demo-apps/locations/europe-west4/clusters/other-{number}"}
        )
        world.settle()
    world.attach(EDGE, {"env": "prod"})
    world.publish("register-membership", {"membership": str(EDGE)})
    world.settle()
    del world.memberships[EDGE]
    world.create(BLUE, {"env": "dev"})
    world.join(BLUE, EDGE)
    return world


@pytest.mark.parametrize("registered", [False, True])
def test_an_event_holds_the_secret_of_the_attached_cluster(*, registered: bool) -> None:
    world = moved()
    if registered:
        world.publish("register-membership", {"cluster": str(BLUE)})
        world.settle()
    world.publish("remove-secret", {"membership": str(EDGE)})
    world.settle()
    assert world.secrets()[OF_EDGE]["metadata"]["annotations"][HELD].startswith("left-fleet ")
    assert HELD not in world.secrets().get(OF_BLUE, {"metadata": {"annotations": {}}})["metadata"]["annotations"]


def test_the_sweep_removes_the_attached_cluster_and_keeps_the_other() -> None:
    world = moved(others=12)
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    for _ in range(4):
        world.sweep()
        world.now += timedelta(hours=1)
    assert OF_EDGE not in world.secrets()
    assert HELD not in world.secrets()[OF_BLUE]["metadata"]["annotations"]
    assert world.secrets()[OF_BLUE]["metadata"]["labels"]["env"] == "dev"
