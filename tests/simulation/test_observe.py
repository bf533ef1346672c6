"""What the current state of a cluster is read from, and what no answer may prove (docs/architecture.md#proof-of-deletion)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.clients import observe
from shared.clients.inventory import read_inventory
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.messages import StepRequest
from shared.values.model import GONE, State
from shared.values.names import ClusterName, MembershipName
from tests.simulation.ports import CENTRAL, WorldServices
from tests.simulation.world import World

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
OTHER = ClusterName("demo-apps", "europe-west1", "other")
OUTSIDE = ClusterName("demo-other", "europe-west1", "blue")
OWN = BLUE.membership("demo-fleet")
HINT = MembershipName("demo-fleet", "global", "hint")
EDGE = MembershipName("demo-fleet", "global", "edge")


def joined() -> tuple[World, Any]:
    world = World()
    world.create(BLUE)
    world.join(BLUE, OWN)
    return world, WorldServices(world)


def test_a_404_alone_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world, services = joined()
    monkeypatch.setattr(world, "seen_cluster", lambda _: None)
    monkeypatch.setattr(world, "seen_membership", lambda _: None)
    cases: Any = ((observe.read_cluster, BLUE), (observe.read_membership, OWN))
    for read, name in cases:
        with pytest.raises(RetryableError) as raised:
            read(name, services)
        assert raised.value.code is ErrorCode.CONTRADICTION


def test_a_404_and_a_complete_list_without_it_are_the_proof() -> None:
    world, services = joined()
    world.delete(BLUE)
    del world.memberships[OWN]
    assert observe.read_cluster(BLUE, services) is GONE
    assert observe.read_membership(OWN, services) is GONE


def test_what_answers_is_read_without_a_list() -> None:
    world, services = joined()
    assert observe.read_cluster(BLUE, services) == world.clusters[BLUE]
    assert observe.read_membership(OWN, services) == world.memberships[OWN]
    assert not [call for call in world.calls if " list " in call]


def test_the_central_cluster_is_known_without_a_call() -> None:
    world, services = joined()
    for request in (StepRequest(CENTRAL), StepRequest(None, world.settings.central_membership)):
        assert observe.read_subject(request, services).state is State.CENTRAL
    assert world.calls == []


def test_a_project_that_is_no_source_is_not_read_without_a_secret() -> None:
    world, services = joined()
    assert observe.read_subject(StepRequest(OUTSIDE), services).state is State.NOT_SOURCE
    assert world.calls == []
    assert observe.read_subject(StepRequest(OUTSIDE), services, has_secret=True).state is State.DELETED


def test_a_membership_leads_to_its_gke_cluster_with_all_that_was_asked() -> None:
    _, services = joined()
    request = StepRequest(None, OWN, granted="x", drop_labels=frozenset({"env"}), leave="hold")
    subject = observe.read_subject(request, services)
    assert (subject.state, subject.request.cluster, subject.request.membership) == (State.SELECTED, BLUE, OWN)
    assert (subject.request.granted, subject.request.leave) == ("x", "hold")
    assert subject.request.drop_labels == {"env"}


def test_an_attached_cluster_is_its_membership() -> None:
    world, services = joined()
    member = world.attach(EDGE)
    subject = observe.read_subject(StepRequest(None, EDGE), services)
    assert (subject.state, subject.observed) == (State.SELECTED, member)


def found(services: Any, world: World, hint: MembershipName | None = None) -> MembershipName | None:
    one = observe.find_membership(world.clusters[BLUE], hint, services)
    return one.name if one else None


def test_the_clusters_own_word_comes_first_then_the_hint_then_our_id() -> None:
    world, services = joined()
    assert found(services, world, HINT) == OWN
    world.change(BLUE, membership=None)
    world.memberships[HINT] = replace(world.memberships[OWN], name=HINT)
    assert found(services, world, HINT) == HINT
    assert found(services, world) == OWN
    del world.memberships[OWN]
    assert found(services, world) is None


def test_a_hint_that_names_another_cluster_is_passed_over() -> None:
    world, services = joined()
    world.change(BLUE, membership=None)
    world.memberships[HINT] = replace(world.memberships[OWN], name=HINT, cluster=OTHER)
    assert found(services, world, HINT) == OWN


def test_a_membership_of_an_earlier_cluster_is_passed_over() -> None:
    world, services = joined()
    world.change(BLUE, membership=None)
    labels = {"managed-by": "fleet-registrar", "fleet-registrar-cluster-id": "e" * 40}
    world.memberships[OWN] = replace(world.memberships[OWN], labels=labels)
    assert found(services, world) is None


def test_a_membership_that_its_cluster_names_must_name_it_too() -> None:
    world, services = joined()
    for wrong in (replace(world.memberships[OWN], cluster=OTHER), replace(world.memberships[OWN], cluster=None)):
        world.memberships[OWN] = wrong
        with pytest.raises(RetryableError) as raised:
            found(services, world)
        assert raised.value.code is ErrorCode.MEMBERSHIP_MISMATCH


def test_memberships_of_another_fleet_are_not_read() -> None:
    world, services = joined()
    world.change(BLUE, membership=MembershipName("demo-other", "global", "blue"))
    assert found(services, world, MembershipName("demo-other", "global", "x")) == OWN
    assert not [call for call in world.calls if "demo-other" in call]


def test_a_missing_or_unready_membership_is_retried() -> None:
    world, services = joined()
    member = world.memberships[OWN]
    world.memberships[OWN] = replace(member, state="CREATING")
    with pytest.raises(RetryableError) as raised:
        observe.membership_of(world.clusters[BLUE], None, services)
    assert raised.value.code is ErrorCode.MEMBERSHIP_NOT_READY
    world.change(BLUE, membership=None)
    del world.memberships[OWN]
    with pytest.raises(RetryableError) as raised:
        observe.membership_of(world.clusters[BLUE], None, services)
    assert raised.value.code is ErrorCode.MEMBERSHIP_MISSING


def test_a_membership_that_others_made_for_an_earlier_cluster_is_not_used() -> None:
    """It is older than the cluster, which does not name it."""
    world, services = joined()
    world.memberships[HINT] = replace(world.memberships[OWN], name=HINT, labels={}, created=world.now)
    del world.memberships[OWN]
    world.change(BLUE, membership=None, created=world.now + timedelta(hours=1))
    assert observe.find_membership(world.clusters[BLUE], HINT, services) is None
    world.change(BLUE, created=world.now)
    found = observe.find_membership(world.clusters[BLUE], HINT, services)
    assert found is not None
    assert found.name == HINT


def test_a_fault_while_one_project_is_read_ends_the_sweep() -> None:
    """Only the errors of an answer leave a project out."""
    world: Any = World()

    def broken(_project: str) -> Any:
        raise ZeroDivisionError

    world.seen_clusters = broken
    with pytest.raises(ZeroDivisionError):
        read_inventory(WorldServices(world))


def test_a_membership_that_its_list_holds_is_not_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller skips the cleanup of RBAC where there is no membership."""
    world, services = joined()
    monkeypatch.setattr(world, "seen_membership", lambda _: None)
    with pytest.raises(RetryableError) as raised:
        observe.find_membership(world.clusters[BLUE], None, services)
    assert raised.value.code is ErrorCode.CONTRADICTION
