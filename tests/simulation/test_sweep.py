"""What a sweep finds, what it asks for, and what it does not touch."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shared.decisions import rbac
from shared.values.cluster_secret import INSTANCE
from shared.values.codes import FindingCode
from shared.values.names import ClusterName, MembershipName
from tests.simulation.fleets import fleet, held, planned
from tests.simulation.given import BLUE, EDGE
from tests.simulation.world import World

if TYPE_CHECKING:
    from shared.values.model import Cluster, Membership


def test_a_sweep_requests_clusters_that_existed_before() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.attach(EDGE)
    world.sweep()
    assert set(world.secrets()) == {"demo-apps.europe-west1.blue", "demo-fleet.global.memberships.edge"}


def test_one_cluster_that_cannot_be_read_leaves_its_project_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    world = fleet(3)
    odd, gone = (ClusterName("demo-apps", "europe-west1", name) for name in ("c000", "c001"))
    world.delete(gone)
    world.create(BLUE, {"env": "prod"})
    seen = world.seen_clusters

    def with_an_odd_one(project: str) -> tuple[list[Cluster], frozenset[str], dict[ClusterName, str]]:
        clusters, missing = seen(project)
        return [cluster for cluster in clusters if cluster.name != odd], missing, {odd: "it comes without a status"}

    monkeypatch.setattr(world, "seen_clusters", with_an_odd_one)
    plan = planned(world)
    assert [
        (finding.code, finding.subject) for finding in plan.findings if finding.code is FindingCode.UNREADABLE_ITEM
    ] == [(FindingCode.UNREADABLE_ITEM, str(odd))]
    asked = {request.subject: request.kind for request in plan.requests if request.kind != "check"}
    assert asked == {str(gone): "remove", str(BLUE): "repair"}


def test_one_membership_that_cannot_be_read_leaves_its_location_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    world = fleet(2)
    world.attach(EDGE)
    world.sweep()
    world.create(BLUE, {"env": "prod"})
    odd = ClusterName("demo-apps", "europe-west1", "c000").membership("demo-fleet")
    seen = world.seen_memberships

    def with_odd_ones() -> tuple[list[Membership], frozenset[str], dict[MembershipName, str]]:
        members, missing = seen()
        return (
            [each for each in members if each.name not in (odd, EDGE)],
            missing,
            {odd: "its link", EDGE: "its labels"},
        )

    monkeypatch.setattr(world, "seen_memberships", with_odd_ones)
    plan = planned(world)
    assert {finding.subject for finding in plan.findings if finding.code is FindingCode.UNREADABLE_ITEM} == {
        str(odd),
        str(EDGE),
    }
    assert {request.subject: request.kind for request in plan.requests if request.kind != "check"} == {
        str(BLUE): "repair"
    }


def test_where_nothing_differs_nothing_is_written_and_no_cluster_is_called() -> None:
    world = fleet(20)
    writes = world.central.writes
    world.calls.clear()
    plan = planned(world)
    assert set(plan.counts) <= {"check"}
    assert len(world.calls) == 5  # two lists of Secrets, one of memberships, one per project
    world.sweep()
    assert world.central.writes == writes


def test_a_missed_deletion_is_found_and_carried_out() -> None:
    world = fleet(2)
    world.delete(ClusterName("demo-apps", "europe-west1", "c000"))
    world.sweep()
    assert set(world.secrets()) == {"demo-apps.europe-west1.c001"}
    assert len(world.memberships) == 2


def test_a_missed_label_event_is_found() -> None:
    world = fleet(1)
    world.change(ClusterName("demo-apps", "europe-west1", "c000"), labels={"env": "dev", "tier": "web"})
    world.sweep()
    assert world.secrets()["demo-apps.europe-west1.c000"]["metadata"]["labels"]["env"] == "dev"


def test_a_secret_that_was_deleted_by_hand_comes_back() -> None:
    world = fleet(1)
    for key in [key for key in world.central.objects if key[0].endswith("/secrets")]:
        del world.central.objects[key]
    world.sweep()
    assert len(world.secrets()) == 1


def test_a_membership_left_behind_is_deleted() -> None:
    world = fleet(1)
    world.delete(ClusterName("demo-apps", "europe-west1", "c000"))
    for key in [key for key in world.central.objects if key[0].endswith("/secrets")]:
        del world.central.objects[key]
    world.sweep()
    assert list(world.memberships) == [world.settings.central_membership]


@pytest.mark.parametrize("hidden", ["missing_zones", "unreachable", "forbidden"])
def test_nothing_is_removed_on_an_answer_that_is_not_complete(hidden: str) -> None:
    world = fleet(3)
    world.attach(EDGE)
    world.sweep()
    if hidden == "forbidden":
        world.forbidden = {"demo-apps", "demo-fleet"}
    else:
        setattr(world, hidden, True)
    plan = planned(world)
    assert not {ask.kind for ask in plan.requests} & {"remove", "hold", "drop"}
    assert plan.findings
    world.sweep()
    assert len(world.secrets()) == 4
    assert not held(world)


def give_away(world: World, name: str, *, instance: str = "", fleet: str = "") -> None:
    """Let a Secret be another registrar's."""
    metadata = world.secrets()[name]["metadata"]
    if instance:
        metadata["labels"]["fleet-registrar/instance"] = instance
    if fleet:
        key = "fleet-registrar/membership"
        metadata["annotations"][key] = metadata["annotations"][key].replace("demo-fleet", fleet)


@pytest.mark.parametrize("other", [{"instance": "staging"}, {"fleet": "other-fleet"}])
def test_another_registrars_secrets_are_neither_changed_nor_counted(other: dict[str, str]) -> None:
    world = fleet(6, select="env=prod")
    for index in range(5):
        give_away(world, f"demo-apps.europe-west1.c{index:03}", **other)
    world.select("env=none")
    before = {name: dict(secret["metadata"]) for name, secret in world.secrets().items()}
    plan = planned(world)
    assert [(reached.clusters, reached.allowed) for reached in plan.reached] == [(1, 0)]
    world.sweep(release=plan.reached[0].hash)
    assert held(world) == ["demo-apps.europe-west1.c005"]
    assert all(world.secrets()[name]["metadata"] == before[name] for name in list(before)[:5])


@pytest.mark.parametrize("other", [{"instance": "staging"}, {"fleet": "other-fleet"}])
def test_a_cluster_that_another_registrar_has_is_reported_and_not_requested(other: dict[str, str]) -> None:
    world = fleet(3)
    give_away(world, "demo-apps.europe-west1.c000", **other)
    name = ClusterName("demo-apps", "europe-west1", "c000")
    plan = planned(world)
    assert not [request for request in plan.requests if request.kind != "check"]
    assert str(name) in [found.subject for found in plan.findings if found.code is FindingCode.OTHER_REGISTRAR]
    world.publish("register-membership", {"cluster": str(name)})
    world.settle()
    assert len(world.secrets()) == 3
    assert [letter.attributes["code"] for letter in world.dead] == ["unmanaged_secret"]


def test_secrets_of_another_fleet_are_reported_in_one_line() -> None:
    world = fleet(6)
    for index in range(5):
        give_away(world, f"demo-apps.europe-west1.c{index:03}", fleet="other-fleet")
    subjects = [found.subject for found in planned(world).findings if found.code is FindingCode.OTHER_FLEET]
    assert subjects == ["projects/demo-fleet"]


def test_a_secret_without_its_hash_labels_is_reported() -> None:
    """No step finds it: a request would do nothing."""
    world = fleet(2)
    labels = world.secrets()["demo-apps.europe-west1.c000"]["metadata"]["labels"]
    for key in ("fleet-registrar/cluster-hash", "fleet-registrar/membership-hash"):
        del labels[key]
    plan = planned(world)
    assert [request for request in plan.requests if request.kind != "check"] == []
    [found] = plan.findings
    assert (found.code, found.subject) == (FindingCode.INVALID_SECRET, "demo-apps.europe-west1.c000")


def test_binding_goes_when_a_project_leaves_the_sources() -> None:
    world = fleet(2)
    name = ClusterName("demo-apps", "europe-west1", "c000")
    assert [key for key in world.inside(name).objects if key[0] == rbac.BINDINGS]
    world.settings = replace(world.settings, source_projects=frozenset({"demo-fleet"}))
    for _ in range(2):
        for reached in planned(world).reached:
            world.sweep(release=reached.hash)
        world.sweep()
        world.now += timedelta(seconds=700)
    world.sweep()
    assert not world.secrets()
    assert not [key for key in world.inside(name).objects if key[0] == rbac.BINDINGS]


def test_binding_left_in_an_unselected_cluster_is_found_and_deleted() -> None:
    """A person deleted the Secret, then the cluster lost the label: nothing but the check in turn leads there."""
    world = fleet(1, select="env=prod")
    name = ClusterName("demo-apps", "europe-west1", "c000")
    for key in [key for key in world.central.objects if key[0].endswith("/secrets")]:
        del world.central.objects[key]
    world.change(name, labels={})
    world.sweep()
    assert not [key for key in world.inside(name).objects if key[0] == rbac.BINDINGS]


def test_binding_of_another_instance_stays() -> None:
    world = fleet(1, select="env=prod")
    name = ClusterName("demo-apps", "europe-west1", "c000")
    [key] = [key for key in world.inside(name).objects if key[0] == rbac.BINDINGS]
    world.inside(name).objects[key]["metadata"]["labels"][INSTANCE] = "staging"
    for secret in [key for key in world.central.objects if key[0].endswith("/secrets")]:
        del world.central.objects[secret]
    world.change(name, labels={})
    world.sweep()
    assert key in world.inside(name).objects


def test_a_pinned_secret_is_reported_and_unchanged() -> None:
    world = fleet(5, select="env=prod")
    name = ClusterName("demo-apps", "europe-west1", "c000")
    secret = next(stored for (_, key), stored in world.central.objects.items() if key == name.secret_name)
    secret["metadata"]["annotations"]["fleet-registrar/keep"] = "true"
    world.change(name, labels={})
    plan = planned(world)
    assert [report.subject for report in plan.findings] == [str(name)]
    world.sweep()
    assert not held(world)


def test_lost_agent_is_noted_once_and_its_return_refreshes_once() -> None:
    world = World()
    world.attach(EDGE)
    world.sweep()
    name = EDGE.secret_name
    world.now += timedelta(minutes=31)
    world.lost_agents.add(EDGE)
    world.sweep()
    assert "fleet-registrar/agent-lost" in world.secrets()[name]["metadata"]["annotations"]
    writes = world.central.writes
    world.sweep()
    assert world.central.writes == writes
    assert not world.dead
    world.lost_agents.clear()
    world.memberships[EDGE] = replace(world.memberships[EDGE], last_connection=world.now)
    world.sweep()
    annotations = world.secrets()[name]["metadata"]["annotations"]
    assert "fleet-registrar/agent-lost" not in annotations
    assert "argocd.argoproj.io/refresh" in annotations
    writes = world.central.writes
    world.sweep()
    assert world.central.writes == writes


def test_sweep_stays_in_its_budget_and_every_kind_has_a_share() -> None:
    world = fleet(20)
    world.settings = replace(world.settings, sweep_requests=5)
    for index in range(10):
        world.delete(ClusterName("demo-apps", "europe-west1", f"c{index:03}"))
    for index in range(10, 14):
        world.change(ClusterName("demo-apps", "europe-west1", f"c{index:03}"), labels={"env": "dev", "tier": "web"})
    plan = planned(world)
    assert plan.counts == {"repair": 2, "remove": 2, "check": 1}


def test_what_a_sweep_asked_for_never_fills_the_dead_letters() -> None:
    world = fleet(1)
    world.create(BLUE)
    world.memberships[BLUE.membership("demo-fleet")] = replace(
        world.memberships[world.settings.central_membership], name=BLUE.membership("demo-fleet")
    )
    world.sweep()
    assert not world.dead
    assert "demo-apps.europe-west1.blue" not in world.secrets()


@pytest.mark.parametrize(
    "body",
    [b"no json", b"[]", b'{"project":"a","cluster":"b"}', b'{"cluster":"blue"}', b'{"project":1}'],
)
def test_a_message_that_cannot_be_read_is_dead_lettered_with_its_reason(body: bytes) -> None:
    world = World()
    world.queue.clear()
    world.enqueue("sweep", body if body.startswith((b"{", b"[")) else json.dumps("x").encode(), {})
    world.settle()
    assert [letter.attributes["step"] for letter in world.dead] == ["sweep"]
    assert "the message to sweep" in world.dead[0].attributes["reason"]
