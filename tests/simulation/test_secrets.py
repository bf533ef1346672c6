"""Cluster Secrets: what write-secret creates and changes, and what remove-secret holds and deletes."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from functions import remove_secret, write_secret
from shared.values.codes import Decision, ErrorCode, FindingCode
from shared.values.errors import PermanentError, RetryableError
from shared.values.messages import StepRequest
from shared.values.names import ClusterName, MembershipName
from tests.simulation.kubernetes import Kubernetes
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
OWN = BLUE.membership("demo-fleet")
EDGE = MembershipName("demo-fleet", "global", "edge")
SECRET = "demo-apps.europe-west1.blue"
SECRETS = "api/v1/namespaces/argocd/secrets"
HELD = "fleet-registrar/held"


def onboarded(*, attached: bool = False) -> World:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    if attached:
        world.attach(EDGE, {"env": "prod"})
        world.publish("register-membership", {"membership": str(EDGE)})
    world.settle()
    assert SECRET in world.secrets()
    return world


def removed(world: World, request: StepRequest | None = None) -> Any:
    request = request or StepRequest(BLUE)
    name = request.cluster or request.membership
    if request.leave and name is not None:
        request = replace(request, secret_uid=world.leave(name, request.leave).get("secret_uid", ""))
    return remove_secret.run(request, WorldServices(world))


def written(world: World, request: StepRequest | None = None) -> Any:
    return write_secret.run(request or StepRequest(BLUE), WorldServices(world))


def notes(world: World, name: str = SECRET) -> dict[str, str]:
    found: dict[str, str] = world.secrets()[name]["metadata"]["annotations"]
    return found


def pinned(world: World, name: str = SECRET) -> None:
    world.central.objects[SECRETS, name]["metadata"]["annotations"]["fleet-registrar/keep"] = "true"


def when(world: World, phase: str, call: str, act: Callable[[], Any]) -> None:
    """Act once, at the first call that begins like this."""
    done: list[str] = []

    def touch(now: str, name: str) -> None:
        if now == phase and name.startswith(call) and not done:
            done.append(name)
            act()

    world.touch = touch


def test_an_unselected_cluster_keeps_its_secret_without_a_sweep() -> None:
    world = onboarded()
    world.select("env=dev")
    before = world.secrets()
    removed(world)
    assert world.secrets() == before


def test_a_hold_is_kept_until_its_time_has_passed() -> None:
    world = onboarded()
    world.select("env=dev")
    assert removed(world, StepRequest(BLUE, leave="hold")).decision is Decision.HELD
    since = notes(world)[HELD]
    assert removed(world, StepRequest(BLUE, leave="hold")).decision is not Decision.HELD
    world.now += world.settings.hold - timedelta(seconds=1)
    removed(world, StepRequest(BLUE, leave="remove"))
    assert notes(world)[HELD] == since
    world.now += timedelta(seconds=1)
    outcome = removed(world, StepRequest(BLUE, leave="remove"))
    assert outcome.decision is Decision.DELETED
    assert outcome.next[0].topic == "revoke-rbac"
    assert outcome.next[0].request.membership == OWN


def test_a_cluster_selected_again_is_not_removed() -> None:
    world = onboarded()
    world.select("env=dev")
    removed(world, StepRequest(BLUE, leave="hold"))
    world.now += timedelta(hours=1)
    world.select("env=prod")
    outcome = removed(world, StepRequest(BLUE, leave="remove"))
    assert SECRET in world.secrets()
    assert [each.topic for each in outcome.next] == ["register-membership"]


def test_a_pinned_secret_is_neither_held_nor_deleted() -> None:
    world = onboarded()
    pinned(world)
    world.select("env=dev")
    world.change(BLUE, status="STOPPING")
    before = world.secrets()
    for leave in ("", "hold", "remove"):
        removed(world, StepRequest(BLUE, leave=leave))
    world.delete(BLUE)
    outcome = removed(world)
    assert (outcome.decision, outcome.code) == (Decision.BLOCKED, FindingCode.PINNED)
    assert world.secrets() == before


def test_a_secret_changed_since_it_was_read_is_not_deleted() -> None:
    world = onboarded()
    world.delete(BLUE)
    stored = world.central.objects[SECRETS, SECRET]
    when(world, "before", "gateway delete", lambda: world.central.put(SECRETS, stored, stored["metadata"]["uid"]))
    with pytest.raises(RetryableError):
        removed(world)
    assert SECRET in world.secrets()


def test_the_secret_is_read_before_the_cluster() -> None:
    """A step that reads it later could delete the Secret of a cluster that was created in between."""
    world = onboarded()
    world.delete(BLUE)

    def later() -> None:
        world.create(BLUE, {"env": "prod"})
        stored = world.central.objects[SECRETS, SECRET]
        world.central.put(SECRETS, stored, stored["metadata"]["uid"])

    when(world, "after", "container list", later)
    with pytest.raises(RetryableError):
        removed(world)
    assert SECRET in world.secrets()


def test_an_attached_cluster_that_left_is_held_first() -> None:
    world = onboarded(attached=True)
    name = "demo-fleet.global.memberships.edge"
    del world.memberships[EDGE]
    removed(world, StepRequest(None, EDGE))
    assert notes(world, name)[HELD].startswith("left-fleet ")


def test_an_attached_cluster_in_deletion_is_held_as_going() -> None:
    world = onboarded(attached=True)
    world.memberships[EDGE] = replace(world.memberships[EDGE], state="DELETING")
    removed(world, StepRequest(None, EDGE))
    assert notes(world, "demo-fleet.global.memberships.edge")[HELD].startswith("going ")


def test_the_message_of_a_gke_membership_goes_to_its_cluster() -> None:
    world = onboarded()
    world.select("env=dev")
    outcome = removed(world, StepRequest(None, OWN, leave="hold"))
    assert outcome.decision is Decision.FORWARDED
    [following] = outcome.next
    assert following.topic == "remove-secret"
    assert (following.request.cluster, following.request.membership) == (BLUE, OWN)
    assert HELD not in notes(world)


def test_an_unknown_membership_makes_no_list_call_of_the_fleet() -> None:
    world = World()
    removed(world, StepRequest(None, MembershipName("demo-fleet", "global", "never")))
    assert not [call for call in world.calls if call.startswith("gkehub list")]


def test_the_central_membership_is_answered_without_a_call() -> None:
    world = World()
    assert removed(world, StepRequest(None, world.settings.central_membership)).decision is Decision.NO_OP
    assert world.calls == []


def test_a_cluster_without_secret_is_revoked_in_turn() -> None:
    world = onboarded()
    world.select("env=dev")
    del world.central.objects[SECRETS, SECRET]
    outcome = removed(world)
    assert outcome.decision is Decision.NO_SECRET
    assert [each.topic for each in outcome.next] == ["revoke-rbac"]


def test_a_failed_deletion_releases_the_hold() -> None:
    world = onboarded()
    world.change(BLUE, status="STOPPING")
    removed(world)
    assert notes(world)[HELD].startswith("going ")
    assert notes(world)["argocd.argoproj.io/skip-reconcile"] == "true"
    world.change(BLUE, status="RUNNING")
    removed(world)
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    assert HELD not in notes(world)


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
    assert outcome.next[0].changed is True
    assert world.secrets()[SECRET]["metadata"]["labels"]["env"] == "dev"
    again = written(world)
    assert again.decision is Decision.UNCHANGED
    assert again.next[0].changed is False


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


def test_a_contradiction_of_two_answers_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = onboarded()
    monkeypatch.setattr(world, "seen_cluster", lambda _: None)
    with pytest.raises(RetryableError) as raised:
        removed(world)
    assert raised.value.code is ErrorCode.CONTRADICTION
    assert SECRET in world.secrets()


def test_a_contradiction_of_the_fleet_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = onboarded(attached=True)
    monkeypatch.setattr(world, "seen_membership", lambda _: None)
    with pytest.raises(RetryableError) as raised:
        removed(world, StepRequest(None, EDGE))
    assert raised.value.code is ErrorCode.CONTRADICTION
    assert HELD not in notes(world, "demo-fleet.global.memberships.edge")


def test_two_secrets_of_one_cluster_stop_every_step() -> None:
    world = onboarded()
    twin = {**world.secrets()[SECRET]}
    twin["metadata"] = {**twin["metadata"], "name": "twin"}
    world.central.put(SECRETS, twin)
    for run in (removed, written):
        with pytest.raises(PermanentError) as raised:
            run(world)
        assert raised.value.code is ErrorCode.DUPLICATE_SECRETS


def dead(world: World) -> list[str]:
    return [letter.attributes["code"] for letter in world.dead]


def onboarding() -> World:
    """A cluster on its way, and what is found when its Secret is written."""
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    return world


def by_hand(world: World, name: str, server: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    data = {"name": base64.b64encode(b"x").decode(), "server": base64.b64encode(server.encode()).decode()}
    marked = {"argocd.argoproj.io/secret-type": "cluster", **(labels or {})}
    return world.central.put(SECRETS, {"metadata": {"name": name, "labels": marked, "annotations": {}}, "data": data})


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


def test_the_deletion_of_a_running_clusters_membership_registers_it_again() -> None:
    world = onboarded()
    del world.memberships[OWN]
    world.change(BLUE, membership=None, fleet_project="")
    outcome = removed(world, StepRequest(None, OWN))
    assert [each.topic for each in outcome.next] == ["register-membership"]
    world.change(BLUE, status="STOPPING")
    assert removed(world, StepRequest(None, OWN)).next == ()


def test_a_hold_that_stands_is_not_written_again() -> None:
    world = onboarded()
    world.change(BLUE, status="STOPPING")
    removed(world)
    writes = world.central.writes
    assert removed(world).decision is Decision.UNCHANGED
    assert world.central.writes == writes


def test_a_gone_cluster_has_no_binding_to_revoke() -> None:
    world = onboarded()
    world.delete(BLUE)
    assert [each.topic for each in removed(world).next] == ["unregister-membership"]


def test_an_unselected_cluster_without_secret_and_membership_ends_there() -> None:
    world = World()
    world.create(BLUE)
    world.select("env=dev")
    assert removed(world).next == ()


def test_a_project_that_is_no_source_is_read_only_for_its_secret() -> None:
    world = onboarded()
    world.settings = replace(world.settings, source_projects=frozenset({"demo-fleet"}))
    assert removed(world, StepRequest(BLUE, leave="hold")).decision is Decision.HELD
    del world.central.objects[SECRETS, SECRET]
    world.calls.clear()
    written(world)
    assert not [call for call in world.calls if call.startswith("container")]
