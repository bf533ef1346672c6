"""An instance's share of Connect Gateway's quota: never more in a minute, and nobody waits after a quiet time."""

from __future__ import annotations

import pytest

from local.google.quotas import Quotas
from local.google.wire import GoogleError
from ops.pace import CLUSTERS_A_MINUTE
from shared.clients import deadline
from shared.clients.request_budget import BURST_SECONDS, RequestBudget
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError

CALLS = 3
# Terraform's default for all, divided by four functions; and what write-secret makes of it for a new cluster.
SHARE, CALLS_OF_A_NEW_CLUSTER = 2000 // 4, 5


class Clock:
    """A time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def budget(clock: Clock, a_minute: int) -> RequestBudget:
    return RequestBudget(a_minute, clock, clock.sleep)


def run_steps(found: RequestBudget, clock: Clock, count: int, calls: int = CALLS) -> list[float]:
    """Run steps one after the other; return when each request was made."""
    times = []
    for _ in range(count):
        found.wait()
        for _ in range(calls):
            found.spend()
            times.append(clock.now)
    return times


@pytest.mark.parametrize("a_minute", [7, 50, 600])
def test_no_minute_has_more_than_the_share_and_one_steps_requests(a_minute: int) -> None:
    clock = Clock()
    times = run_steps(budget(clock, a_minute), clock, 60)
    busiest = max(sum(start <= at < start + 60 for at in times) for start in times)
    assert busiest <= a_minute + CALLS


def test_the_share_is_used_when_it_is_needed() -> None:
    clock = Clock()
    times = run_steps(budget(clock, 60), clock, 100)
    assert len(times) / times[-1] >= 0.8


def test_500_new_clusters_take_six_minutes_with_the_default_share() -> None:
    """docs/scale.md#the-gateways-quota says so."""
    clock = Clock()
    run_steps(budget(clock, SHARE), clock, 500, CALLS_OF_A_NEW_CLUSTER)
    assert 5.5 < clock.now / 60 < 6


def test_the_backfill_is_no_faster_than_the_default_share() -> None:
    clock = Clock()
    run_steps(budget(clock, SHARE), clock, 1000, CALLS_OF_A_NEW_CLUSTER)
    assert 1000 / (clock.now / 60) >= CLUSTERS_A_MINUTE


def test_the_first_steps_after_a_quiet_time_do_not_wait() -> None:
    clock = Clock()
    found = budget(clock, 60)
    run_steps(found, clock, 20)
    clock.now += 2 * BURST_SECONDS
    clock.slept.clear()
    run_steps(found, clock, 3)
    assert clock.slept == []


def test_zero_is_no_limit() -> None:
    clock = Clock()
    found = budget(clock, 0)
    run_steps(found, clock, 1000)
    found.exhaust()
    found.wait()
    assert clock.slept == []


def test_a_refusal_of_the_gateway_makes_the_next_steps_wait() -> None:
    clock = Clock()
    found = budget(clock, 60)
    found.exhaust()
    found.wait()
    assert clock.now >= BURST_SECONDS


def test_a_wait_that_is_too_long_gives_the_message_back() -> None:
    clock = Clock()
    found = budget(clock, 1)
    run_steps(found, clock, 1)
    with deadline.within(20), pytest.raises(RetryableError) as raised:
        found.wait()
    assert raised.value.code is ErrorCode.RATE_LIMITED
    assert clock.slept == []


def test_the_local_gateway_refuses_what_exceeds_a_minutes_quota() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    quotas.change("connectgateway.googleapis.com", "connectgateway.googleapis.com/requests", 3)
    for _ in range(3):
        quotas.require_gateway_request(1)
    with pytest.raises(GoogleError) as raised:
        quotas.require_gateway_request(1)
    assert (raised.value.code, raised.value.status) == (429, "RESOURCE_EXHAUSTED")
    clock.now += 61
    quotas.require_gateway_request(1)
