"""Each event is a CloudEvent to the official SDK, and its data is what docs/events promises."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cloudevents.http import CloudEvent, from_http
from jsonschema import Draft202012Validator, ValidationError

from shared.values.cluster_event import EventType
from shared.values.names import ClusterName, MembershipName
from tests.simulation.world import World

if TYPE_CHECKING:
    from shared.values.messages import Message

EVENTS = Path(__file__).parents[2] / "docs" / "events"
BLUE = ClusterName("demo-apps", "europe-west1", "blue")
RED = ClusterName("demo-apps", "europe-west1", "red")
EDGE = MembershipName("demo-fleet", "global", "edge")
PREFIX = "dev.fleet-registrar."


def schema(kind: str) -> Draft202012Validator:
    found = json.loads((EVENTS / f"{kind.removeprefix(PREFIX)}.json").read_text())
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def read(message: Message) -> CloudEvent:
    """Read an event as the SDK does: Pub/Sub's binding has the attributes that HTTP has as headers."""
    return from_http(dict(message.attributes), message.data)


@pytest.fixture(scope="module")
def heard() -> list[CloudEvent]:
    """The events of lives in which everything happens that subscribers hear of."""
    world = World()
    world.select("env")
    since = {"since": world.now.isoformat()}
    for name in (BLUE, RED):
        world.create(name, {"env": "prod", "team": "a"})
        world.publish("register-membership", {"cluster": str(name)}, since)
    for number in range(5):
        world.create(ClusterName("demo-apps", "europe-west1", f"lost-{number}"), {"env": "prod"})
    world.attach(EDGE, {"env": "prod"})
    world.publish("register-membership", {"membership": str(EDGE)})
    world.settle()
    world.sweep()
    for name in list(world.clusters):
        if name.cluster.startswith("lost"):
            world.change(name, labels={})
    world.change(BLUE, labels={"env": "dev"})
    world.publish("write-secret", {"cluster": str(BLUE)})
    world.settle()
    for name in (BLUE, RED):
        world.change(name, labels={})
    del world.memberships[EDGE]
    world.sweep()
    world.publish("remove-secret", world.leave(BLUE, "hold"))
    world.settle()
    world.change(BLUE, labels={"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    world.delete(RED)
    world.publish("remove-secret", {"cluster": str(RED)})
    world.publish("grant-rbac", {"cluster": str(BLUE), "granted": 1})
    world.publish("write-secret", {"cluster": str(BLUE), "drop_labels": "no list"})
    world.settle()
    world.change(BLUE, fleet_project="demo-other")
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    return [read(message) for message in world.events]


def test_everything_that_can_happen_is_heard(heard: list[CloudEvent]) -> None:
    assert {event["type"] for event in heard} == set(EventType)


def test_every_event_matches_its_schema(heard: list[CloudEvent]) -> None:
    for event in heard:
        schema(event["type"]).validate(event.data)


def test_every_event_has_an_id_of_its_own_and_its_subject(heard: list[CloudEvent]) -> None:
    assert len({event["id"] for event in heard}) == len(heard)
    for event in heard:
        named = {event.data.get("cluster"), event.data.get("membership")} - {None}
        assert (event.get("subject") in named) is (".cluster." in event["type"])
        assert event["source"] == "/projects/demo-fleet/fleet-registrar/default"


def test_no_event_has_a_uid_or_a_plans_hash(heard: list[CloudEvent]) -> None:
    words = {key for event in heard for key in event.data} | {key for event in heard for key in event.get_attributes()}
    assert not {key for key in words if "uid" in key or "hash" in key or key == "granted"}


def test_the_first_events_say_how_long_it_took(heard: list[CloudEvent]) -> None:
    onboarded = [event.data["seconds"] for event in heard if event["type"] == EventType.ONBOARDED]
    assert [seconds is None for seconds in onboarded] == [False, False, True, *[True] * 5]


@pytest.mark.parametrize("kind", EventType)
def test_a_schema_refuses_what_it_does_not_know(kind: str, heard: list[CloudEvent]) -> None:
    data: dict[str, Any] = next(event.data for event in heard if event["type"] == kind)
    with pytest.raises(ValidationError):
        schema(kind).validate({**data, "unknown": 1})
    for key in data.keys() - {"cluster", "membership", "applications"}:
        with pytest.raises(ValidationError):
            schema(kind).validate({other: value for other, value in data.items() if other != key})


def test_the_page_lists_every_type_with_its_schema() -> None:
    listed = re.findall(
        r"^\| `(\S+)` \| .* \| \[schema\]\((\S+)\.json\) \|$", (EVENTS / "README.md").read_text(), re.MULTILINE
    )
    assert dict(listed) == {str(kind): kind.removeprefix(PREFIX) for kind in EventType}
    assert {path.stem for path in EVENTS.glob("*.json")} == {kind.removeprefix(PREFIX) for kind in EventType}
