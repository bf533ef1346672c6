"""The functions' log entries: which of them are failures, and that no entry of anybody ends a command."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ops.activity import Activity, parse
from shared.values.codes import Decision

TIME = "2026-11-24T12:00:00Z"
PAYLOAD = {"step": "write-secret", "decision": "retry", "attempt": 7, "attempts": 20, "next": ["grant-rbac"]}


@pytest.mark.parametrize("decision", Decision)
def test_a_request_that_a_sweep_dropped_is_a_failure_like_others(decision: Decision) -> None:
    [entry] = parse([{"timestamp": TIME, "jsonPayload": PAYLOAD | {"decision": decision}}])
    assert entry.failed is (decision in {Decision.RETRY, Decision.DEAD_LETTERED, Decision.DROPPED})


@pytest.mark.parametrize(
    ("attempt", "number"),
    [
        *[(7, 7), (7.0, 7), ("7", 7), (None, 0), ("seven", 0), ([7], 0), ({}, 0), ("", 0)],
        *[(float("nan"), 0), (float("inf"), 0), ("9" * 5000, 0), (True, 1)],
    ],
)
def test_an_attempt_is_a_number_or_unknown(attempt: Any, number: int) -> None:
    [entry] = parse([{"timestamp": TIME, "jsonPayload": PAYLOAD | {"attempt": attempt}}])
    assert (entry.attempt, entry.attempts) == (number, 20)


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"timestamp": None},
        {"timestamp": "yesterday"},
        {"jsonPayload": None},
        {"jsonPayload": []},
        {"jsonPayload": {}},
        {"jsonPayload": {"step": "other"}},
        {"jsonPayload": {"step": ["write-secret"]}},
        {"labels": "x"},
        {"labels": ["x"]},
        {"textPayload": "x", "jsonPayload": None},
    ],
)
def test_an_entry_of_another_form_is_left_out(odd: dict[str, Any]) -> None:
    right = {"timestamp": TIME, "jsonPayload": PAYLOAD}
    found = {**right, **odd} if odd else {}
    assert len(parse([found, right])) == 1


@pytest.mark.parametrize("following", [None, "grant-rbac", {}, 7, [7, None]])
def test_what_follows_is_a_list_or_nothing(following: Any) -> None:
    [entry] = parse([{"timestamp": TIME, "labels": None, "jsonPayload": PAYLOAD | {"next": following}}])
    assert all(isinstance(one, str) for one in entry.next)


def logged(second: int, step: str, *following: str) -> dict[str, Any]:
    payload = {"step": step, "decision": "unchanged", "next": list(following)}
    return {"timestamp": f"2026-11-24T12:00:{second:02}Z", "jsonPayload": payload}


@pytest.mark.parametrize(("answered", "silent"), [(29, 0), (10, 1)])
def test_a_step_that_logged_just_before_its_publisher_has_answered(answered: int, silent: int) -> None:
    """A step publishes before it logs."""
    entries = parse([logged(answered, "write-secret"), logged(30, "grant-rbac", "write-secret")])
    assert len(Activity(entries).silent(datetime(2026, 11, 24, 12, 1, tzinfo=UTC))) == silent
