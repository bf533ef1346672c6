"""`leave` and `drop_labels` count only from a sender that has read the Secret (docs/threat-model.md#forged-messages)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shared.values.cluster_secret import HELD
from shared.values.names import ClusterName, MembershipName
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.kubernetes import Object

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
EDGE = MembershipName("demo-fleet", "global", "edge")
NAME, AT_EDGE = "demo-apps.europe-west1.blue", "demo-fleet.global.memberships.edge"
UNKNOWN = ["", "uid-of-another", "\u0000"]


def unselected() -> World:
    """A world whose selector was mistyped: both clusters run, and the removal limit holds what a sweep requests."""
    world = World()
    world.select("env=prod")
    world.create(BLUE, {"env": "prod"})
    world.attach(EDGE, {"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.publish("register-membership", {"membership": str(EDGE)})
    world.settle()
    world.select("env=prdo")
    return world


def meta(world: World, name: str) -> Object:
    found: Object = world.secrets()[name]["metadata"]
    return found


@pytest.mark.parametrize("uid", UNKNOWN)
@pytest.mark.parametrize(("cluster", "name"), [(BLUE, NAME), (EDGE, AT_EDGE)])
def test_a_forged_leave_neither_holds_nor_removes(uid: str, cluster: ClusterName | MembershipName, name: str) -> None:
    world = unselected()
    for leave in ("hold", "remove"):
        world.publish("remove-secret", {**world.leave(cluster, leave), "secret_uid": uid})
        world.settle()
        world.now += timedelta(hours=1)
    assert HELD not in meta(world, name)["annotations"]


def test_a_forged_leave_by_the_membership_of_a_gke_cluster_does_nothing() -> None:
    world = unselected()
    for leave in ("hold", "remove"):
        world.publish("remove-secret", {"membership": str(BLUE.membership("demo-fleet")), "leave": leave})
        world.settle()
        world.now += timedelta(hours=1)
    assert HELD not in meta(world, NAME)["annotations"]


@pytest.mark.parametrize(("cluster", "name"), [(BLUE, NAME), (EDGE, AT_EDGE)])
def test_the_uid_of_the_secret_makes_a_leave_count(cluster: ClusterName | MembershipName, name: str) -> None:
    world = unselected()
    world.publish("remove-secret", world.leave(cluster, "hold"))
    world.settle()
    assert meta(world, name)["annotations"][HELD].startswith("not-wanted ")
    world.now += timedelta(hours=1)
    world.publish("remove-secret", world.leave(cluster, "remove"))
    world.settle()
    assert name not in world.secrets()


@pytest.mark.parametrize("uid", UNKNOWN)
def test_forged_drop_labels_drop_nothing(uid: str) -> None:
    world = unselected()
    world.select("")
    world.change(BLUE, labels={})
    message = {"cluster": str(BLUE), "drop_labels": ["env"], "secret_uid": uid}
    world.publish("write-secret", message)
    world.settle()
    assert meta(world, NAME)["labels"]["env"] == "prod"
    world.publish("write-secret", {**message, "secret_uid": meta(world, NAME)["uid"]})
    world.settle()
    assert "env" not in meta(world, NAME)["labels"]
