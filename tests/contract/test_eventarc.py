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
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

MAIN = """
import json, os, pathlib
import functions_framework
SEEN = pathlib.Path(os.environ["SEEN"])

@functions_framework.cloud_event
def route_event(event):
    here = SEEN / (SEEN / "now").read_text()
    if (here / "refuse").exists():
        with (here / "refused").open("a") as log:
            log.write("x")
        raise RuntimeError("asked to refuse")
    with (here / "seen").open("a") as log:
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


class Theatre:
    """One function for all scenes, in a process of its own, and the loop that they share."""

    def __init__(self, directory: Path, runner: asyncio.Runner) -> None:
        self.directory = directory
        self.runner = runner
        self.scenes = 0
        (directory / "main.py").write_text(MAIN)
        assert offered(directory / "main.py") == ["route_event"]
        environment = {"SEEN": str(directory), "HOME": str(directory), "PATH": os.defpath}
        self.function = Function("route_event", directory / "main.py", directory / "log", environment)

    def play(self, scene: Callable[[Stage], Awaitable[None]], **changes: Any) -> Stage:
        """Play a scene on a stage of its own."""
        self.scenes += 1
        directory = self.directory / str(self.scenes)
        directory.mkdir()
        (self.directory / "now").write_text(directory.name)

        async def played() -> Stage:
            stage = Stage(directory, self.function, **changes)
            try:
                await scene(stage)
            finally:
                await stage.eventarc.close()
            return stage

        return self.runner.run(played())


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with asyncio.Runner() as runner:
        found = Theatre(tmp_path_factory.mktemp("eventarc"), runner)
        try:
            runner.run(found.function.start(found.directory))
            yield found
        finally:
            runner.run(found.function.stop())
            found.function.close()


def test_an_audit_entry_arrives_as_a_binary_cloudevent(theatre: Theatre) -> None:
    async def scene(stage: Stage) -> None:
        stage.eventarc.audit(_entry())
        await stage.quiet()

    (event,) = theatre.play(scene).seen()
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
def test_a_membership_event_has_its_body_unless_it_was_deleted(theatre: Theatre, kind: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.eventarc.membership(kind, MEMBERSHIP)
        await stage.quiet()

    (event,) = theatre.play(scene).seen()
    assert event["attributes"]["type"] == f"google.cloud.gkehub.membership.v1.{kind}"
    assert event["attributes"]["membership"] == "edge"
    assert event["attributes"]["source"] == "//gkehub.googleapis.com/projects/demo-fleet/locations/europe-west1"
    data = MembershipEventData.from_json(json.dumps(event["data"]), ignore_unknown_fields=False)
    assert data.payload.name == ("" if kind == "deleted" else MEMBERSHIP["name"])


def test_a_trigger_sees_its_own_project_alone(theatre: Theatre) -> None:
    async def scene(stage: Stage) -> None:
        stage.eventarc.audit(_entry("far", "demo-apps"))
        stage.eventarc.audit(_entry())
        await stage.quiet()

    assert theatre.play(scene).names() == ["blue"]


def test_a_trigger_sees_memberships_of_its_own_location_alone(theatre: Theatre) -> None:
    async def scene(stage: Stage) -> None:
        far = MEMBERSHIP | {"name": "projects/demo-fleet/locations/us-east1/memberships/far"}
        stage.eventarc.membership("created", far)
        stage.eventarc.membership("created", MEMBERSHIP)
        await stage.quiet()

    assert [event["attributes"]["membership"] for event in theatre.play(scene).seen()] == ["edge"]


def test_a_deleted_trigger_brings_nothing_more(theatre: Theatre) -> None:
    async def scene(stage: Stage) -> None:
        stage.eventarc.audit(_entry())
        await stage.quiet()
        del stage.eventarc.triggers["projects/demo-fleet/locations/global/triggers/create"]
        stage.eventarc.audit(_entry("later"))
        await stage.quiet()

    assert theatre.play(scene).names() == ["blue"]


def test_methods_without_a_trigger_are_not_sent(theatre: Theatre) -> None:
    async def scene(stage: Stage) -> None:
        for entry in node_pool_entries("demo-fleet", "europe-west1", "blue", "you@example.com"):
            stage.eventarc.audit(entry)
        stage.eventarc.audit(_entry())
        await stage.quiet()

    assert theatre.play(scene).names() == ["blue"]


def test_what_the_function_refuses_is_delivered_again(theatre: Theatre) -> None:
    async def scene(stage: Stage) -> None:
        (stage.directory / "refuse").touch()
        stage.eventarc.audit(_entry())
        await until(
            lambda: (stage.directory / "refused").exists() and len((stage.directory / "refused").read_text()) > 1
        )
        (stage.directory / "refuse").unlink()
        await stage.quiet()

    stage = theatre.play(scene)
    assert stage.names() == ["blue"]
    assert [event.state for event in stage.eventarc.log] == ["delivered"]


def test_a_function_that_was_killed_gets_the_event_after_its_restart(theatre: Theatre) -> None:
    async def scene(stage: Stage) -> None:
        await stage.function.kill()
        stage.eventarc.audit(_entry())
        await until(lambda: stage.eventarc.log[0].attempts > 1)
        await stage.function.start(theatre.directory)
        await stage.quiet()

    assert theatre.play(scene).names() == ["blue"]


def test_an_event_that_is_never_taken_is_dropped(theatre: Theatre) -> None:
    async def scene(stage: Stage) -> None:
        (stage.directory / "refuse").touch()
        stage.eventarc.audit(_entry())
        await stage.quiet()

    stage = theatre.play(scene, kept=0.1)
    assert [event.state for event in stage.eventarc.log] == ["dropped"]
    assert stage.seen() == []


def test_an_event_can_be_lost_repeated_and_delayed(theatre: Theatre) -> None:
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

    stage = theatre.play(scene)
    assert sorted(stage.names()) == ["blue", "green", "green", "green", "late"]
    assert len({e["attributes"]["id"] for e in stage.seen() if "green" in e["attributes"]["resourcename"]}) == 1


def test_held_events_are_released_in_any_order(theatre: Theatre) -> None:
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

    assert theatre.play(scene).names() == ["three", "one", "two"]
