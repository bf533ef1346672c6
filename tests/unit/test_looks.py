"""Several changes of one cluster within seconds become one look (docs/architecture.md#churn)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.runtime.looks import MARGIN, PAUSE, Looks
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.messages import StepRequest
from tests.unit.given import BLUE, EDGE, NOW

CHANGE = StepRequest(BLUE.name)
SECOND = timedelta(seconds=1)


def looked(*, at: float = 0) -> Looks:
    looks = Looks()
    looks.finished(CHANGE, NOW + timedelta(seconds=at))
    return looks


def test_the_first_look_is_never_held_back() -> None:
    assert not Looks().covers(CHANGE, NOW, NOW)


@pytest.mark.parametrize("age", [timedelta(seconds=1.001), timedelta(minutes=9)])
def test_a_look_covers_messages_that_were_published_before(age: timedelta) -> None:
    assert looked().covers(CHANGE, NOW - age, NOW + SECOND)


@pytest.mark.parametrize("published", [NOW - MARGIN, NOW, NOW + SECOND, None])
def test_a_look_covers_nothing_that_it_may_have_missed(published: object) -> None:
    assert not looked().covers(CHANGE, published, NOW + PAUSE)  # type: ignore[arg-type]


def test_a_second_look_within_the_pause_is_retried() -> None:
    with pytest.raises(RetryableError) as caught:
        looked().covers(CHANGE, NOW, NOW + PAUSE - SECOND / 1000)
    assert caught.value.code is ErrorCode.READ_JUST_NOW


def test_a_clock_that_was_set_back_holds_nothing_back() -> None:
    assert not looked(at=3600).covers(CHANGE, NOW + 2 * PAUSE + timedelta(hours=1), NOW)


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
    looks = Looks()
    looks.finished(request_, NOW)
    assert not looks.covers(request_, NOW - PAUSE, NOW)


def test_a_late_thread_does_not_set_the_time_back() -> None:
    looks = looked(at=8)
    looks.finished(CHANGE, NOW)
    assert looks.covers(CHANGE, NOW + 6 * SECOND, NOW + 9 * SECOND)


def test_the_memory_is_bounded() -> None:
    looks = looked()
    for number in range(1000):
        looks.finished(StepRequest(replace(BLUE.name, cluster=f"c{number}")), NOW)
    assert not looks.covers(CHANGE, NOW - PAUSE, NOW)
    assert looks.covers(StepRequest(replace(BLUE.name, cluster="c0")), NOW - PAUSE, NOW)
