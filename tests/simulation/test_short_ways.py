"""What an update, a deletion and a membership's event cost, in API calls and messages (docs/scale.md#cost-of-one-event)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.values.names import ClusterName, MembershipName
from tests.simulation.world import Delivery, World

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
OWN = BLUE.membership("demo-fleet")
EDGE = MembershipName("demo-fleet", "global", "edge")
NAME = "demo-apps.europe-west1.blue"


def onboarded(labels: dict[str, str] | None = None, *, membership: MembershipName | None = None) -> World:
    world = World()
    world.create(BLUE, labels)
    if membership:
        world.join(BLUE, membership)
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    assert NAME in world.secrets()
    return world


def calls(world: World) -> list[str]:
    """The calls of Google's APIs and of clusters since the last time."""
    found = [call for call in world.calls if not call.startswith("pubsub")]
    world.calls.clear()
    return found


def topics(world: World) -> list[str]:
    """The topics of the messages since the last time."""
    found = [topic for topic, _, _ in world.published]
    world.published.clear()
    return found


def test_a_new_cluster_costs_seven_gateway_requests_five_by_write_secret() -> None:
    world = World()
    world.create(BLUE)
    world.publish("register-membership", {"cluster": str(BLUE)})
    counts = []
    while world.queue:
        step = world.queue[0].topic
        world.deliver(world.queue.pop(0))
        counts.append((step, sum(call.startswith("gateway") for call in calls(world))))
    assert counts == [("register-membership", 0), ("grant-rbac", 2), ("write-secret", 5)]
    assert NAME in world.secrets()


def test_a_label_change_costs_four_calls_and_one_step() -> None:
    world = onboarded({"env": "dev"})
    world.change(BLUE, labels={"env": "prod"})
    calls(world), topics(world)
    world.publish("write-secret", {"cluster": str(BLUE)})
    world.settle()
    assert world.secrets()[NAME]["metadata"]["labels"]["env"] == "prod"
    assert len(calls(world)) == 4
    assert topics(world) == ["write-secret"]
    assert world.heard[-1:] == ["changed"]


def test_an_update_without_drift_costs_three_calls_and_no_write() -> None:
    world = onboarded({"env": "dev"})
    writes = world.central.writes
    calls(world), topics(world)
    world.publish("write-secret", {"cluster": str(BLUE)})
    world.settle()
    assert world.central.writes == writes
    assert len(calls(world)) == 3
    assert topics(world) == ["write-secret"]
    assert world.heard == ["onboarded"]


@pytest.mark.parametrize("there", ["nothing", "a membership", "a membership that is not ready", "a Secret"])
def test_an_update_onboards_what_is_missing(there: str) -> None:
    world = World()
    world.create(BLUE, {"env": "dev"})
    match there:
        case "a membership":
            world.join(BLUE, MembershipName("demo-fleet", "europe-west1", "blue"))
        case "a membership that is not ready":
            world.join(BLUE, MembershipName("demo-fleet", "europe-west1", "blue"))
            world.change_membership(world.clusters[BLUE].membership, state="CREATING")
        case "a Secret":
            world = onboarded({"env": "dev"})
            world.unregister(BLUE)
    topics(world)
    world.publish("write-secret", {"cluster": str(BLUE)})
    first = 1 if there == "a membership" else 0
    world.deliver(world.queue.pop(0))
    assert topics(world) == ["write-secret", ("register-membership", "grant-rbac")[first]]
    if there == "a membership that is not ready":
        world.change_membership(world.clusters[BLUE].membership, state="READY")
    world.settle()
    secret = world.secrets()[NAME]["metadata"]
    membership = world.memberships[world.clusters[BLUE].membership]  # type: ignore[index]
    assert secret["annotations"]["fleet-registrar/membership-uid"] == membership.unique_id
    assert world.heard[-1] in ("onboarded", "changed")


def test_a_chain_from_the_grant_waits_for_its_membership() -> None:
    """A granted message never goes back: two steps that disagree about the membership would send it in a circle."""
    world = onboarded()
    world.unregister(BLUE)
    topics(world)
    world.publish("write-secret", {"cluster": str(BLUE), "granted": world.settings.grant})
    world.deliver(world.queue.pop(0))
    assert topics(world) == ["write-secret"]
    assert len(world.queue) == 1


def test_a_deleted_cluster_costs_fourteen_calls_and_no_revocation() -> None:
    world = onboarded()
    calls(world), topics(world)
    world.change(BLUE, status="STOPPING")
    world.publish("remove-secret", {"cluster": str(BLUE)})
    world.settle()
    world.delete(BLUE)
    world.publish("remove-secret", {"cluster": str(BLUE)})
    world.settle()
    world.publish("remove-secret", {"membership": str(OWN)})
    world.settle()
    assert world.secrets() == {}
    assert OWN not in world.memberships
    assert topics(world) == [
        "remove-secret",
        "remove-secret",
        "unregister-membership",
        "remove-secret",
    ]
    assert world.heard[1:] == ["held", "offboarded"]
    assert len(calls(world)) == 14


@pytest.mark.parametrize("first", ["membership", "cluster", "membership, while the cluster is going"])
def test_a_cluster_that_enabled_its_fleet_leaves_once(first: str) -> None:
    world = onboarded(membership=MembershipName("demo-fleet", "europe-west1", "blue"))
    membership = world.clusters[BLUE].membership
    topics(world)
    messages = [{"membership": str(membership)}, {"cluster": str(BLUE)}]
    del world.memberships[membership]  # type: ignore[arg-type]
    if first == "membership, while the cluster is going":
        world.change(BLUE, status="STOPPING")
        world.publish("remove-secret", messages[0])
        world.settle()
        messages.pop(0)
    world.delete(BLUE)
    for message in reversed(messages) if first == "cluster" else messages:
        world.publish("remove-secret", message)
        world.settle()
    assert world.secrets() == {}
    assert world.heard.count("offboarded") == 1


def test_a_running_cluster_gets_its_lost_membership_back() -> None:
    world = onboarded()
    world.unregister(BLUE)
    world.publish("remove-secret", {"membership": str(OWN)})
    world.settle()
    assert world.memberships[OWN].cluster == BLUE
    uid = world.secrets()[NAME]["metadata"]["annotations"]["fleet-registrar/membership-uid"]
    assert uid == world.memberships[OWN].unique_id


def test_a_membership_without_a_secret_of_ours_costs_one_call() -> None:
    world = World()
    world.attach(EDGE, {})
    calls(world)
    world.publish("remove-secret", {"membership": str(EDGE)})
    world.settle()
    assert len(calls(world)) == 1
    assert topics(world) == ["remove-secret"]


def test_a_label_that_changes_every_second_costs_twelve_reads_a_minute() -> None:
    world = onboarded({"env": "0"})
    calls(world), topics(world)
    waiting: list[tuple[float, Delivery]] = []  # Pub/Sub delivers again after 10 s at the earliest
    for second in range(60):
        world.now += timedelta(seconds=1)
        world.change(BLUE, labels={"env": str(second)})
        world.publish("write-secret", {"cluster": str(BLUE)})
        _deliver_due(world, waiting, second)
    for second in range(60, 90):
        world.now += timedelta(seconds=1)
        _deliver_due(world, waiting, second)
    assert world.secrets()[NAME]["metadata"]["labels"]["env"] == "59"
    gateway = [call for call in calls(world) if "secrets" in call]
    assert len(gateway) <= 2 * 14
    assert not waiting
    assert not world.dead


def _deliver_due(world: World, waiting: list[tuple[float, Delivery]], second: float) -> None:
    due = [delivery for at, delivery in waiting if at <= second]
    waiting[:] = [(at, delivery) for at, delivery in waiting if at > second]
    new, world.queue = [*world.queue, *due], []
    for delivery in new:
        world.deliver(delivery)
        waiting += [(second + 10, again) for again in world.queue]
        world.queue = []
