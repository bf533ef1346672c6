"""The cluster Secret: holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions import secret_plan
from shared.values.cluster_secret import HELD, ClusterSecret, Hold
from tests.unit.given import (
    NOW,
    patched,
    secret,
)
from tests.unit.secret_plans import LATER, SKIP, plan


def held(current: ClusterSecret, reason: Any, now: Any = NOW) -> ClusterSecret:
    patch = secret_plan.hold(current, reason, now)
    assert patch is not None
    return patched(current, patch)


def test_a_hold_sets_the_secret_aside_and_says_why_and_since_when() -> None:
    now = held(secret(), "going")
    assert now.annotations["fleet-registrar/held"] == "going 2026-11-24T12:00:00Z skip-reconcile=ours"
    assert now.annotations[SKIP] == "true"
    assert now.hold == Hold("going", NOW, owns_skip=True)


def test_what_is_held_for_that_reason_is_not_written_again() -> None:
    assert secret_plan.hold(held(secret(), "going"), "going", LATER) is None


def test_another_reason_restarts_the_time() -> None:
    assert held(held(secret(), "going"), "not-wanted", LATER).hold == Hold("not-wanted", LATER, owns_skip=True)


def test_a_hold_dated_in_the_future_restarts() -> None:
    future = held(secret(), "not-wanted", LATER)
    assert held(future, "not-wanted", NOW).hold == Hold("not-wanted", NOW, owns_skip=True)
    assert secret_plan.hold(future, "not-wanted", LATER) is None


def test_a_hold_without_skip_reconcile_is_repaired_and_keeps_its_time() -> None:
    current = held(secret(), "not-wanted")
    off = replace(current, annotations={key: value for key, value in current.annotations.items() if key != SKIP})
    again = held(off, "not-wanted", LATER)
    assert again.hold == Hold("not-wanted", NOW, owns_skip=True)
    assert again.annotations[SKIP] == "true"


def test_lifting_leaves_nothing_behind() -> None:
    current = held(secret(), "going")
    patch = secret_plan.release(current)
    assert patch is not None
    assert patched(current, patch).annotations == secret().annotations
    assert secret_plan.release(secret()) is None


@pytest.mark.parametrize("again", [(), ("not-wanted",), ("not-wanted", "going")])
def test_a_skip_reconcile_that_a_person_set_stays(again: tuple[str, ...]) -> None:
    current = secret()
    current = held(replace(current, annotations={**current.annotations, SKIP: "true"}), "going")
    for reason in again:
        current = held(current, reason)
    patch = secret_plan.release(current)
    assert patch is not None
    now = patched(current, patch)
    assert now.annotations[SKIP] == "true"
    assert now.hold is None


def test_the_grant_lifts_a_hold_and_nothing_less_does() -> None:
    current = held(secret(), "not-wanted")
    without = plan(current)
    assert (without.patch, without.needs_grant) == (None, True)
    found = plan(current, granted=True)
    assert found.patch is not None
    assert patched(current, found.patch).annotations == secret().annotations


SPOILT_HOLDS = [
    "",
    "going",
    "someday 2026-11-24T12:00:00Z skip-reconcile=ours",
    "going yesterday skip-reconcile=ours",
    "going 2026-11-24 skip-reconcile=ours",
    "going 2026-11-24T12:00:00 skip-reconcile=ours",
    "going 2026-11-24T12:00:00Z",
    "going 2026-11-24T12:00:00Z skip-reconcile=mine",
]


@pytest.mark.parametrize("text", SPOILT_HOLDS)
def test_an_invalid_hold_restarts_and_is_released_whole(text: str) -> None:
    current = secret(held=text)
    current = replace(current, annotations={**current.annotations, SKIP: "true"})
    assert current.hold is None
    again = held(current, "going", LATER)
    assert again.hold == Hold("going", LATER, owns_skip=True)
    for aside in (current, again):
        patch = secret_plan.release(aside)
        assert patch is not None
        assert patched(aside, patch).annotations == secret().annotations


@given(st.builds(Hold, st.sampled_from(["going", "not-wanted", "left-fleet"]), st.just(NOW), st.booleans()))
def test_a_hold_is_read_as_it_is_written(hold: Hold) -> None:
    assert Hold.parse(str(hold)) == hold


def test_a_label_that_says_another_reason_than_the_hold_is_corrected() -> None:
    current = held(secret(), "going")
    mixed = replace(current, labels={**current.labels, "fleet-registrar/held": "not-wanted"})
    now = held(mixed, "not-wanted", LATER)
    assert now.hold == Hold("not-wanted", LATER, owns_skip=True)
    assert secret_plan.hold(mixed, "going", LATER) is not None


def test_an_unreadable_hold_keeps_its_label_until_it_is_released() -> None:
    spoilt = replace(secret(), annotations={**secret().annotations, "fleet-registrar/held": "spoilt"})
    assert plan(spoilt).patch is None
    assert plan(spoilt).needs_grant


def test_label_of_a_hold_shows_that_its_skip_is_ours() -> None:
    """A person removes the annotation alone: Argo CD must not skip the cluster for ever."""
    current = held(secret(), "going")
    edited = replace(current, annotations={key: text for key, text in current.annotations.items() if key != HELD})
    assert held(edited, "going", LATER).hold == Hold("going", LATER, owns_skip=True)
    waiting = plan(edited)
    assert (waiting.patch, waiting.needs_grant) == (None, True)
    patch = plan(edited, granted=True).patch
    assert patch is not None
    assert secret_plan.ends_hold(patch)
    assert HELD not in patched(edited, patch).labels
    assert patched(edited, patch).annotations == secret().annotations


@pytest.mark.parametrize(
    ("since", "read"),
    [
        ("2026-11-24T13:00:00+01:00", NOW),
        ("2026-11-24T12:00:00.000000000Z", NOW),
        ("9999-12-31T23:59:59-12:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("2026-11-24T12:00:00", None),
        ("2026-11-24T12:00:61Z", None),
        ("1795521600", None),
    ],
)
def test_a_hold_is_read_in_utc_or_not_at_all(since: str, read: Any) -> None:
    """A person may have written it; no time of theirs stops a step."""
    found = Hold.parse(f"going {since} skip-reconcile=ours")
    assert (found and found.since) == read
    current = secret(held=f"going {since} skip-reconcile=ours")
    assert patched(current, secret_plan.hold(current, "left-fleet", NOW) or {}).hold == Hold(
        "left-fleet", NOW, owns_skip=True
    )
