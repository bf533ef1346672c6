"""What remove-secret and revoke-rbac do with the messages that reach them, state by state."""

from __future__ import annotations

import pytest

from functions import grant_rbac, register_membership, revoke_rbac, unregister_membership
from shared.values.codes import Decision, ErrorCode, FindingCode
from shared.values.errors import ConflictError, RetryableError
from shared.values.messages import StepRequest
from shared.values.model import Cluster, Membership, State
from shared.values.names import ClusterName, MembershipName
from tests.simulation.given import BLUE, HELD, OWN, SECRET, SECRETS, notes, onboarded, pinned, removed
from tests.simulation.kubernetes import Kubernetes, Object
from tests.simulation.ports import SimulatedFleet, WorldServices
from tests.simulation.world import World

NAVY = ClusterName("demo-apps", "europe-west1", "navy")
OTHER = MembershipName("demo-fleet", "europe-west1", "by-hand")


class Timed(WorldServices):
    """The ports of a step whose pauses are noted."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


class Refusing(Kubernetes):
    """Answers every access review with 'no'."""

    reviews = 0

    def allows(self, _spec: Object) -> bool:
        self.reviews += 1
        return False


class Registered(SimulatedFleet):
    """Refuses every registration: it knows a membership of the cluster that its list lacks."""

    def create(self, name: MembershipName, cluster: Cluster) -> Membership:
        raise ConflictError(f"6: {cluster.name} is registered already, not as {name}", status=409)


def of_fleet(calls: list[str]) -> list[str]:
    return [call for call in calls if call.startswith("gkehub")]


def test_a_cluster_in_another_fleet_is_reported_with_and_without_secret() -> None:
    world = onboarded()
    world.change(BLUE, fleet_project="999")
    for _ in range(2):
        outcome = removed(world)
        assert (outcome.decision, outcome.code, outcome.severity) == (Decision.BLOCKED, State.OTHER_FLEET, "ERROR")
        world.central.objects.pop((SECRETS, SECRET), None)


def test_a_pinned_secret_says_that_it_is_pinned() -> None:
    world = onboarded()
    pinned(world)
    world.delete(BLUE)
    outcome = removed(world)
    assert (outcome.decision, outcome.code, outcome.severity) == (Decision.BLOCKED, FindingCode.PINNED, "ERROR")


def test_unselected_clusters_membership_is_read_without_a_secret() -> None:
    world = onboarded()
    world.select("env=dev")
    world.calls.clear()
    assert removed(world).decision is Decision.NO_OP
    assert of_fleet(world.calls) == []
    del world.central.objects[SECRETS, SECRET]
    assert removed(world).decision is Decision.NO_SECRET
    assert of_fleet(world.calls) != []


def test_the_membership_of_a_deleted_cluster_is_not_read_by_remove_secret() -> None:
    world = onboarded()
    world.delete(BLUE)
    world.calls.clear()
    assert removed(world).decision is Decision.DELETED
    assert removed(world).decision is Decision.NO_SECRET
    assert of_fleet(world.calls) == []


def test_an_unselected_cluster_does_not_get_a_lost_membership_back() -> None:
    world = onboarded()
    world.select("env=dev")
    del world.memberships[OWN]
    outcome = removed(world, StepRequest(None, OWN))
    assert (outcome.decision, outcome.code, outcome.next) == (Decision.NO_OP, FindingCode.GKE_MEMBERSHIP, ())


def test_a_leave_for_a_gke_membership_without_secret_goes_to_its_cluster() -> None:
    world = onboarded()
    del world.central.objects[SECRETS, SECRET]
    outcome = removed(world, StepRequest(None, OWN, leave="hold"))
    assert (outcome.decision, [each.request.cluster for each in outcome.next]) == (Decision.FORWARDED, [BLUE])


def test_a_cluster_in_error_loses_the_hold_of_its_failed_deletion() -> None:
    world = onboarded()
    world.change(BLUE, status="STOPPING")
    removed(world)
    world.change(BLUE, status="ERROR")
    assert removed(world).decision is Decision.RELEASED
    assert HELD not in notes(world)


def test_a_binding_stays_under_the_secret_of_the_memberships_cluster() -> None:
    """The cluster was registered again under another id, which the Secret does not name yet."""
    world = onboarded()
    world.memberships.pop(OWN)
    world.join(BLUE, OTHER)
    world.select("env=dev")
    outcome = revoke_rbac.run(StepRequest(None, OTHER), WorldServices(world))
    assert outcome.decision is Decision.NO_OP
    assert world.inside(BLUE).objects


def test_access_is_asked_for_two_seconds() -> None:
    world = World()
    world.create(BLUE)
    world.join(BLUE, OWN)
    inside = world.kubernetes[world.clusters[BLUE].id] = Refusing()
    services = Timed(world)
    with pytest.raises(RetryableError) as found:
        grant_rbac.run(StepRequest(BLUE), services)
    assert found.value.code is ErrorCode.ACCESS_UNPROVEN
    assert (inside.reviews, round(sum(services.pauses), 3)) == (6, 2.0)


def test_a_cluster_that_is_registered_where_no_list_shows_it_is_a_conflict() -> None:
    world = World()
    world.create(BLUE)

    services = WorldServices(world)
    services.fleet = Registered(world)
    with pytest.raises(ConflictError):
        register_membership.run(StepRequest(BLUE), services)


def test_a_cluster_that_names_the_membership_of_another_waits() -> None:
    world = World()
    world.create(BLUE)
    world.create(NAVY)
    world.join(NAVY, OTHER)
    world.change(BLUE, fleet_project="demo-fleet", membership=OTHER)
    with pytest.raises(RetryableError) as found:
        register_membership.run(StepRequest(BLUE), WorldServices(world))
    assert found.value.code is ErrorCode.MEMBERSHIP_MISMATCH


def test_an_unselected_cluster_keeps_its_membership_and_the_chain_ends() -> None:
    world = onboarded()
    world.select("env=dev")
    outcome = unregister_membership.run(StepRequest(BLUE), WorldServices(world))
    assert outcome.decision is Decision.NO_MEMBERSHIP
    assert outcome.next == ()
    assert OWN in world.memberships
