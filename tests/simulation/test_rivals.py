"""Before a Secret gets a server, no other Secret may have it (docs/architecture.md#one-server-one-secret)."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.values.codes import Decision, ErrorCode
from shared.values.errors import PermanentError, RetryableError
from shared.values.messages import StepRequest, parse
from shared.values.names import ClusterName
from tests.simulation.given import BLUE, OWN, SECRET, SECRETS, by_hand, onboarded, pinned, written
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

GREEN = ClusterName("demo-apps", "europe-west1", "green")


def granted(world: World, name: ClusterName = BLUE) -> StepRequest:
    """The message of grant-rbac to write-secret for a cluster that has no Secret yet."""
    world.publish("register-membership", {"cluster": str(name)})
    for _ in ("register-membership", "grant-rbac"):
        world.deliver(world.queue.pop(0))
    [message] = [delivery.message for delivery in world.queue if delivery.topic == "write-secret"]
    world.queue.clear()
    return parse("write-secret", message.data, world.settings)


def taken_over() -> World:
    """The membership of a cluster in another fleet was registered for another cluster; the first one's Secret stays."""
    world = onboarded()
    del world.memberships[OWN]
    world.change(BLUE, fleet_project="999", membership=None)
    world.create(GREEN)
    world.join(GREEN, OWN)
    return world


def edited(world: World, **data: str) -> None:
    stored = world.central.objects[SECRETS, SECRET]
    stored["data"] |= {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


def server(world: World) -> str:
    return base64.b64decode(world.secrets()[SECRET]["data"]["server"]).decode()


def test_an_unmanaged_secret_with_our_name_in_argo_cd_is_permanent() -> None:
    world = World()
    world.create(BLUE)
    request = granted(world)
    by_hand(world, "by-hand", "https://192.0.2.1")
    world.central.objects[SECRETS, "by-hand"]["data"]["name"] = base64.b64encode(SECRET.encode()).decode()
    with pytest.raises(PermanentError) as found:
        written(world, request)
    assert found.value.code is ErrorCode.UNMANAGED_SECRET
    assert SECRET not in world.secrets()


def test_a_secret_of_ours_with_the_server_is_waited_for() -> None:
    world = taken_over()
    with pytest.raises(RetryableError) as found:
        written(world, granted(world, GREEN))
    assert found.value.code is ErrorCode.SERVER_TAKEN


def test_a_pinned_secret_of_ours_with_the_server_is_permanent() -> None:
    world = taken_over()
    pinned(world)
    with pytest.raises(PermanentError) as found:
        written(world, granted(world, GREEN))
    assert found.value.code is ErrorCode.SERVER_TAKEN


def test_a_secret_of_our_name_is_found_only_by_the_conflict() -> None:
    world = World()
    world.create(BLUE)
    request = granted(world)
    world.central.put(SECRETS, {"metadata": {"name": SECRET, "labels": {}, "annotations": {}}, "data": {}})
    with pytest.raises(PermanentError) as found:
        written(world, request)
    assert found.value.code is ErrorCode.UNMANAGED_SECRET


def test_a_secret_is_no_rival_of_itself() -> None:
    world = onboarded()
    before = server(world)
    edited(world, server="https://elsewhere")
    assert written(world).decision is Decision.UPDATED
    assert server(world) == before


def test_a_server_that_stays_needs_no_look_for_rivals() -> None:
    world = onboarded()
    edited(world, server=server(world) + "/")
    world.change(BLUE, labels={"env": "dev"})
    world.calls.clear()
    assert written(world).decision is Decision.UPDATED
    assert len([call for call in world.calls if call.startswith("gateway list")]) == 1


@pytest.mark.parametrize(("age", "reads"), [(59, 0), (60, 1)])
def test_a_fresh_proof_saves_the_read_of_the_membership(age: int, reads: int) -> None:
    world = World()
    world.create(BLUE)
    request = granted(world)
    world.now += timedelta(seconds=age)
    world.calls.clear()
    assert written(world, request).decision is Decision.CREATED
    assert len([call for call in world.calls if call.startswith("gkehub get")]) == reads


def test_a_proof_saves_no_read_where_a_secret_exists() -> None:
    world = World()
    world.create(BLUE)
    request = granted(world)
    assert written(world, request).decision is Decision.CREATED
    world.calls.clear()
    assert written(world, request).decision is Decision.UNCHANGED
    assert [call for call in world.calls if call.startswith("gkehub get")]


def test_a_forged_membership_uid_saves_no_read() -> None:
    world = World()
    world.create(BLUE)
    granted(world)
    world.calls.clear()
    forged = StepRequest(BLUE, OWN, granted="x.y.z", membership_uid=world.memberships[OWN].unique_id)
    assert written(world, forged).decision is Decision.NEEDS_GRANT
    assert [call for call in world.calls if call.startswith("gkehub get")]
    assert WorldServices(world).central.secret_named(SECRET) is None


def test_a_chain_that_waits_for_a_server_ends_in_a_dead_letter() -> None:
    """Its proof lives for an hour; without end it would be granted again, and each sweep would add one more chain."""
    world = taken_over()
    world.publish("register-membership", {"cluster": str(GREEN)})
    for _ in range(60):
        if world.queue:
            world.deliver(world.queue.pop(0))
            world.now += timedelta(minutes=10)
    assert world.queue == []
    assert len(world.dead) == 1


def test_an_identity_that_changes_on_the_way_leaves_no_binding() -> None:
    world = World()
    world.create(BLUE)
    request = granted(world)
    later = "argocd-new@demo-fleet.iam.gserviceaccount.com"
    world.settings = replace(world.settings, argocd_service_account=later)
    world.publish("write-secret", request.body())
    world.now += timedelta(minutes=2)
    world.settle()
    assert SECRET in world.secrets()
    assert [name for _, name in world.inside(BLUE).objects] == [f"fleet-registrar:{later}"]


def test_a_forged_identity_takes_no_access_away() -> None:
    world = onboarded()
    before = dict(world.inside(BLUE).objects)
    for identity in (world.settings.argocd_service_account, "argocd-old@demo-fleet.iam.gserviceaccount.com"):
        world.publish("write-secret", {"cluster": str(BLUE), "granted": "x.y.z", "identity": identity})
        world.now += timedelta(minutes=2)
        world.settle()
    assert world.inside(BLUE).objects == before
