"""Eventarc, delivering to a function that functions-framework serves."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from google.events.cloud.audit_v1 import LogEntryData
from google.events.cloud.gkehub_v1 import MembershipEventData

from local.functions import Function, offered
from local.google.audit import AuditedCall, node_pool_entries
from local.google.eventarc import Eventarc
from local.google.events import EventRule
from local.google.iam.tokens import Tokens
from tests.waiting import PATIENCE, whole_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

MAIN = """
import json, os, pathlib
import functions_framework
HERE = pathlib.Path(os.environ["SEEN"])

@functions_framework.cloud_event
def route_event(event):
    if (HERE / "refuse").exists():
        with (HERE / "refused").open("a") as log:
            log.write("x")
        raise RuntimeError("asked to refuse")
    with (HERE / "seen").open("a") as log:
        log.write(json.dumps({"attributes": dict(event.get_attributes()), "data": event.data}) + "\\n")
"""
MEMBERSHIP = {
    "name": "projects/demo-fleet/locations/europe-west1/memberships/edge",
    "state": {"code": "READY"},
    "uniqueId": "u-1",
}


def _entry(name: str = "blue", project: str = "demo-fleet", *, method: str = "CreateCluster") -> dict[str, Any]:
    call = AuditedCall(method, project, "europe-west1", name, "you@example.com", {})
    return call.finished({"name": f"operation-{name}", "operationType": "CREATE_CLUSTER", "status": "DONE"})


class Stage:
    """A function, and an Eventarc with triggers in demo-fleet that bring events to it."""

    def __init__(self, directory: Path, function: Function, **changes: Any) -> None:
        self.directory = directory
        self.function = function
        self.eventarc = Eventarc(
            lambda _service, _region, _project: function.url,
            Tokens().new_identity_token,
            **{"first_wait": 0.02, "longest_wait": 0.1, **changes},
        )
        audit = {"type": "google.cloud.audit.log.v1.written", "serviceName": "container.googleapis.com"}
        self.trigger("global", "create", audit | {"methodName": "google.container.v1.ClusterManager.CreateCluster"})
        for kind in ("created", "updated", "deleted"):
            self.trigger("europe-west1", kind, {"type": f"google.cloud.gkehub.membership.v1.{kind}"})

    def trigger(self, location: str, name: str, filters: dict[str, str]) -> None:
        self.eventarc.create_trigger(
            f"projects/demo-fleet/locations/{location}/triggers/{name}",
            {
                "eventFilters": [{"attribute": key, "value": value} for key, value in filters.items()],
                "serviceAccount": "trigger@demo-fleet.iam.gserviceaccount.com",
                "destination": {"cloudRun": {"service": "route-event", "region": "europe-west1"}},
            },
        )

    def seen(self) -> list[dict[str, Any]]:
        log = self.directory / "seen"
        return [json.loads(line) for line in whole_lines(log.read_text())] if log.exists() else []

    def names(self) -> list[str]:
        return [event["attributes"]["resourcename"].rpartition("/")[2] for event in self.seen()]

    async def quiet(self) -> None:
        await until(lambda: self.eventarc.waiting() == 0)


async def until(condition: Callable[[], bool], within: float = PATIENCE) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)


def _play(directory: Path, scene: Callable[[Stage], Awaitable[None]], **changes: Any) -> Stage:
    (directory / "main.py").write_text(MAIN)
    assert offered(directory / "main.py") == ["route_event"]

    async def play() -> Stage:
        environment = {"SEEN": str(directory), "HOME": str(directory), "PATH": os.defpath}
        function = Function("route_event", directory / "main.py", directory / "log", environment)
        stage = Stage(directory, function, **changes)
        try:
            await function.start(directory)
            await scene(stage)
        finally:
            await stage.eventarc.close()
            await function.stop()
            function.close()
        return stage

    return asyncio.run(play())


def test_an_audit_entry_arrives_as_a_binary_cloudevent(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.eventarc.audit(_entry())
        await stage.quiet()

    (event,) = _play(tmp_path, scene).seen()
    attributes = event["attributes"]
    assert attributes["type"] == "google.cloud.audit.log.v1.written"
    assert attributes["source"] == "//cloudaudit.googleapis.com/projects/demo-fleet/logs/activity"
    assert attributes["servicename"] == "container.googleapis.com"
    assert attributes["methodname"] == "google.container.v1.ClusterManager.CreateCluster"
    assert attributes["resourcename"] == "projects/demo-fleet/zones/europe-west1/clusters/blue"
    assert attributes["subject"] == "container.googleapis.com/projects/demo-fleet/zones/europe-west1/clusters/blue"
    data = LogEntryData.from_json(json.dumps(event["data"]), ignore_unknown_fields=False)
    assert data.operation.last


@pytest.mark.parametrize("kind", ["created", "updated", "deleted"])
def test_a_membership_event_has_its_body_unless_it_was_deleted(tmp_path: Path, kind: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.eventarc.membership(kind, MEMBERSHIP)
        await stage.quiet()

    (event,) = _play(tmp_path, scene).seen()
    assert event["attributes"]["type"] == f"google.cloud.gkehub.membership.v1.{kind}"
    assert event["attributes"]["membership"] == "edge"
    assert event["attributes"]["source"] == "//gkehub.googleapis.com/projects/demo-fleet/locations/europe-west1"
    data = MembershipEventData.from_json(json.dumps(event["data"]), ignore_unknown_fields=False)
    assert data.payload.name == ("" if kind == "deleted" else MEMBERSHIP["name"])


def test_a_trigger_sees_its_own_project_alone(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.eventarc.audit(_entry("far", "demo-apps"))
        stage.eventarc.audit(_entry())
        await stage.quiet()

    assert _play(tmp_path, scene).names() == ["blue"]


def test_a_trigger_sees_memberships_of_its_own_location_alone(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        far = MEMBERSHIP | {"name": "projects/demo-fleet/locations/us-east1/memberships/far"}
        stage.eventarc.membership("created", far)
        stage.eventarc.membership("created", MEMBERSHIP)
        await stage.quiet()

    assert [event["attributes"]["membership"] for event in _play(tmp_path, scene).seen()] == ["edge"]


def test_a_deleted_trigger_brings_nothing_more(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.eventarc.audit(_entry())
        await stage.quiet()
        del stage.eventarc.triggers["projects/demo-fleet/locations/global/triggers/create"]
        stage.eventarc.audit(_entry("later"))
        await stage.quiet()

    assert _play(tmp_path, scene).names() == ["blue"]


def test_methods_without_a_trigger_are_not_sent(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        for entry in node_pool_entries("demo-fleet", "europe-west1", "blue", "you@example.com"):
            stage.eventarc.audit(entry)
        stage.eventarc.audit(_entry())
        await stage.quiet()

    assert _play(tmp_path, scene).names() == ["blue"]


def test_what_the_function_refuses_is_delivered_again(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (tmp_path / "refuse").touch()
        stage.eventarc.audit(_entry())
        await until(lambda: (tmp_path / "refused").exists() and len((tmp_path / "refused").read_text()) > 1)
        (tmp_path / "refuse").unlink()
        await stage.quiet()

    stage = _play(tmp_path, scene)
    assert stage.names() == ["blue"]
    assert [event.state for event in stage.eventarc.log] == ["delivered"]


def test_a_function_that_was_killed_gets_the_event_after_its_restart(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.function.kill()
        stage.eventarc.audit(_entry())
        await until(lambda: stage.eventarc.log[0].attempts > 1)
        await stage.function.start(tmp_path)
        await stage.quiet()

    assert _play(tmp_path, scene).names() == ["blue"]


def test_an_event_that_is_never_taken_is_dropped(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (tmp_path / "refuse").touch()
        stage.eventarc.audit(_entry())
        await stage.quiet()

    stage = _play(tmp_path, scene, kept=0.1)
    assert [event.state for event in stage.eventarc.log] == ["dropped"]
    assert stage.seen() == []


def test_an_event_can_be_lost_repeated_and_delayed(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.eventarc.add(EventRule("lose", "CreateCluster.finished *red"))
        stage.eventarc.add(EventRule("repeat", "*green", copies=3))
        stage.eventarc.add(EventRule("delay", "*late", seconds=1))
        since = time.monotonic()
        for name in ("late", "red", "green", "blue"):
            stage.eventarc.audit(_entry(name))
        await until(lambda: "late" in stage.names())
        assert time.monotonic() - since > 0.9
        await until(lambda: len(stage.seen()) == 5)

    stage = _play(tmp_path, scene)
    assert sorted(stage.names()) == ["blue", "green", "green", "green", "late"]
    assert len({e["attributes"]["id"] for e in stage.seen() if "green" in e["attributes"]["resourcename"]}) == 1


def test_held_events_are_released_in_any_order(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.eventarc.add(EventRule("hold", times=0))
        for name in ("one", "two", "three"):
            stage.eventarc.audit(_entry(name))
        assert stage.seen() == []
        stage.eventarc.release([2, 0])
        await stage.quiet()
        assert stage.eventarc.held() == [
            "CreateCluster.finished projects/demo-fleet/locations/europe-west1/clusters/two"
        ]
        stage.eventarc.release()
        await stage.quiet()

    assert _play(tmp_path, scene).names() == ["three", "one", "two"]
