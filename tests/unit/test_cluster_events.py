"""Events for subscribers: CloudEvents with an ID that a redelivery repeats."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions import cluster_events
from shared.values.cluster_event import ClusterEvent, EventType
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import PermanentError
from shared.values.messages import Message, Outcome, OutgoingMessage, StepRequest
from shared.values.model import State
from tests.unit.given import BLUE, EDGE, SETTINGS

if TYPE_CHECKING:
    from shared.decisions.cluster_events import CloudEvent

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)
SINCE = NOW - timedelta(seconds=4)
MESSAGE = Message(
    b"{}", {"since": SINCE.isoformat(), "traceparent": "00-ab-cd-01"}, "17", NOW - timedelta(seconds=1), attempt=1
)
REQUEST = StepRequest(BLUE.name, EDGE.name)


def event(change: ClusterEvent, message: Message = MESSAGE, request: StepRequest = REQUEST) -> CloudEvent | None:
    outcome = Outcome(Decision.UPDATED, State.SELECTED, "because", event=change)
    return cluster_events.of_outcome("write-secret", request, outcome, message, SETTINGS, now=NOW)


def kind(change: ClusterEvent, message: Message = MESSAGE) -> str:
    found = event(change, message)
    return found.attributes["ce-type"].split(".")[-2] if found else ""


def test_an_event_is_a_cloudevent_in_pubsubs_binding() -> None:
    found = event(ClusterEvent(EventType.ONBOARDED, {"team": "a", "env": "prod"}))
    assert found is not None
    assert found.attributes == {
        "ce-specversion": "1.0",
        "ce-id": "write-secret-17-onboarded",
        "ce-source": "/projects/demo-fleet/fleet-registrar/default",
        "ce-type": "dev.fleet-registrar.cluster.onboarded.v1",
        "ce-time": "2026-11-27T12:00:00.000Z",
        "ce-subject": str(BLUE.name),
        "ce-traceparent": "00-ab-cd-01",
        "content-type": "application/json",
    }
    assert json.loads(found.data) == {
        "cluster": str(BLUE.name),
        "membership": str(EDGE.name),
        "labels": {"env": "prod", "team": "a"},
        "code": "selected",
        "reason": "because",
        "step": "write-secret",
        "seconds": 4.0,
    }


def test_an_attached_cluster_is_named_by_its_membership() -> None:
    found = event(ClusterEvent(EventType.HELD, code="left-fleet"), request=StepRequest(membership=EDGE.name))
    assert found is not None
    assert found.attributes["ce-subject"] == str(EDGE.name)
    assert json.loads(found.data)["code"] == "left-fleet"


def test_the_next_request_completes_the_names() -> None:
    following = (OutgoingMessage("revoke-rbac", StepRequest(BLUE.name, EDGE.name)),)
    outcome = Outcome(Decision.DELETED, State.UNSELECTED, "gone", following, event=ClusterEvent(EventType.OFFBOARDED))
    found = cluster_events.of_outcome("remove-secret", StepRequest(BLUE.name), outcome, MESSAGE, SETTINGS, now=NOW)
    assert found is not None
    assert json.loads(found.data)["membership"] == str(EDGE.name)


def test_a_redelivery_repeats_the_id_of_the_same_change() -> None:
    change = ClusterEvent(EventType.CHANGED)
    first, again = event(change), event(replace(change, earlier=True), replace(MESSAGE, attempt=2))
    assert first is not None
    assert again is not None
    assert first.attributes["ce-id"] == again.attributes["ce-id"]


def test_an_unchanged_secret_gives_an_event_on_a_redelivery_only() -> None:
    unchanged = ClusterEvent(EventType.CHANGED, earlier=True)
    assert [kind(unchanged, replace(MESSAGE, attempt=attempt)) for attempt in (0, 1, 2)] == ["", "", "changed"]


@pytest.mark.parametrize("seconds", [-5, -2, -1, 0, 3])
@pytest.mark.parametrize("earlier", [True, False])
def test_a_redelivery_after_the_creation_gives_onboarded(seconds: int, earlier: bool) -> None:
    """A creation time has whole seconds, so up to a second before the message counts as after it."""
    assert MESSAGE.published is not None
    created = (MESSAGE.published + timedelta(seconds=seconds)).isoformat()
    change = ClusterEvent(EventType.CHANGED, at=created, earlier=earlier)
    assert kind(change, replace(MESSAGE, attempt=2)) == ("onboarded" if seconds >= 0 else "changed")
    assert kind(replace(change, earlier=False), MESSAGE) == "changed"


@pytest.mark.parametrize(("seconds", "heard"), [(-3, ""), (0, "held")])
def test_a_hold_that_is_older_than_the_message_is_not_its(seconds: int, heard: str) -> None:
    assert MESSAGE.published is not None
    held = ClusterEvent(EventType.HELD, at=(MESSAGE.published + timedelta(seconds=seconds)).isoformat(), earlier=True)
    assert kind(held, replace(MESSAGE, attempt=2)) == heard


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "yesterday", ""])
def test_a_time_that_cannot_be_compared_is_not_after_the_message(at: str) -> None:
    assert kind(ClusterEvent(EventType.CHANGED, at=at), replace(MESSAGE, attempt=2)) == "changed"


@pytest.mark.parametrize("change", [EventType.HELD, EventType.RELEASED, EventType.OFFBOARDED])
def test_only_a_change_of_a_young_secret_becomes_onboarded(change: EventType) -> None:
    assert MESSAGE.published is not None
    young = ClusterEvent(change, at=MESSAGE.published.isoformat())
    assert kind(young, replace(MESSAGE, attempt=2)) == change.split(".")[-2]


def test_onboarded_alone_has_the_seconds_since_the_start() -> None:
    onboarded, changed = event(ClusterEvent(EventType.ONBOARDED)), event(ClusterEvent(EventType.CHANGED))
    assert onboarded is not None
    assert changed is not None
    assert onboarded.log_fields == {"event": "dev.fleet-registrar.cluster.onboarded.v1", "seconds": 4.0}
    assert changed.log_fields == {"event": "dev.fleet-registrar.cluster.changed.v1"}
    assert "seconds" not in json.loads(changed.data)


@pytest.mark.parametrize(
    ("ago", "seconds"),
    [
        (timedelta(days=7), 604_800.0),
        (timedelta(days=7, microseconds=1), None),
        (timedelta(seconds=1, microseconds=234_567), 1.235),
    ],
)
def test_the_seconds_since_the_start_count_for_seven_days(ago: timedelta, seconds: float | None) -> None:
    started = replace(MESSAGE, attributes={"since": (NOW - ago).isoformat()})
    assert cluster_events.seconds_since_start(started, NOW) == seconds


def test_an_event_of_a_whole_sweep_names_no_cluster() -> None:
    found = cluster_events.of_sweep(EventType.SWEPT, {"requests": {}}, replace(MESSAGE, attributes={}), SETTINGS, NOW)
    assert "ce-subject" not in found.attributes
    assert "ce-traceparent" not in found.attributes


def test_a_function_that_is_no_step_reports_no_failure_of_a_cluster() -> None:
    error = PermanentError("odd", ErrorCode.INVALID_EVENT)
    body = json.dumps({"cluster": str(BLUE.name)}).encode()
    assert cluster_events.of_failure("route-event", error, replace(MESSAGE, data=body), SETTINGS, now=NOW) is None


@given(st.text() | st.datetimes().map(str))
def test_a_start_that_is_no_time_of_the_last_week_is_left_out(text: str) -> None:
    found = cluster_events.seconds_since_start(replace(MESSAGE, attributes={"since": text}), NOW)
    assert found is None or 0 <= found <= 7 * 86_400


def test_a_clock_ahead_of_ours_gives_no_negative_time() -> None:
    ahead = replace(MESSAGE, attributes={"since": (NOW + timedelta(seconds=3)).isoformat()})
    assert cluster_events.seconds_since_start(ahead, NOW) == 0.0


def test_onboarding_alone_loses_seconds_at_a_dead_letter() -> None:
    assert cluster_events.seconds_lost("grant-rbac", MESSAGE, NOW) == 4.0
    assert cluster_events.seconds_lost("remove-secret", MESSAGE, NOW) is None


def test_a_dead_letter_of_a_named_cluster_gives_failed() -> None:
    error = PermanentError("unmanaged", ErrorCode.UNMANAGED_SECRET)
    body = json.dumps({"cluster": str(BLUE.name)}).encode()
    found = cluster_events.of_failure("write-secret", error, replace(MESSAGE, data=body), SETTINGS, now=NOW)
    assert found is not None
    assert found.attributes["ce-type"] == "dev.fleet-registrar.cluster.failed.v1"
    assert json.loads(found.data)["code"] == "unmanaged_secret"
    assert (
        cluster_events.of_failure("write-secret", error, replace(MESSAGE, data=b"no JSON"), SETTINGS, now=NOW) is None
    )


def test_each_limit_of_a_sweep_has_an_id_of_its_own() -> None:
    ids = {
        cluster_events.of_sweep(EventType.LIMITED, {"limit": limit}, MESSAGE, SETTINGS, now=NOW).attributes["ce-id"]
        for limit in ("leaving", "left", "gone")
    }
    assert len(ids) == 3
