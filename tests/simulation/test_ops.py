"""The operator's commands on the simulated world: what they read, what they change, and what a sweep finds afterwards."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

import pytest
from requests.exceptions import ConnectionError  # noqa: A004 - what the client raises

from ops.adopt import take_over
from ops.adoption import match_secrets
from ops.backfill import missing, publish_all
from ops.explain import collect
from ops.explanation import Explanation, explain
from ops.survey import Snapshot, find, survey
from shared.values.errors import RetryableError
from shared.values.names import ClusterName, MembershipName
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

if TYPE_CHECKING:
    from shared.runtime.services import Services

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
EDGE = MembershipName("demo-fleet", "global", "edge")
SECRETS = "api/v1/namespaces/argocd/secrets"
QUICK = 10**9


class Unanswered:
    """Cloud Logging does not answer in this world."""

    def request(self, *_: object, **__: object) -> object:
        raise ConnectionError


def services(world: World) -> Services:
    found: Any = WorldServices(world)
    found.session = Unanswered()
    return cast("Services", found)


def snapshot_of(world: World) -> Snapshot:
    return survey(services(world))


def by_hand(world: World, server: str, called: str = "prod-blue") -> dict[str, Any]:
    """A Secret that a script has written: with a token, a shard, and labels of its own."""
    values = {"name": called, "server": server, "config": '{"bearerToken":"x"}', "shard": "3"}
    labels = {"argocd.argoproj.io/secret-type": "cluster", "team": "a"}
    meta = {"name": "by-hand", "labels": labels, "annotations": {"note": "mine"}}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return world.central.put(SECRETS, {"kind": "Secret", "metadata": meta, "data": encoded})


def in_the_fleet(world: World) -> str:
    """A cluster that somebody has registered; returns its gateway URL."""
    world.create(BLUE, {"env": "prod"})
    name = MembershipName("demo-fleet", "europe-west1", "by-others")
    world.join(BLUE, name)
    return name.gateway_url(world.settings.fleet_project_number, gke=True)


def adopted(world: World, *, change_server: bool = False) -> list[tuple[str, str]]:
    adoptions, _ = match_secrets(snapshot_of(world), world.settings, change_server=change_server)
    failed = take_over(adoptions, services(world), QUICK)
    world.settle()
    return failed


def explained(world: World, text: str) -> Explanation:
    seen = snapshot_of(world)
    name = find(text, seen, dict(world.settings.numbers))
    return explain(collect(name, seen, services(world), []))


def test_looking_writes_and_publishes_nothing() -> None:
    world = World()
    world.create(BLUE)
    by_hand(world, "https://10.0.0.1")
    before = (world.central.writes, list(world.published))
    match_secrets(snapshot_of(world), world.settings)
    explained(world, "blue")
    assert (world.central.writes, world.published) == before
    assert all(call.split()[1] in ("get", "list") for call in world.calls)


def test_adopted_secret_keeps_its_data_and_needs_no_sweep() -> None:
    world = World()
    before = by_hand(world, in_the_fleet(world))
    assert adopted(world) == []
    [after] = world.secrets().values()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert [after["data"][key] for key in ("name", "shard")] == [before["data"][key] for key in ("name", "shard")]
    assert {"team": "a", "env": "prod"}.items() <= after["metadata"]["labels"].items()
    assert after["metadata"]["annotations"]["note"] == "mine"
    assert b"argocd-k8s-auth" in base64.b64decode(after["data"]["config"])
    assert snapshot_of(world).plan.requests == ()
    writes = world.central.writes
    world.sweep()
    assert world.central.writes == writes
    assert explained(world, "blue").settled


def test_the_secret_of_an_attached_cluster_is_adopted_too() -> None:
    world = World()
    world.attach(EDGE, {"env": "prod"})
    by_hand(world, EDGE.gateway_url(world.settings.fleet_project_number, gke=False))
    assert adopted(world) == []
    assert list(world.secrets()) == ["by-hand"]
    assert snapshot_of(world).plan.requests == ()


def test_sweep_before_the_proof_keeps_the_adopted_configuration() -> None:
    world = World()
    before = by_hand(world, in_the_fleet(world))
    adoptions, _ = match_secrets(snapshot_of(world), world.settings)
    take_over(adoptions, services(world), QUICK)
    world.queue.clear()  # the chain has not come to it
    world.publish("write-secret", {"cluster": str(BLUE)})
    world.deliver(world.queue.pop(0))
    assert world.secrets()["by-hand"]["data"] == before["data"]
    world.queue.clear()
    world.sweep()
    assert b"argocd-k8s-auth" in base64.b64decode(world.secrets()["by-hand"]["data"]["config"])


def test_a_secret_that_was_changed_meanwhile_is_not_taken_over() -> None:
    world = World()
    by_hand(world, in_the_fleet(world))
    adoptions, _ = match_secrets(snapshot_of(world), world.settings)
    stored = world.secrets()["by-hand"]
    world.central.put(SECRETS, {**stored, "metadata": {**stored["metadata"], "labels": {}}}, stored["metadata"]["uid"])
    [(name, why)] = take_over(adoptions, services(world), QUICK)
    assert (name, "409" in why, world.queue) == ("by-hand", True, [])


def test_an_adopted_secret_without_a_request_is_completed_by_a_sweep() -> None:
    world = World()
    by_hand(world, in_the_fleet(world))

    def fail(phase: str, call: str) -> None:
        if (phase, call) == ("before", "pubsub publish register-membership"):
            raise RetryableError("503")

    world.touch = fail
    assert [name for name, _ in adopted(world)] == ["by-hand"]
    world.touch = lambda _phase, _call: None
    world.sweep()
    assert snapshot_of(world).plan.requests == ()


def test_server_changes_only_with_change_server() -> None:
    world = World()
    world.create(BLUE)
    by_hand(world, "https://10.0.0.1", "gke_demo-apps_europe-west1_blue")
    assert adopted(world) == []
    assert base64.b64decode(world.secrets()["by-hand"]["data"]["server"]) == b"https://10.0.0.1"
    adopted(world, change_server=True)
    assert b"connectgateway" in base64.b64decode(world.secrets()["by-hand"]["data"]["server"])
    assert list(world.secrets()) == ["by-hand"]


def test_a_backfill_requests_more_clusters_than_one_sweep() -> None:
    world = World()
    for index in range(230):
        world.create(ClusterName("demo-apps", "europe-west1", f"c{index:03}"))
    publish_all(missing(snapshot_of(world).plan), services(world), QUICK, "backfill")
    assert {attributes.get("requested-by") for _, _, attributes in world.published} == {None}
    assert all("backfill by" in attributes["cause"] for _, _, attributes in world.published)
    world.settle(2000)
    assert len(world.secrets()) == 230
    assert missing(snapshot_of(world).plan) == []


def test_a_backfill_that_breaks_off_says_how_far_it_came() -> None:
    world = World()
    for name in ("a", "b", "c"):
        world.create(ClusterName("demo-apps", "europe-west1", name))
    requests = missing(snapshot_of(world).plan)

    def fail(phase: str, call: str) -> None:
        if phase == "before" and call.startswith("pubsub") and len(world.published) == 2:
            raise RetryableError("503")

    world.touch = fail
    with pytest.raises(RetryableError, match="2 of 3 were requested"):
        publish_all(requests, services(world), QUICK, "backfill")


def test_an_explanation_follows_a_cluster_through_its_life() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    assert "register-membership" in explained(world, "blue").sections["Next"][0]
    world.sweep()
    assert explained(world, "blue").settled
    world.select("env=dev")
    leaving = explained(world, "blue")
    assert leaving.sections["Selected"] == ["no: CLUSTER_SELECTOR asks for env=dev, it has env=prod"]
    assert "remove-secret" in leaving.sections["Next"][0]
    world.select("")
    world.delete(BLUE)
    gone = explained(world, str(BLUE))
    assert "is gone" in gone.sections["State"][0]
    assert not gone.settled


def test_a_binding_that_was_taken_away_is_seen() -> None:
    world = World()
    world.create(BLUE)
    world.sweep()
    inside = world.inside(BLUE)
    inside.objects.clear()
    explanation = explained(world, "blue")
    assert not explanation.settled
    assert explanation.sections["Cluster"] == [
        "ClusterRoleBinding fleet-registrar:argocd@demo-fleet.iam.gserviceaccount.com: missing"
    ]
