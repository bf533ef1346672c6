"""Proofs of grants, the server that two Secrets must not share, and what a Secret starts with."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.values.cluster_secret import GRANT, HELD, KEEP, REFRESH
from shared.values.errors import RetryableError
from shared.values.names import ClusterName, MembershipName
from tests.simulation.cast import SECRETS
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.kubernetes import Object

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
NAMESAKE = ClusterName("demo-fleet", "europe-west1", "blue")
PLAIN = MembershipName("demo-fleet", "europe-west1", "blue")  # the ID that GKE and people choose
EDGE = MembershipName("demo-fleet", "global", "edge")


def onboard(world: World, name: ClusterName, labels: dict[str, str], membership: MembershipName | None = None) -> None:
    world.create(name, labels)
    if membership:
        world.join(name, membership)
    world.publish("register-membership", {"cluster": str(name)})
    world.settle()


def secret(world: World, name: ClusterName) -> Object:
    return world.secrets()[name.secret_name]


def servers(world: World) -> list[str]:
    """The servers of all Secrets."""
    return [base64.b64decode(stored["data"]["server"]).decode() for stored in world.secrets().values()]


def forged(world: World) -> list[str]:
    """What a forger can write into `granted`."""
    return [world.settings.grant, "x", f"{world.now.isoformat()} {'0' * 64}"]


def test_forged_grant_creates_nothing_without_a_binding() -> None:
    world = World()
    world.create(BLUE)
    world.join(BLUE, PLAIN)
    for granted in forged(world):
        world.publish("write-secret", {"cluster": str(BLUE), "granted": granted})
        world.deliver(world.queue.pop(0))
        assert not world.secrets()
        world.queue.clear()


def test_forged_grant_leads_to_a_real_one() -> None:
    world = World()
    world.create(BLUE)
    world.join(BLUE, PLAIN)
    world.publish("write-secret", {"cluster": str(BLUE), "granted": world.settings.grant})
    world.now += timedelta(minutes=2)
    world.settle()
    assert secret(world, BLUE)
    assert world.inside(BLUE).objects
    assert not world.dead


def test_forged_grant_notes_nothing_and_releases_no_hold() -> None:
    world = World()
    onboard(world, BLUE, {})
    annotations = secret(world, BLUE)["metadata"]["annotations"]
    annotations |= {GRANT: "view somebody@example.com", HELD: "not-wanted 2026-11-24T08:00:00Z skip-reconcile=ours"}
    for granted in forged(world):
        world.publish("write-secret", {"cluster": str(BLUE), "granted": granted})
        world.deliver(world.queue.pop(0))
        world.queue.clear()
    now = secret(world, BLUE)["metadata"]["annotations"]
    assert now[GRANT] == "view somebody@example.com"
    assert HELD in now


def test_grant_of_an_earlier_cluster_proves_nothing_of_the_next() -> None:
    world = World()
    onboard(world, BLUE, {"env": "prod"}, PLAIN)
    proof = next(body for topic, body, _ in world.published if topic == "write-secret" and body.get("granted"))
    world.delete(BLUE)
    del world.memberships[PLAIN]
    world.create(BLUE, {"env": "dev"})
    world.join(BLUE, PLAIN)
    before = secret(world, BLUE)
    world.publish("write-secret", proof)
    world.deliver(world.queue.pop(0))
    assert secret(world, BLUE) == before


def test_expired_grant_is_granted_again_and_not_an_error() -> None:
    world = World()
    world.create(BLUE)
    world.join(BLUE, PLAIN)
    world.publish("grant-rbac", {"cluster": str(BLUE)})
    world.deliver(world.queue.pop(0))
    world.now += timedelta(hours=2)
    world.settle()
    assert secret(world, BLUE)
    assert not world.dead


def test_replayed_proof_costs_reads_and_writes_nothing() -> None:
    world = World()
    onboard(world, BLUE, {"env": "prod"})
    proofs = [body for topic, body, _ in world.published if topic == "write-secret"]
    before = world.central.writes
    for body in proofs:
        world.publish("write-secret", body)
    world.settle()
    assert world.central.writes == before


def test_label_is_written_after_the_second_look() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    seen: list[tuple[str, bool]] = []

    def watch(phase: str, call: str) -> None:
        if phase == "before" and (stored := world.secrets().get(BLUE.secret_name)):
            seen.append((call.partition(" projects")[0], "env" in stored["metadata"]["labels"]))

    world.touch = watch
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    assert seen[0] == ("container get", False)
    assert secret(world, BLUE)["metadata"]["labels"]["env"] == "prod"


def test_cluster_deleted_before_the_second_look_gets_no_labels() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})

    def delete(phase: str, call: str) -> None:
        if phase == "after" and call.startswith("gateway create") and BLUE.secret_name in call:
            world.change(BLUE, status="STOPPING")
            labels.append(secret(world, BLUE)["metadata"]["labels"])

    labels: list[dict[str, str]] = []
    world.touch = delete
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    assert "env" not in labels[0]
    metadata = secret(world, BLUE)["metadata"]
    assert "env" not in metadata["labels"]
    assert metadata["labels"][HELD] == "going"


def test_recreated_cluster_is_not_selected_by_the_earlier_labels() -> None:
    world = World()
    onboard(world, BLUE, {"env": "prod", "payments": "yes"})
    secret(world, BLUE)["metadata"]["labels"]["team"] = "by-hand"
    secret(world, BLUE)["metadata"]["annotations"][KEEP] = "true"
    world.delete(BLUE)
    world.create(BLUE, {"env": "sandbox"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    metadata = secret(world, BLUE)["metadata"]
    assert {key: value for key, value in metadata["labels"].items() if "/" not in key} == {"env": "sandbox"}
    assert KEEP not in metadata["annotations"]


def test_reused_membership_id_gives_no_second_secret_with_its_server() -> None:
    """The first cluster moved to another fleet, is in a project that was shut down, or its Secret is pinned."""
    for fate in ("moved", "shut down", "pinned"):
        world = World()
        onboard(world, BLUE, {"env": "prod"}, PLAIN)
        del world.memberships[PLAIN]
        if fate == "moved":
            world.change(BLUE, fleet_project="999", membership=None)
        elif fate == "shut down":
            world.seen_cluster = refusing(world, BLUE)  # type: ignore[method-assign]
        else:
            secret(world, BLUE)["metadata"]["annotations"][KEEP] = "true"
            world.delete(BLUE)
        onboard(world, NAMESAKE, {"env": "dev"}, PLAIN)
        for _ in range(2):
            world.sweep()
            world.now += timedelta(hours=1)
        assert len(set(servers(world))) == len(servers(world)), fate
        assert world.dead, fate


def refusing(world: World, name: ClusterName):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """A GET of one cluster answers 403 from now on."""
    seen = world.seen_cluster

    def cluster(asked: ClusterName):  # type: ignore[no-untyped-def]  # noqa: ANN202
        if asked == name:
            raise RetryableError("403")
        return seen(asked)

    return cluster


def test_reused_membership_id_is_free_once_the_first_cluster_is_gone() -> None:
    world = World()
    onboard(world, BLUE, {"env": "prod"}, PLAIN)
    del world.memberships[PLAIN]
    world.delete(BLUE)
    world.create(NAMESAKE, {"env": "dev"})
    world.join(NAMESAKE, PLAIN)
    world.publish("register-membership", {"cluster": str(NAMESAKE)})
    world.publish("remove-secret", {"cluster": str(BLUE)})
    world.settle()
    assert list(world.secrets()) == [NAMESAKE.secret_name]
    assert not world.dead


def test_secret_with_our_mark_and_no_hash_is_not_duplicated() -> None:
    world = World()
    url = BLUE.membership("demo-fleet").gateway_url("100000000001", gke=True)
    labels = {"argocd.argoproj.io/secret-type": "cluster", "app.kubernetes.io/managed-by": "fleet-registrar"}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in {"name": "copied", "server": url}.items()}
    world.central.put(SECRETS, {"kind": "Secret", "metadata": {"name": "copied", "labels": labels}, "data": data})
    onboard(world, BLUE, {})
    assert list(world.secrets()) == ["copied"]
    assert [letter.attributes["code"] for letter in world.dead] == ["unmanaged_secret"]


def test_server_is_not_moved_onto_that_of_another_secret() -> None:
    """A cluster that is registered again under an ID that another cluster's Secret still names."""
    world = World()
    onboard(world, BLUE, {}, PLAIN)
    onboard(world, NAMESAKE, {})
    del world.memberships[PLAIN]
    world.change(BLUE, fleet_project="999", membership=None)
    del world.memberships[NAMESAKE.membership("demo-fleet")]
    world.join(NAMESAKE, PLAIN)
    world.publish("register-membership", {"cluster": str(NAMESAKE)})
    world.settle()
    assert len(set(servers(world))) == 2


def test_refresh_once_after_access_was_missing() -> None:
    world = World()
    onboard(world, BLUE, {"env": "prod"})
    assert REFRESH not in secret(world, BLUE)["metadata"]["annotations"]
    world.now += timedelta(minutes=5)
    world.inside(BLUE).objects.clear()
    world.publish("grant-rbac", {"cluster": str(BLUE)})
    world.settle()
    first = secret(world, BLUE)
    assert REFRESH in first["metadata"]["annotations"]
    world.now += timedelta(minutes=5)
    world.publish("grant-rbac", {"cluster": str(BLUE)})
    world.settle()
    assert secret(world, BLUE) == first


def test_refresh_once_after_a_membership_was_registered_again() -> None:
    world = World()
    onboard(world, BLUE, {"env": "prod"})
    del world.memberships[BLUE.membership("demo-fleet")]
    world.change(BLUE, fleet_project="", membership=None)
    for _ in range(2):
        world.publish("register-membership", {"cluster": str(BLUE)})
        world.settle()
        refreshed = secret(world, BLUE)["metadata"]["annotations"][REFRESH]
        world.now += timedelta(minutes=5)
    assert refreshed < world.now.isoformat()


def test_forged_leave_passes_no_removal_limit() -> None:
    """With a mistyped selector, a publisher to remove-secret removes nothing."""
    world = World()
    names = [ClusterName("demo-apps", "europe-west1", f"blue-{number}") for number in range(10)]
    world.select("env")
    for name in names:
        onboard(world, name, {"env": "prod"})
    world.select("typo")
    for leave in ("hold", "remove"):
        for name in names:
            world.publish("remove-secret", {"cluster": str(name), "leave": leave, "secret_uid": "uid-0"})
            world.publish("remove-secret", {"cluster": str(name), "leave": leave})
        world.settle()
        assert not [stored for stored in world.secrets().values() if HELD in stored["metadata"]["annotations"]]
        world.now += timedelta(seconds=700)
    assert len(world.secrets()) == len(names)


def test_forged_drop_of_labels_removes_none() -> None:
    world = World()
    onboard(world, BLUE, {"env": "prod", "tier": "web"})
    world.change(BLUE, labels={"env": "prod"})
    for uid in ({}, {"secret_uid": "uid-0"}):
        world.publish("write-secret", {"cluster": str(BLUE), "drop_labels": ["tier"], **uid})
        world.settle()
        assert secret(world, BLUE)["metadata"]["labels"]["tier"] == "web"
    world.publish(
        "write-secret",
        {"cluster": str(BLUE), "drop_labels": ["tier"], "secret_uid": secret(world, BLUE)["metadata"]["uid"]},
    )
    world.settle()
    assert "tier" not in secret(world, BLUE)["metadata"]["labels"]
