"""What a sweep requests: shares for every kind, a turn for every request, and limits that a hash releases."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta

import pytest

from shared.decisions.sweep_plan import SHARES, hash_of_seals, limit, sealed, select, shares, take_turn
from shared.values.codes import FindingCode, Limit
from shared.values.findings import Check, Differences, PlannedRequest
from shared.values.messages import OutgoingMessage, Scope, StepRequest
from shared.values.names import ClusterName
from tests.unit.given import NOW, settings


def name(number: int) -> ClusterName:
    return ClusterName("demo-apps", "europe-west1", f"c{number:05}")


def request(number: int, kind: str = "repair", over: Limit | None = None, uid: str = "") -> PlannedRequest:
    message = OutgoingMessage("register-membership", StepRequest(name(number)))
    return PlannedRequest(kind, FindingCode.NO_SECRET, message, "a reason", over, uid)  # type: ignore[arg-type]


def found(*requests: PlannedRequest, unchanged: int = 0, secrets: int = 100, left: int = 0) -> Differences:
    checks = tuple(Check("grant-rbac", name(number), None) for number in range(unchanged))
    return Differences(requests, (), checks, secrets, left)


@pytest.mark.parametrize("every", [1, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1440])
@pytest.mark.parametrize(("number", "share"), [(250, 10), (60, 1), (40, 25), (13, 2), (5, 3), (3, 2), (2, 1)])
def test_every_request_has_its_turn_within_six_rounds(every: int, number: int, share: int) -> None:
    """While all of them keep failing: a round is as many sweeps as the shares need to hold all of them once."""
    waiting = [request(index) for index in range(number)]
    seen: set[str] = set()
    sweeps = 6 * math.ceil(number / share)
    for index in range(sweeps):
        seen |= {each.subject for each in take_turn(waiting, share, NOW + timedelta(minutes=every * index))}
    assert len(seen) == number


def test_checks_visit_every_unchanged_cluster() -> None:
    """Also where the checks of one sweep are more than its budget: here 21 of 10."""
    everything = found(unchanged=500, secrets=500)
    seen = Counter(
        each.subject
        for index in range(6 * 50)
        for each in select(
            everything, settings(SWEEP_REQUESTS="10"), Scope(), NOW + timedelta(minutes=15 * index)
        ).requests
    )
    assert len(seen) == 500


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        (
            {"repair": 1000, "remove": 1000, "hold": 1000, "check": 1000},
            {"repair": 100, "remove": 50, "hold": 25, "check": 25},
        ),
        ({"repair": 1000}, {"repair": 200}),
        ({"check": 1000}, {"check": 200}),
        ({"repair": 1000, "remove": 3}, {"repair": 197, "remove": 3}),
        ({"repair": 10, "remove": 10}, {"repair": 10, "remove": 10}),
        ({"repair": 150, "remove": 150}, {"repair": 100, "remove": 100}),
        ({}, {}),
    ],
)
def test_shares_leave_room_for_every_kind(waiting: dict[str, int], expected: dict[str, int]) -> None:
    assert shares(waiting, 200) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", range(1, 40))
def test_shares_never_exceed_the_budget(budget: int) -> None:
    given = shares({"repair": 99, "remove": 99, "hold": 99, "check": 99}, budget)
    assert sum(given.values()) == budget


@pytest.mark.parametrize(
    ("over", "clusters", "secrets", "stopped"),
    [
        (Limit.LEAVING, 10, 100, False),
        (Limit.LEAVING, 11, 100, True),
        (Limit.LEAVING, 1, 1, True),
        (Limit.LEFT, 11, 100, True),
        (Limit.GONE, 25, 100, False),
        (Limit.GONE, 26, 100, True),
        (Limit.GONE, 10, 10, False),
        (Limit.GONE, 11, 12, True),
    ],
)
def test_each_limit_counts_against_all_secrets(over: Limit, clusters: int, secrets: int, stopped: bool) -> None:
    requests = [request(index, "remove", over) for index in range(clusters)]
    plan = limit(found(*requests, request(999), secrets=secrets), settings())
    assert [reached.limit for reached in plan.reached] == ([over] if stopped else [])
    assert len(plan.requests) == 1 + (0 if stopped else clusters)


def test_what_is_held_for_leaving_the_fleet_counts_until_it_is_gone() -> None:
    plan = limit(found(request(1, "remove", Limit.LEFT), left=20), settings())
    assert [(reached.limit, reached.clusters) for reached in plan.reached] == [(Limit.LEFT, 20)]


def test_a_limit_that_is_reached_stops_no_other() -> None:
    requests = [request(index, "hold", Limit.LEAVING) for index in range(50)]
    plan = limit(found(*requests, request(60, "remove", Limit.GONE)), settings())
    assert [each.limit for each in plan.requests] == [Limit.GONE]


def test_the_hash_of_a_plan_needs_the_uids_of_its_secrets() -> None:
    plans = [
        limit(found(*(request(n, "hold", Limit.LEAVING, uid) for n in range(20))), settings()) for uid in ("a", "b")
    ]
    assert plans[0].reached[0].hash != plans[1].reached[0].hash


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (8, {"repair": 4, "remove": 2, "hold": 1, "check": 1}),
        (4, {"repair": 2, "remove": 1, "hold": 1}),
        (1, {"remove": 1}),
    ],
)
def test_a_small_budget_has_one_request_of_a_kind_at_least(budget: int, expected: dict[str, int]) -> None:
    assert shares(dict.fromkeys(SHARES, 99), budget) == expected


@pytest.mark.parametrize("number", [3, 4, 9])
def test_a_window_that_is_wide_enough_holds_every_request_once(number: int) -> None:
    waiting = [request(index) for index in range(3)]
    assert sorted(each.subject for each in take_turn(waiting, number, NOW)) == [each.subject for each in waiting]


def test_a_turn_holds_no_more_than_its_number() -> None:
    waiting = [request(index) for index in range(9)]
    for number in range(9):
        assert len({each.subject for each in take_turn(waiting, number, NOW)}) == number


def test_requests_and_checks_stay_inside_the_scope_of_a_sweep() -> None:
    everything = found(request(7), request(8), request(9, "drop"), unchanged=100)
    chosen = select(everything, settings(), Scope(cluster=name(7)), NOW).requests
    assert [(each.kind, each.subject) for each in chosen] == [("repair", str(name(7))), ("check", str(name(7)))]
    whole = select(everything, settings(), Scope(), NOW).requests
    assert {each.subject for each in whole if each.kind != "check"} == {str(name(n)) for n in (7, 8, 9)}


def test_what_left_the_fleet_counts_against_no_other_limit() -> None:
    requests = [request(1, "hold", Limit.LEAVING), request(2, "remove", Limit.GONE)]
    assert limit(found(*requests, left=99), settings()).reached == ()


BLOCKED = tuple(request(index, "hold", Limit.LEAVING, f"uid-{index}") for index in range(20))
HASH = limit(found(*BLOCKED), settings()).reached[0].hash
SEALS = sealed(found(*BLOCKED), settings(), HASH) or ()


def test_a_release_has_a_seal_for_each_request_of_its_plan() -> None:
    assert len(set(SEALS)) == 20
    assert sealed(found(*BLOCKED[1:]), settings(), HASH) is None
    assert sealed(found(), settings(), hash_of_seals(())) is None


def test_a_release_requests_what_its_plan_still_lacks_and_nothing_else() -> None:
    """docs/architecture.md#removal-limits: a run that was interrupted continues with the rest of the same plan."""
    late = request(30, "hold", Limit.LEAVING, "uid-30")
    rest = found(*BLOCKED[5:], late, request(31))
    plan = select(rest, settings(), Scope(release=HASH, seals=SEALS), NOW)
    assert plan.requests == BLOCKED[5:]
    assert plan.findings == ()


@pytest.mark.parametrize("seals", [(), SEALS[1:], (*SEALS, "x"), ("x",)])
def test_a_release_whose_seals_are_not_its_plans_releases_nothing(seals: tuple[str, ...]) -> None:
    plan = select(found(*BLOCKED), settings(), Scope(release=HASH, seals=seals), NOW)
    assert plan.requests == ()
    assert [(each.code, each.subject) for each in plan.findings] == [(FindingCode.STALE_RELEASE, HASH)]


def test_one_in_24_of_the_unchanged_clusters_is_checked() -> None:
    for unchanged, checks in ((0, 0), (1, 1), (24, 1), (25, 2), (240, 10)):
        assert len(select(found(unchanged=unchanged), settings(), Scope(), NOW).requests) == checks


def test_a_limit_counts_clusters_and_not_requests() -> None:
    twice = [request(index, kind, Limit.LEAVING) for index in range(10) for kind in ("hold", "drop")]
    assert limit(found(*twice), settings()).reached == ()


def test_the_hash_of_a_limit_covers_its_own_requests_alone() -> None:
    """So that another difference does not make a person's release stale."""
    others = (request(50), request(51, "remove", Limit.GONE))
    assert limit(found(*BLOCKED, *others), settings()).reached[0].hash == HASH
