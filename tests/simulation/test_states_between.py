"""What a sweep does about states between two others: later clusters that are not ready, odd states, slow losses."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from shared.values.cluster_secret import HELD
from shared.values.names import ClusterName, MembershipName
from tests.simulation.fleets import fleet
from tests.simulation.world import World

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
EDGE = MembershipName("demo-fleet", "global", "edge")


def onboarded(selector: str = "", labels: dict[str, str] | None = None) -> World:
    world = World()
    if selector:
        world.select(selector)
    world.create(BLUE, labels)
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    return world


def attached() -> World:
    world = World()
    world.attach(EDGE)
    world.publish("register-membership", {"membership": str(EDGE)})
    world.settle()
    return world


def hold(world: World) -> str:
    """Why the only Secret is held; '' if it is not."""
    [secret] = world.secrets().values()
    return str(secret["metadata"]["annotations"].get(HELD, "")).partition(" ")[0]


def test_an_earlier_clusters_secret_is_held_while_the_later_one_is_created() -> None:
    world = onboarded()
    world.delete(BLUE)
    world.create(BLUE, status="PROVISIONING")
    world.sweep()
    assert hold(world) == "going"


def test_earlier_memberships_secret_is_held_during_a_creation() -> None:
    world = attached()
    del world.memberships[EDGE]
    world.attach(EDGE)
    world.memberships[EDGE] = replace(world.memberships[EDGE], state="CREATING")
    world.sweep()
    assert hold(world) == "going"


def test_a_hold_ends_when_the_membership_is_not_going_any_more() -> None:
    world = attached()
    world.memberships[EDGE] = replace(world.memberships[EDGE], state="DELETING")
    world.sweep()
    assert hold(world) == "going"
    world.memberships[EDGE] = replace(world.memberships[EDGE], state="CODE_UNSPECIFIED")
    world.sweep()
    assert hold(world) == ""


def test_failed_deletion_in_another_fleet_stays_held_and_listed() -> None:
    world = onboarded("env", {"env": "a"})
    world.change(BLUE, status="STOPPING")
    world.sweep()
    world.change(BLUE, status="RUNNING", fleet_project="999", membership=None)
    world.sweep()
    assert hold(world) == "going"


def test_events_of_other_projects_change_nothing() -> None:
    world = World()
    for topic in ("register-membership", "remove-secret", "grant-rbac", "write-secret", "unregister-membership"):
        world.publish(topic, {"cluster": "projects/not-ours/locations/europe-west1/clusters/ci-123"})
        world.settle()
    assert world.secrets() == {}
    assert [call for call in world.calls if call.startswith("container")] == []


def test_repeated_damage_of_some_labels_is_stopped() -> None:
    """Nine of 100 are below the limit; nine of what is left, in the fourth quarter of an hour, are not."""
    world = fleet(100, select="env=prod")
    for number in range(54):
        world.change(ClusterName("demo-apps", "europe-west1", f"c{number:03d}"), labels={})
        if number % 9 == 8:
            world.sweep()
            world.now += timedelta(minutes=15)
    assert len(world.secrets()) > 60
