"""A GKE cluster's Secret whose membership is another cluster's now (docs/architecture.md#one-server-one-secret)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shared.decisions.differences import differences
from shared.decisions.removal import is_of_another
from shared.values.cluster_secret import KEEP, SKIP_RECONCILE, ClusterSecret
from shared.values.codes import FindingCode
from shared.values.errors import RetryableError
from shared.values.inventory import Inventory
from shared.values.model import GONE
from shared.values.names import ClusterName, MembershipName
from tests.simulation.ports import CENTRAL, WorldServices
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.values.findings import Finding

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
NAVY = ClusterName("demo-fleet", "europe-west1", "navy")
PLAIN = MembershipName("demo-fleet", "europe-west1", "blue")
OF_BLUE, OF_NAVY = "demo-apps.europe-west1.blue", "demo-fleet.europe-west1.navy"
SECRETS = "api/v1/namespaces/argocd/secrets"


def other_fleet(world: World) -> None:
    world.change(BLUE, fleet_project="999", membership=None)


def shut_down(world: World) -> None:
    world.forbidden.add("demo-apps")


def broken(world: World) -> None:
    world.change(BLUE, status="ERROR", membership=None)


def unselected(world: World) -> None:
    world.change(BLUE, labels={}, membership=None)


WAYS: list[Callable[[World], None]] = [other_fleet, shut_down, broken, unselected]


def reused(happens: Callable[[World], None]) -> World:
    """A world in which a cluster's membership id is another cluster's now, and the first cluster's Secret stays."""
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.join(BLUE, PLAIN)
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    del world.memberships[PLAIN]
    happens(world)
    world.create(NAVY, {"env": "dev"})
    world.join(NAVY, PLAIN)
    return world


def held(world: World, name: str = OF_BLUE) -> str:
    secret = ClusterSecret.read(world.secrets()[name])
    assert (secret.labels.get("fleet-registrar/held") is None) == (secret.hold is None)
    return secret.hold.reason if secret.hold else ""


@pytest.mark.parametrize("happens", WAYS)
def test_a_sweep_holds_the_secret_at_once(happens: Callable[[World], None]) -> None:
    world = reused(happens)
    world.select("env") if happens is unselected else None
    world.sweep(cluster=str(BLUE))
    assert held(world) in ("other-cluster", "not-wanted")
    assert world.secrets()[OF_BLUE]["metadata"]["annotations"][SKIP_RECONCILE] == "true"


def test_write_secret_of_the_other_cluster_holds_it_first() -> None:
    world = reused(other_fleet)
    world.publish("register-membership", {"cluster": str(NAVY)})
    world.settle()
    assert held(world) == "other-cluster"
    assert OF_NAVY not in world.secrets()
    assert len(world.dead) == 1  # its chain waits until a person deletes the Secret, or the cluster is gone


def test_a_hold_alone_never_removes_the_secret() -> None:
    world = reused(other_fleet)
    for _ in range(12):
        world.sweep()
        world.now += timedelta(hours=1)
    assert held(world) == "other-cluster"


def test_a_cluster_that_gets_a_membership_of_its_own_is_released() -> None:
    world = reused(other_fleet)
    world.sweep()
    assert held(world) == "other-cluster"
    world.change(BLUE, fleet_project="", membership=None)
    for _ in range(3):
        world.sweep()
        world.now += timedelta(minutes=15)
    assert [held(world), held(world, OF_NAVY)] == ["", ""]
    servers = {secret["data"]["server"] for secret in world.secrets().values()}
    assert len(servers) == len(world.secrets()) == 2


def test_a_deleted_cluster_leaves_as_any_other() -> None:
    world = reused(other_fleet)
    world.sweep()
    world.delete(BLUE)
    world.sweep()
    world.sweep()
    assert list(world.secrets()) == [OF_NAVY]


def test_a_pinned_secret_is_reported_and_not_held() -> None:
    world = reused(other_fleet)
    world.central.objects[SECRETS, OF_BLUE]["metadata"]["annotations"][KEEP] = "true"
    world.sweep()
    world.publish("remove-secret", world.leave(BLUE, "other-cluster"))
    world.settle()
    assert held(world) == ""
    assert [one.command for one in findings(world)] == [f"kubectl -n argocd delete secret {OF_BLUE}"]


def test_a_held_secret_is_reported_at_every_sweep() -> None:
    world = reused(other_fleet)
    world.sweep()
    assert [one.subject for one in findings(world)] == [str(BLUE)]
    before = world.central.writes
    world.sweep()
    assert world.central.writes == before


def test_subscribers_hear_of_the_hold_that_write_secret_sets() -> None:
    """Also if the publish of the event failed, and the next attempt finds the Secret held."""
    for fails in (False, True):
        world = reused(other_fleet)
        world.touch = failing_once("pubsub publish cluster-events") if fails else world.touch
        world.publish("register-membership", {"cluster": str(NAVY)})
        world.settle()
        [event] = {
            event.attributes["ce-id"]: event for event in world.events if "cluster.held" in str(event.attributes)
        }.values()
        assert event.attributes["ce-subject"] == str(BLUE)
        data = json.loads(event.data)
        assert (data["code"], data["step"], data["labels"]) == ("other-cluster", "write-secret", {"env": "prod"})


def failing_once(what: str) -> Callable[[str, str], None]:
    """The first call of a kind fails."""
    failed: list[str] = []

    def touch(phase: str, call: str) -> None:
        if phase == "before" and call == what and not failed:
            failed.append(call)
            raise RetryableError(f"503 {call}")

    return touch


def findings(world: World) -> list[Finding]:
    secrets = tuple(ClusterSecret.read(manifest) for manifest in world.secrets().values())
    inventory = Inventory(
        secrets=secrets, clusters=world.clusters, memberships=world.memberships, listed=world.settings.source_projects
    )
    found = differences(inventory, world.settings, central=CENTRAL, now=world.now)
    assert not [one for one in found.requests if one.code is FindingCode.OTHER_CLUSTER]
    return [one for one in found.findings if one.code is FindingCode.OTHER_CLUSTER]


@pytest.mark.parametrize("leave", ["other-cluster", "hold"])
def test_a_request_without_the_uid_holds_nothing(leave: str) -> None:
    world = reused(other_fleet)
    world.publish("remove-secret", {"cluster": str(BLUE), "leave": leave})
    world.settle()
    assert held(world) == ""


def test_the_step_reads_the_membership_itself() -> None:
    world = reused(other_fleet)
    for owner in (None, BLUE):
        world.memberships[PLAIN] = replace(world.memberships[PLAIN], cluster=owner)
        world.publish("remove-secret", world.leave(BLUE, "other-cluster"))
        world.settle()
        assert held(world) == ""
    del world.memberships[PLAIN]
    world.publish("remove-secret", world.leave(BLUE, "other-cluster"))
    world.settle()
    assert held(world) == ""


def test_a_hold_with_another_reason_is_kept() -> None:
    world = reused(broken)
    annotations = world.central.objects[SECRETS, OF_BLUE]["metadata"]["annotations"]
    annotations["fleet-registrar/held"] = "not-wanted 2026-11-24T09:00:00Z skip-reconcile=ours"
    before = world.central.writes
    world.publish("remove-secret", world.leave(BLUE, "other-cluster"))
    world.settle()
    assert world.central.writes == before


def test_only_another_cluster_takes_a_membership_over() -> None:
    world = reused(other_fleet)
    secret = ClusterSecret.read(world.secrets()[OF_BLUE])
    membership = WorldServices(world).fleet.membership(PLAIN)
    assert membership is not None
    assert is_of_another(secret, membership)
    assert not is_of_another(secret, GONE)
    assert not is_of_another(secret, None)
    assert not is_of_another(secret, replace(membership, cluster=BLUE))
    assert not is_of_another(secret, replace(membership, cluster=None))
    assert not is_of_another(secret, replace(membership, name=NAVY.membership("demo-fleet")))
    annotations = {key: value for key, value in secret.annotations.items() if key != "fleet-registrar/cluster"}
    assert not is_of_another(replace(secret, annotations=annotations), membership)
