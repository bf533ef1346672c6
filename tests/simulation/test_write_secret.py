"""What write-secret creates and changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.values.cluster_event import EventType
from shared.values.codes import Decision, ErrorCode
from shared.values.messages import StepRequest
from shared.values.names import ClusterName
from tests.simulation.given import BLUE, HELD, OWN, SECRET, SECRETS, by_hand, notes, onboarded, removed, when, written
from tests.simulation.kubernetes import Kubernetes
from tests.simulation.ports import WorldServices
from tests.simulation.world import World


def test_no_secret_is_created_without_a_grant() -> None:
    world = World()
    world.create(BLUE)
    world.join(BLUE, OWN)
    outcome = written(world)
    assert [each.topic for each in outcome.next] == ["grant-rbac"]
    assert world.secrets() == {}


def test_a_changed_label_is_written_without_a_grant() -> None:
    world = onboarded()
    world.change(BLUE, labels={"env": "dev"})
    outcome = written(world)
    assert outcome.decision is Decision.UPDATED
    assert outcome.event is not None
    assert (outcome.event.type, outcome.event.labels) == (EventType.CHANGED, {"env": "dev"})
    assert not outcome.event.earlier
    assert world.secrets()[SECRET]["metadata"]["labels"]["env"] == "dev"
    again = written(world)
    assert again.decision is Decision.UNCHANGED
    assert again.event is not None
    assert again.event.earlier


def test_a_cluster_without_membership_is_registered_first() -> None:
    world = onboarded()
    del world.memberships[OWN]
    world.change(BLUE, membership=None)
    outcome = written(world)
    assert [each.topic for each in outcome.next] == ["register-membership"]


def test_a_membership_of_another_cluster_is_never_used() -> None:
    world = onboarded()
    other = ClusterName("demo-apps", "europe-west1", "other")
    world.memberships[OWN] = replace(world.memberships[OWN], cluster=other)
    before = world.secrets()
    outcome = written(world)
    assert [each.topic for each in outcome.next] == ["register-membership"]
    assert world.secrets() == before


def dead(world: World) -> list[str]:
    return [letter.attributes["code"] for letter in world.dead]


def onboarding() -> World:
    """A cluster on its way, and what is found when its Secret is written."""
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    return world


def test_no_secret_is_created_beside_an_unmanaged_one_of_its_server() -> None:
    world = onboarding()
    server = OWN.gateway_url(world.settings.fleet_project_number, gke=True)
    by_hand(world, "by-hand", f"{server}/")
    world.settle()
    assert list(world.secrets()) == ["by-hand"]
    assert dead(world) == [ErrorCode.UNMANAGED_SECRET]


def test_an_unmanaged_secret_of_our_name_stays() -> None:
    world = onboarding()
    stored = by_hand(world, SECRET, "https://10.0.0.1")
    world.settle()
    assert world.secrets() == {SECRET: stored}
    assert dead(world) == [ErrorCode.UNMANAGED_SECRET]


def test_a_secret_of_our_name_without_type_stays_too() -> None:
    world = onboarding()
    stored = by_hand(world, SECRET, "https://10.0.0.1", {"argocd.argoproj.io/secret-type": "repository"})
    world.settle()
    assert world.secrets() == {SECRET: stored}
    assert dead(world) == [ErrorCode.UNMANAGED_SECRET]


def test_a_secret_created_meanwhile_by_the_same_step_is_no_error() -> None:
    world = onboarding()

    def twin(phase: str, call: str) -> None:
        if phase == "before" and call.startswith("gateway create") and call.endswith(SECRET) and not twins:
            twins.append(1)
            world.publish("grant-rbac", {"cluster": str(BLUE)})
            world.deliver(world.queue.pop())
            world.deliver(world.queue.pop())

    twins: list[int] = []
    world.touch = twin
    world.settle()
    assert list(world.secrets()) == [SECRET]
    assert dead(world) == []


@pytest.mark.parametrize("status", ["STOPPING", ""])
def test_a_cluster_deleted_while_its_secret_is_created_is_removed(status: str) -> None:
    world = onboarding()

    def gone() -> None:
        if status:
            world.change(BLUE, status=status)
        else:
            world.delete(BLUE)

    created = f"gateway create {WorldServices(world).central_url} {SECRET}"
    when(world, "after", created, gone)
    world.settle()
    if status:
        assert notes(world)[HELD].startswith("going ")
    else:
        assert world.secrets() == {}


def test_an_attached_cluster_never_writes_over_a_gke_clusters_secret() -> None:
    world = onboarded()
    before = world.secrets()
    world.memberships[OWN] = replace(world.memberships[OWN], cluster=None, labels={"env": "dev"})
    world.kubernetes.setdefault(world.memberships[OWN].unique_id, Kubernetes())
    world.publish("register-membership", {"membership": str(OWN)})
    world.settle(200)
    assert world.secrets()[SECRET]["data"] == before[SECRET]["data"]


def test_a_project_that_is_no_source_is_read_only_for_its_secret() -> None:
    world = onboarded()
    world.settings = replace(world.settings, source_projects=frozenset({"demo-fleet"}))
    assert removed(world, StepRequest(BLUE, leave="hold")).decision is Decision.HELD
    del world.central.objects[SECRETS, SECRET]
    world.calls.clear()
    written(world)
    assert not [call for call in world.calls if call.startswith("container")]
