"""Stories on the simulated world: events in any order, and the state afterwards."""

from __future__ import annotations

from datetime import timedelta

from shared.values.messages import STEPS
from shared.values.names import ClusterName, MembershipName
from tests.simulation.world import World

BLUE = ClusterName("demo-apps", "europe-west1", "blue")


def onboarded(world: World, name: ClusterName = BLUE) -> None:
    world.publish("register-membership", {"cluster": str(name)})
    world.settle()


def offboarded(world: World, name: ClusterName = BLUE) -> None:
    world.publish("remove-secret", {"cluster": str(name)})
    world.settle()


def test_a_created_cluster_appears_with_thirteen_calls() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    onboarded(world)
    secret = world.secrets()["demo-apps.europe-west1.blue"]
    assert secret["metadata"]["labels"]["env"] == "prod"
    assert BLUE.membership("demo-fleet") in world.memberships
    assert len([call for call in world.calls if not call.startswith("pubsub")]) == 13
    assert world.heard == ["onboarded"]


def test_an_attached_cluster_appears_with_fifteen_calls() -> None:
    world = World()
    edge = MembershipName("demo-fleet", "global", "edge")
    world.attach(edge, {"env": "prod"})
    world.publish("register-membership", {"membership": str(edge)})
    world.settle()
    assert (
        world.secrets()["demo-fleet.global.memberships.edge"]["metadata"]["labels"]["fleet-registrar/kind"]
        == "attached"
    )
    assert len([call for call in world.calls if not call.startswith("pubsub")]) == 15


def test_the_second_time_nothing_is_written() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    onboarded(world)
    writes = world.central.writes, world.inside(BLUE).writes
    onboarded(world)
    assert (world.central.writes, world.inside(BLUE).writes) == writes
    assert world.heard == ["onboarded"]


def test_a_deleted_cluster_disappears_with_its_membership() -> None:
    world = World()
    world.create(BLUE)
    onboarded(world)
    world.delete(BLUE)
    offboarded(world)
    assert world.secrets() == {}
    assert list(world.memberships) == [world.settings.central_membership]
    assert world.heard[-1] == "offboarded"


def test_a_hold_is_released_when_the_deletion_fails() -> None:
    world = World()
    world.create(BLUE)
    onboarded(world)
    world.change(BLUE, status="STOPPING")
    offboarded(world)
    annotations = world.secrets()["demo-apps.europe-west1.blue"]["metadata"]["annotations"]
    assert annotations["fleet-registrar/held"].startswith("going ")
    assert annotations["argocd.argoproj.io/skip-reconcile"] == "true"
    world.change(BLUE, status="RUNNING")
    offboarded(world)
    annotations = world.secrets()["demo-apps.europe-west1.blue"]["metadata"]["annotations"]
    assert "fleet-registrar/held" not in annotations
    assert "argocd.argoproj.io/skip-reconcile" not in annotations


def test_an_unselected_cluster_leaves_in_two_passes_and_keeps_its_membership() -> None:
    world = World()
    world.select("env=prod")
    world.create(BLUE, {"env": "prod"})
    onboarded(world)
    world.change(BLUE, labels={})
    offboarded(world)
    assert "fleet-registrar/held" not in world.secrets()["demo-apps.europe-west1.blue"]["metadata"]["annotations"]
    world.publish("remove-secret", world.leave(BLUE, "hold"))
    world.settle()
    world.publish("remove-secret", world.leave(BLUE, "remove"))
    world.settle()
    assert "fleet-registrar/held" in world.secrets()["demo-apps.europe-west1.blue"]["metadata"]["annotations"]
    world.now += timedelta(seconds=601)
    world.publish("remove-secret", world.leave(BLUE, "remove"))
    world.settle()
    assert world.secrets() == {}
    assert world.inside(BLUE).objects == {}
    assert BLUE.membership("demo-fleet") in world.memberships


def test_a_restored_label_onboards_it_again_at_any_point() -> None:
    for point in range(3):
        world = World()
        world.select("env=prod")
        world.create(BLUE, {"env": "prod"})
        onboarded(world)
        world.change(BLUE, labels={})
        world.publish("remove-secret", world.leave(BLUE, "hold"))
        world.settle()
        world.now += timedelta(seconds=601)
        if point > 0:
            world.publish("remove-secret", world.leave(BLUE, "remove"))
            world.now += timedelta(seconds=1)
            for _ in range(point):
                world.deliver(world.queue.pop(0))
        world.change(BLUE, labels={"env": "prod"})
        onboarded(world)
        annotations = world.secrets()["demo-apps.europe-west1.blue"]["metadata"]["annotations"]
        assert "fleet-registrar/held" not in annotations
        assert len(world.inside(BLUE).objects) == 1


def test_a_recreated_cluster_gets_its_secret_in_place_and_its_own_membership() -> None:
    world = World()
    world.create(BLUE)
    onboarded(world)
    uid = world.secrets()["demo-apps.europe-west1.blue"]["metadata"]["uid"]
    world.delete(BLUE)
    again = world.create(BLUE)
    offboarded(world)
    secret = world.secrets()["demo-apps.europe-west1.blue"]
    assert secret["metadata"]["uid"] == uid
    assert secret["metadata"]["annotations"]["fleet-registrar/cluster-id"] == again.id
    assert world.memberships[BLUE.membership("demo-fleet")].cluster_id == again.id_label
    assert not world.dead


def test_the_central_cluster_is_never_registered() -> None:
    world = World()
    before = world.central.writes
    for topic in STEPS:
        world.publish(topic, {"cluster": "projects/demo-fleet/locations/europe-west1/clusters/central"})
        world.publish(topic, {"membership": str(world.settings.central_membership)})
    world.settle()
    assert world.central.writes == before
    assert len(world.published) == 12
    assert not world.dead


def test_stalled_process_keeps_a_later_clusters_membership() -> None:
    world = World()
    world.create(BLUE)
    onboarded(world)
    world.delete(BLUE)
    world.create(BLUE)
    later: list[str] = []

    def stall(phase: str, call: str) -> None:
        # The step has read the second cluster; now the third one comes, and is onboarded before the step goes on.
        if later or phase != "after" or not call.startswith("container get"):
            return
        later.append(call)
        world.delete(BLUE)
        del world.memberships[BLUE.membership("demo-fleet")]
        third = world.create(BLUE)
        labels = {"managed-by": "fleet-registrar", "fleet-registrar-cluster-id": third.id_label}
        world.join(BLUE, BLUE.membership("demo-fleet"), labels)

    world.touch = stall
    onboarded(world)
    assert later
    assert world.memberships[BLUE.membership("demo-fleet")].cluster_id == world.clusters[BLUE].id_label
    deleted = [call for call in world.calls if call.startswith("gkehub delete")]
    assert not deleted
