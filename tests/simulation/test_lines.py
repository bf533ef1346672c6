"""What the functions log: one line per decision, with the codes that alerts and `ops explain` read."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from functions import register_membership, route_event, sweep
from shared.runtime import dispatch, logs
from shared.values.errors import PermanentError, RetryableError
from shared.values.messages import Message
from shared.values.names import ClusterName, MembershipName
from tests.simulation.entries import audit_entry
from tests.simulation.fleets import TRACE, fleet, lines, swept
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

if TYPE_CHECKING:
    from shared.values.messages import Outcome

BLUE = ClusterName("demo-apps", "europe-west1", "blue")
Capture = pytest.CaptureFixture[str]


def test_a_reached_removal_limit_writes_a_critical_line(capsys: Capture) -> None:
    world = fleet(40, select="env=prod")
    world.select("env=prd")
    found = [line for line in swept(world, capsys) if line["severity"] == "CRITICAL"]
    assert len(found) == 1
    assert found[0]["decision"] == "limited"
    assert found[0]["hash"] in found[0]["message"]
    assert not [delivery for delivery in world.queue if delivery.topic == "remove-secret"]


def test_a_small_removal_writes_no_critical_line(capsys: Capture) -> None:
    world = fleet(40, select="env=prod")
    world.change(ClusterName("demo-apps", "europe-west1", "c000"), labels={})
    found = swept(world, capsys)
    assert "CRITICAL" not in [line["severity"] for line in found]
    assert [line["code"] for line in found if line["decision"] == "requested" and line["kind"] != "check"] == [
        "unselected"
    ]


def test_a_sweep_logs_each_request_each_finding_and_itself(capsys: Capture) -> None:
    world = fleet(2, select="env=prod")
    world.create(BLUE, {"env": "prod"})
    world.change(ClusterName("demo-apps", "europe-west1", "c000"), status="ERROR")
    found = swept(world, capsys)
    requested = [line for line in found if line["decision"] == "requested"]
    assert str(BLUE) in [line["logging.googleapis.com/labels"]["cluster"] for line in requested]
    assert [line["code"] for line in found if line["decision"] == "reported"] == ["unknown_state"]
    assert found[-1]["decision"] == "swept"
    assert found[-1]["request"]["repair"] == 1
    assert {line["logging.googleapis.com/trace"] for line in found} == {
        "projects/demo-fleet/traces/0af7651916cd43dd8448eb211c80319c"
    }


def test_a_sweeps_requests_name_the_sweep() -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    sweep.run(Message(b"{}", {}, "m1", world.now), WorldServices(world), TRACE)
    [(topic, body, attributes)] = world.published
    assert (topic, body["cluster"]) == ("register-membership", str(BLUE))
    assert attributes == {"requested-by": "sweep", "cause": "sweep m1", "traceparent": TRACE}


@pytest.mark.parametrize("body", [{"project": "a-b-c", "cluster": str(BLUE)}, {"cluster": "blue"}, {"project": 1}])
def test_a_sweep_takes_one_scope_only(body: object) -> None:
    world = World()
    with pytest.raises(PermanentError):
        sweep.run(Message(json.dumps(body).encode(), {}, "m1", world.now), WorldServices(world), TRACE)
    assert world.calls == []


def test_a_sweep_in_a_scope_requests_nothing_outside() -> None:
    world = World()
    other = ClusterName("demo-fleet", "europe-west1", "other")
    for name in (BLUE, other):
        world.create(name)
    for scope in ({"cluster": str(BLUE)}, {"project": "demo-apps"}):
        world.published.clear()
        sweep.run(Message(json.dumps(scope).encode(), {}, "m1", world.now), WorldServices(world), TRACE)
        assert [body["cluster"] for _, body, _ in world.published] == [str(BLUE)]


def routed(world: World, entry: Any, kind: str = "", **attributes: str) -> Any:
    data = entry if isinstance(entry, bytes) else json.dumps(entry).encode()
    message = Message(data, attributes, "e1", world.now, kind=kind)
    return route_event.run(message, WorldServices(world), TRACE, world.recent_deletions)


def test_a_deletion_event_is_published_with_its_cause(capsys: Capture) -> None:
    world = World()
    routed(world, audit_entry(BLUE, "DeleteCluster", "started"))
    [(topic, body, attributes)] = world.published
    assert (topic, body) == ("remove-secret", {"cluster": str(BLUE)})
    assert attributes["traceparent"] == TRACE
    assert "you@example.com" in attributes["cause"]
    [line] = lines(capsys)
    assert (line["decision"], line["next"]) == ("routed", ["remove-secret"])
    assert line["logging.googleapis.com/labels"]["cluster"] == str(BLUE)


def test_an_event_that_changes_nothing_is_ignored_with_a_line(capsys: Capture) -> None:
    world = World()
    routed(world, audit_entry(BLUE, "CreateCluster", "started"))
    assert world.published == []
    [line] = lines(capsys)
    assert (line["decision"], line["code"], line["next"]) == ("ignored", "started", [])


def test_an_unsupported_event_type_is_permanent() -> None:
    with pytest.raises(PermanentError):
        routed(World(), {}, kind="google.cloud.storage.object.v1.finalized")


def test_a_membership_event_is_routed_by_its_kind() -> None:
    world = World()
    place = {"source": "//gkehub.googleapis.com/projects/demo-fleet/locations/global", "subject": "memberships/edge"}
    routed(world, b"", "google.cloud.gkehub.membership.v1.deleted", **place)
    assert world.published[0][:2] == (
        "remove-secret",
        {"membership": str(MembershipName("demo-fleet", "global", "edge"))},
    )


def membership_deleted(world: World) -> Any:
    name = BLUE.membership(world.settings.fleet_project)
    place = f"projects/{name.project}/locations/{name.location}"
    attributes = {"source": f"//gkehub.googleapis.com/{place}", "subject": f"memberships/{name.membership}"}
    return routed(world, b"", "google.cloud.gkehub.membership.v1.deleted", **attributes)


def test_a_deleted_clusters_chain_covers_its_memberships_deletion() -> None:
    """docs/scale.md#cost-of-one-event."""
    world = World()
    routed(world, audit_entry(BLUE, "DeleteCluster", "started"))
    routed(world, audit_entry(BLUE, "DeleteCluster", "finished"))
    world.published.clear()
    assert membership_deleted(world).code == "gke_membership"
    assert world.published == []
    assert membership_deleted(world).next.topic == "remove-secret"  # a second deletion is another one


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [("DeleteCluster", "started", False)],
        [("DeleteCluster", "started", False), ("DeleteCluster", "finished", True)],
        [("DeleteCluster", "finished", False), ("CreateCluster", "finished", False)],
        [("DeleteCluster", "finished", False), ("UpdateCluster", "finished", False)],
    ],
    ids=["no entry", "deletion started", "deletion failed", "created again", "updated since"],
)
def test_the_membership_of_a_living_cluster_is_given_back(entries: list[tuple[str, str, bool]]) -> None:
    world = World()
    for method, when, failed in entries:
        routed(world, audit_entry(BLUE, method, when, failed=failed))
    assert membership_deleted(world).next.topic == "remove-secret"


def delivered(world: World, age: timedelta = timedelta(0), **attributes: str) -> Outcome:
    data = json.dumps({"cluster": str(BLUE)}).encode()
    message = Message(data, dict(attributes), "m1", world.now - age)
    work = dispatch.step("register-membership", register_membership.run)
    return work(message, WorldServices(world), TRACE)


def test_a_sweeps_request_expires_and_an_events_does_not() -> None:
    world = World()
    world.create(BLUE)
    with pytest.raises(PermanentError):
        delivered(world, timedelta(days=2), **{"requested-by": "sweep"})
    delivered(world, timedelta(days=2))
    assert [topic for topic, _, _ in world.published] == ["grant-rbac"]


def test_a_step_hands_on_cause_and_trace(capsys: Capture) -> None:
    world = World()
    world.create(BLUE)
    delivered(world)
    attributes = world.published[0][2]
    assert (attributes["cause"], attributes["traceparent"]) == ("message m1 to register-membership", TRACE)
    assert lines(capsys)[-1]["logging.googleapis.com/labels"]["cause"] == "message m1 to register-membership"
    delivered(world, cause="a test")
    assert world.published[-1][2]["cause"] == "a test"


def test_a_chain_does_not_reverse_twice_within_a_minute() -> None:
    world = World()
    with pytest.raises(RetryableError):
        delivered(world, reversed="true")
    assert world.published == []
    delivered(world, timedelta(minutes=2), reversed="true")
    assert [topic for topic, _, _ in world.published] == ["remove-secret"]
    assert world.published[0][2]["reversed"] == "true"


def test_the_first_reversal_is_published_at_once() -> None:
    world = World()
    delivered(world)
    assert [topic for topic, _, _ in world.published] == ["remove-secret"]


def test_a_trace_is_kept_if_it_is_one() -> None:
    assert logs.traceparent(TRACE) == TRACE
    for odd in (None, "", "00-x", TRACE + "0"):
        assert logs.traceparent(odd) != odd
