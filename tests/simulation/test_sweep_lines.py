"""What a sweep says: lines short enough to be kept, the list behind a limit, the release, and events for subscribers."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from typing import Any

import pytest

from functions import route_event, sweep
from shared.values.messages import Message
from tests.simulation.entries import audit_entry
from tests.simulation.fleets import fleet, swept
from tests.simulation.given import BLUE, OWN, SECRETS
from tests.simulation.ports import WorldServices
from tests.simulation.world import World
from tests.unit.given import settings as given_settings

Capture = pytest.CaptureFixture[str]


def of(found: list[dict[str, Any]], decision: str) -> list[dict[str, Any]]:
    return [line for line in found if line["decision"] == decision]


def names(found: list[dict[str, Any]]) -> list[str]:
    return [name for line in found for name in line.get("blocked", ())]


def test_every_request_that_a_limit_stops_is_listed_once(capsys: Capture) -> None:
    world = fleet(30, select="env=prod")
    world.select("env=prd")
    [critical, *lists] = of(swept(world, capsys), "limited")
    assert critical["severity"] == "CRITICAL"
    assert critical["clusters"] == len(names(lists)) == len(set(names(lists))) == 30
    assert len(lists) == 1
    assert {line["hash"] for line in lists} == {critical["hash"]}


@pytest.mark.parametrize("bytes_", [1, 60, 200, 1_000])
def test_a_list_longer_than_a_line_goes_on_in_the_next(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, bytes_: int
) -> None:
    """Cloud Logging drops a line that is too long."""
    monkeypatch.setattr(sweep, "LINE_BYTES", bytes_)
    world = fleet(30, select="env=prod")
    world.select("env=prd")
    lists = of(swept(world, capsys), "limited")[1:]
    assert len(names(lists)) == 30
    for line in lists:
        size = sum(len(json.dumps(name)) for name in line["blocked"])
        assert size <= bytes_ or len(line["blocked"]) == 1
        assert all(len(name) <= bytes_ for name in line["blocked"])


def test_a_line_with_its_list_stays_below_100_kib() -> None:
    """Cloud Logging drops an entry of more than 256 KiB, and an ASCII escape makes up to twelve bytes of a character."""
    assert sweep.LINE_BYTES + 10_000 < 100 * 1024


def test_a_release_is_logged_and_requests_exactly_the_plan(capsys: Capture) -> None:
    world = fleet(30, select="env=prod")
    world.select("env=prd")
    digest = of(swept(world, capsys), "limited")[0]["hash"]
    world.published.clear()
    [line] = of(swept(world, capsys, release=digest), "released")
    assert line["severity"] == "NOTICE"
    assert [(topic, len(body["seals"])) for topic, body, _ in world.published] == [("sweep", 30)]


def test_alike_findings_are_one_line_with_their_command(capsys: Capture) -> None:
    world = fleet(3, select="env=prod")
    others = [name for name in world.clusters if name.project == "demo-apps"]
    for name in others[:2]:
        world.change(name, status="ERROR")
    world.change(others[2], fleet_project="999", membership=None)
    reported = of(swept(world, capsys), "reported")
    unknown = [line for line in reported if line["code"] == "unknown_state"]
    [moved] = [line for line in reported if line["code"] == "other_fleet"]
    assert len(unknown) == 1
    assert all(str(name) in unknown[0]["message"] for name in others[:2])
    assert moved["message"].startswith(str(others[2]))
    assert moved["message"].splitlines()[-1].startswith("gcloud container clusters update ")
    assert {line["severity"] for line in reported} == {"WARNING"}


def test_a_wait_for_others_is_no_warning(capsys: Capture) -> None:
    world = World()
    world.settings = replace(world.settings, registration="wait")
    world.create(BLUE)
    [line] = of(swept(world, capsys), "reported")
    assert (line["code"], line["severity"]) == ("waiting_for_membership", "INFO")


def test_subscribers_hear_of_each_limit_and_of_each_sweep(capsys: Capture) -> None:
    """docs/events. The hash of a plan stays in the log."""
    world = fleet(30, select="env=prod")
    world.select("env=prd")
    critical, *_ = of(swept(world, capsys), "limited")
    assert world.heard == ["limited", "swept"]
    limited, whole = (json.loads(event.data) for event in world.events)
    assert limited == {"limit": "leaving", "clusters": 30, "allowed": critical["allowed"]}
    assert whole["stopped"] == 30
    assert not any(critical["hash"].encode() in event.data for event in world.events)
    assert "project" not in whole
    swept(world, capsys, project="demo-apps")
    assert json.loads(world.events[-1].data)["project"] == "demo-apps"
    assert "cluster" not in json.loads(world.events[-1].data)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_sweep_leaves_garbage_collection_as_it_was(capsys: Capture, enabled: bool) -> None:
    """Lists of a large fleet are read without it: it took a third of a sweep's time."""
    before = gc.isenabled()
    world = fleet(1, select="env=prod")
    during: list[bool] = []
    world.touch = lambda _phase, call: during.append(gc.isenabled()) if "list" in call else None
    try:
        (gc.enable if enabled else gc.disable)()
        swept(world, capsys)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
    assert set(during) == {False}


@pytest.mark.parametrize(("time", "since"), [("2026-11-24T12:00:00Z", {"since": "2026-11-24T12:00:00Z"}), (None, {})])
def test_a_chain_carries_the_time_of_its_event(time: str | None, since: dict[str, str]) -> None:
    world = World()
    entry = audit_entry(BLUE, "CreateCluster", "finished") | ({"timestamp": time} if time else {})
    route_event.run(Message(json.dumps(entry).encode(), {}, "e1", world.now), WorldServices(world), "")
    [(_, _, attributes)] = world.published
    assert {key: value for key, value in attributes.items() if key == "since"} == since


@pytest.mark.parametrize(("registration", "topics"), [("wait", ["register-membership"]), ("create", [])])
def test_a_new_membership_continues_a_chain_where_others_register(registration: str, topics: list[str]) -> None:
    world = World(given_settings(REGISTRATION=registration))
    data = json.dumps({"payload": {"name": str(OWN), "endpoint": {"gkeCluster": {"resourceLink": BLUE.link}}}})
    message = Message(data.encode(), {}, "e1", world.now, kind="google.cloud.gkehub.membership.v1.created")
    route_event.run(message, WorldServices(world), "")
    assert [topic for topic, _, _ in world.published] == topics


def test_a_spoilt_secret_is_one_finding_and_its_neighbours_are_compared(capsys: Capture) -> None:
    world = fleet(2, select="env=prod")
    one, two = (name for name in world.clusters if name.project == "demo-apps")
    stored = world.central.objects[SECRETS, one.secret_name]
    stored["metadata"]["annotations"]["fleet-registrar/cluster"] = "spoilt"
    world.delete(two)
    found = swept(world, capsys)
    assert [line["code"] for line in of(found, "reported")] == ["invalid_secret"]
    assert [line["code"] for line in of(found, "requested") if line["kind"] == "remove"] == ["not_listed"]
