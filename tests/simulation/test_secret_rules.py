"""Rules of write-secret: expired proofs, Secrets of others, and what subscribers hear."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from functions import grant_rbac
from shared.values.cluster_event import EventType
from shared.values.cluster_secret import CLUSTER, GRANT
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import ConflictError, PermanentError, RetryableError
from shared.values.messages import RivalHeldError, StepRequest
from shared.values.names import ClusterName, MembershipName
from tests.simulation.given import BLUE, HELD, OWN, SECRET, SECRETS, by_hand, notes, onboarded, pinned, when, written
from tests.simulation.kubernetes import Kubernetes
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.kubernetes import Object

PLAIN = MembershipName("demo-fleet", "europe-west1", "blue")
RED = ClusterName("demo-apps", "europe-west1", "red")
EXPIRED = StepRequest(BLUE, OWN, granted="expired")


def joined() -> World:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.join(BLUE, OWN)
    return world


def server(world: World, membership: MembershipName = OWN) -> str:
    return membership.gateway_url(world.settings.fleet_project_number, gke=True)


def granted(world: World, request: StepRequest | None = None) -> StepRequest:
    """The message of grant-rbac."""
    [following] = grant_rbac.run(request or StepRequest(BLUE), WorldServices(world)).next
    return following.request


def renamed(world: World, name: str, **data: str) -> Object:
    """Our Secret under another name, as an adopted one has it."""
    stored = world.central.objects.pop((SECRETS, SECRET))
    changed = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    meta = {**stored["metadata"], "name": name}
    return world.central.put(SECRETS, {**stored, "metadata": meta, "data": {**stored["data"], **changed}})


def test_an_expired_proof_tells_of_an_unmanaged_secret_in_its_place() -> None:
    """docs/architecture.md#one-server-one-secret: so that the chain ends in a dead letter."""
    world = joined()
    by_hand(world, "by-hand", server(world))
    with pytest.raises(PermanentError) as found:
        written(world, EXPIRED)
    assert found.value.code is ErrorCode.UNMANAGED_SECRET
    assert written(world).decision is Decision.NEEDS_GRANT
    world.settings = replace(world.settings, secrets="external")
    assert written(world, EXPIRED).decision is Decision.NEEDS_GRANT


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_expired_proof_finds_no_fault_with_a_secret_that_stays(slash: str) -> None:
    world = onboarded()
    stored = world.central.objects[SECRETS, SECRET]
    stored["data"]["server"] = base64.b64encode(f"{server(world)}{slash}".encode()).decode()
    by_hand(world, "by-hand", server(world))
    assert written(world, EXPIRED).decision is Decision.UNCHANGED


def test_an_adopted_secret_is_not_in_its_own_way() -> None:
    world = onboarded()
    renamed(world, "adopted", server="https://10.0.0.1")
    assert written(world, EXPIRED).decision is Decision.UPDATED
    data = world.secrets()["adopted"]["data"]
    assert base64.b64decode(data["server"]).decode() == server(world)


def test_a_message_of_a_membership_writes_the_secret_of_its_cluster() -> None:
    world = onboarded()
    world.unregister(BLUE)
    world.join(BLUE, PLAIN)
    written(world, replace(granted(world), cluster=None))
    assert list(world.secrets()) == [SECRET]
    assert base64.b64decode(world.secrets()[SECRET]["data"]["server"]).decode() == server(world, PLAIN)


def test_an_attached_cluster_with_a_gke_clusters_secret_waits() -> None:
    world = onboarded()
    world.memberships[OWN] = replace(world.memberships[OWN], cluster=None, last_connection=world.now)
    world.kubernetes.setdefault(world.memberships[OWN].unique_id, Kubernetes())
    with pytest.raises(RetryableError) as found:
        written(world, StepRequest(None, OWN))
    assert found.value.code is ErrorCode.MEMBERSHIP_MISMATCH


def test_the_second_write_has_the_labels_of_the_second_read() -> None:
    """docs/architecture.md#two-writes."""
    world = joined()
    when(
        world,
        "after",
        f"gateway create {WorldServices(world).central_url}",
        lambda: world.change(BLUE, labels={"env": "dev"}),
    )
    assert written(world, granted(world)).decision is Decision.CREATED
    assert world.secrets()[SECRET]["metadata"]["labels"]["env"] == "dev"


def test_subscribers_hear_of_a_release() -> None:
    world = onboarded()
    notes(world)[HELD] = "going 2026-11-24T08:00:00Z skip-reconcile=ours"
    world.events.clear()
    world.publish("grant-rbac", {"cluster": str(BLUE)})
    world.settle()
    assert HELD not in notes(world)
    assert world.heard == ["released"]


def test_a_persons_annotation_gives_no_second_secret_with_our_server() -> None:
    """The annotation names another cluster, and Argo CD compares servers."""
    world = joined()
    stored = by_hand(world, "by-hand", server(world))
    stored["metadata"]["annotations"][CLUSTER] = str(RED)
    world.central.put(SECRETS, stored)
    with pytest.raises(PermanentError) as found:
        written(world, granted(world))
    assert found.value.code is ErrorCode.UNMANAGED_SECRET
    assert list(world.secrets()) == ["by-hand"]


def taken() -> World:
    """The membership id of BLUE's Secret belongs to RED now, and BLUE is in another fleet."""
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.join(BLUE, PLAIN)
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    del world.memberships[PLAIN]
    world.change(BLUE, fleet_project="999", membership=None)
    world.create(RED, {"env": "dev"})
    world.join(RED, PLAIN)
    return world


@pytest.mark.parametrize("hold", ["", "not-wanted 2026-11-24T08:00:00Z skip-reconcile=ours"])
def test_a_secret_whose_server_is_taken_is_held_once(hold: str) -> None:
    """docs/architecture.md#one-server-one-secret. A hold that is there keeps its reason and time."""
    world = taken()
    if hold:
        notes(world)[HELD] = hold
    with pytest.raises(RetryableError) as found:
        written(world, granted(world, StepRequest(RED)))
    assert found.value.code is ErrorCode.SERVER_TAKEN
    assert notes(world)[HELD] == hold or (not hold and notes(world)[HELD].startswith("other-cluster "))


def test_a_pinned_secret_whose_server_is_taken_is_a_permanent_error() -> None:
    world = taken()
    pinned(world)
    with pytest.raises(PermanentError) as found:
        written(world, granted(world, StepRequest(RED)))
    assert found.value.code is ErrorCode.SERVER_TAKEN
    assert HELD not in notes(world)


def test_a_secret_of_the_membership_with_another_server_is_no_obstacle() -> None:
    world = taken()
    stored = world.central.objects[SECRETS, SECRET]
    stored["data"]["server"] = base64.b64encode(b"https://10.0.0.1").decode()
    assert written(world, granted(world, StepRequest(RED))).decision is Decision.CREATED
    assert HELD not in notes(world)


def test_a_grant_for_an_earlier_identity_is_renewed_before_it_is_noted() -> None:
    """docs/architecture.md#a-change-of-argo-cds-identity: the message names whom it was granted to."""
    world = joined()
    request = granted(world)
    world.settings = replace(world.settings, argocd_service_account="argocd2@demo-fleet.iam.gserviceaccount.com")
    outcome = written(world, request)
    assert outcome.decision is Decision.NEEDS_GRANT
    assert outcome.next[0].request.previous == request.identity
    assert world.secrets() == {}


def test_a_secret_notes_a_new_grant_after_the_earlier_ones_removal() -> None:
    world = onboarded()
    before = notes(world)[GRANT]
    world.settings = replace(world.settings, argocd_service_account="argocd2@demo-fleet.iam.gserviceaccount.com")
    outcome = written(world, granted(world))
    assert (outcome.decision, [each.topic for each in outcome.next]) == (Decision.NEEDS_GRANT, ["grant-rbac"])
    assert notes(world)[GRANT] == before
    written(world, granted(world, outcome.next[0].request))
    assert notes(world)[GRANT] == world.settings.grant


def test_subscribers_hear_of_labels_that_are_written_before_a_grant() -> None:
    world = onboarded()
    world.settings = replace(world.settings, argocd_service_account="argocd2@demo-fleet.iam.gserviceaccount.com")
    assert written(world).event is None
    world.change(BLUE, labels={"env": "dev"})
    event = written(world).event
    assert event is not None
    assert (event.type, event.labels) == (EventType.CHANGED, {"env": "dev"})


def test_secret_gone_after_a_conflict_is_created_by_redelivery() -> None:
    world = joined()
    request = granted(world)

    def touch(phase: str, call: str) -> None:
        if phase == "before" and call.startswith("gateway create") and call.endswith(SECRET):
            by_hand(world, SECRET, "https://10.0.0.1")
        if phase == "before" and call.startswith("gateway get") and call.endswith(SECRET):
            del world.central.objects[SECRETS, SECRET]

    world.touch = touch
    with pytest.raises(ConflictError):
        written(world, request)
    world.touch = lambda _phase, _call: None
    assert written(world, request).decision is Decision.CREATED


def test_subscribers_hear_of_a_held_rival_for_a_minute() -> None:
    """The attempt that held it may not have published the event."""
    world = taken()
    request = granted(world, StepRequest(RED))
    for seconds, tells in ((0, True), (59, True), (61, False)):
        world.now += timedelta(seconds=seconds)
        with pytest.raises(RetryableError) as raised:
            written(world, request)
        assert raised.value.code is ErrorCode.SERVER_TAKEN
        assert isinstance(raised.value, RivalHeldError) is tells
        world.now -= timedelta(seconds=seconds)


@pytest.mark.parametrize("reason", ["not-wanted", "going"])
def test_a_rival_that_is_held_for_another_reason_is_no_news(reason: str) -> None:
    world = taken()
    notes(world)[HELD] = f"{reason} {world.now:%Y-%m-%dT%H:%M:%SZ} skip-reconcile=ours"
    with pytest.raises(RetryableError) as raised:
        written(world, granted(world, StepRequest(RED)))
    assert not isinstance(raised.value, RivalHeldError)
