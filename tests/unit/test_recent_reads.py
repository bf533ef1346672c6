"""Several changes of one cluster within seconds become one read (docs/architecture.md#churn)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.runtime.recent_reads import MARGIN, PAUSE, RecentReads
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.messages import StepRequest
from tests.unit.given import BLUE, EDGE, NOW

CHANGE = StepRequest(BLUE.name)
SECOND = timedelta(seconds=1)


def read_once(*, at: float = 0) -> RecentReads:
    recent_reads = RecentReads()
    recent_reads.finished(CHANGE, NOW + timedelta(seconds=at))
    return recent_reads


def test_the_first_read_is_never_held_back() -> None:
    assert not RecentReads().covers(CHANGE, NOW, NOW)


@pytest.mark.parametrize("age", [timedelta(seconds=1.001), timedelta(minutes=9), timedelta(days=2000 * 365)])
def test_a_read_covers_messages_that_were_published_before(age: timedelta) -> None:
    assert read_once().covers(CHANGE, NOW - age, NOW + SECOND)


@pytest.mark.parametrize("published", [NOW - MARGIN, NOW, NOW + SECOND, datetime.max.replace(tzinfo=UTC), None])
def test_a_read_covers_nothing_that_it_may_have_missed(published: object) -> None:
    assert not read_once().covers(CHANGE, published, NOW + PAUSE)  # type: ignore[arg-type]


def test_a_second_read_within_the_pause_is_retried() -> None:
    with pytest.raises(RetryableError) as caught:
        read_once().covers(CHANGE, NOW, NOW + PAUSE - SECOND / 1000)
    assert caught.value.code is ErrorCode.READ_JUST_NOW


def test_a_clock_that_was_set_back_holds_nothing_back() -> None:
    assert not read_once(at=3600).covers(CHANGE, NOW + 2 * PAUSE + timedelta(hours=1), NOW)


@pytest.mark.parametrize(
    "request_",
    [
        StepRequest(BLUE.name, EDGE.name),
        StepRequest(membership=EDGE.name),
        replace(CHANGE, granted="x"),
        replace(CHANGE, drop_labels=frozenset({"env"})),
        replace(CHANGE, leave="remove"),
    ],
)
def test_only_plain_changes_are_held_back(request_: StepRequest) -> None:
    recent_reads = RecentReads()
    recent_reads.finished(request_, NOW)
    assert not recent_reads.covers(request_, NOW - PAUSE, NOW)


def test_a_late_thread_does_not_set_the_time_back() -> None:
    recent_reads = read_once(at=8)
    recent_reads.finished(CHANGE, NOW)
    assert recent_reads.covers(CHANGE, NOW + 6 * SECOND, NOW + 9 * SECOND)


def test_the_memory_is_bounded() -> None:
    recent_reads = read_once()
    for number in range(1000):
        recent_reads.finished(StepRequest(replace(BLUE.name, cluster=f"c{number}")), NOW)
    assert not recent_reads.covers(CHANGE, NOW - PAUSE, NOW)
    assert recent_reads.covers(StepRequest(replace(BLUE.name, cluster="c0")), NOW - PAUSE, NOW)
