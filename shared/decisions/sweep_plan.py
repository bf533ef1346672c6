"""What a sweep requests: the differences, cut by the removal limits, the scope and the budget.

Pure. A plan is a value: it can be compared, printed (`ops plan`), hashed and released.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from shared.decisions import reports
from shared.values.codes import FindingCode, Limit
from shared.values.findings import Check, Differences, Finding, Kind, PlannedRequest
from shared.values.messages import OutgoingMessage, Scope
from shared.values.settings import RemovalLimit, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

R = TypeVar("R", PlannedRequest, Check)

# What a sweep may remove of clusters that both APIs say are gone; a deletion's own event is not limited.
GONE_LIMIT: Final = RemovalLimit(25, percent=True, least=10, all_allowed=True)
CHECK_ONE_IN: Final = 24
# Shares of SWEEP_REQUESTS: what one kind cannot use goes to the others, in this order.
SHARES: Final[Mapping[Kind, float]] = {"remove": 0.25, "hold": 0.125, "repair": 0.5, "check": 0.125}
_POOLS: Final[Mapping[Kind, Kind]] = {"drop": "hold"}  # both follow labels and settings
# What a limit counts, and what sets it: for the sweep's log and for `ops`.
COUNTS: Final[Mapping[Limit, tuple[str, str]]] = {
    Limit.LEAVING: ("would newly be held or lose a label key", "MAX_REMOVALS"),
    Limit.LEFT: ("have left the fleet", "MAX_REMOVALS"),
    Limit.GONE: ("are gone and would be removed", "25 %, at least 10"),
}
# How far a turn moves on in a minute, as a part of the whole: with this number the windows of all schedules from one
# minute to one day spread evenly. The golden ratio does not: twelve hours of it are almost whole turns.
_PACE: Final = 0.626965


@dataclass(frozen=True, slots=True)
class Reached:
    """A removal limit that is reached: none of these requests is published.

    `clusters` counts what the limit counts, `allowed` is the limit. `hash` names exactly these requests: it covers the
    uids of the Secrets, so only a reader of the Secrets can compute it.
    """

    limit: Limit
    requests: tuple[PlannedRequest, ...]
    clusters: int
    allowed: int
    hash: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep requests, what it reports, and the removal limits that are reached."""

    requests: tuple[PlannedRequest, ...] = ()
    findings: tuple[Finding, ...] = ()
    reached: tuple[Reached, ...] = ()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many requests of each kind."""
        return Counter(request.kind for request in self.requests)

    @property
    def blocked(self) -> tuple[PlannedRequest, ...]:
        """Everything that the removal limits stop."""
        return tuple(request for reached in self.reached for request in reached.requests)


def limit(found: Differences, settings: Settings) -> Plan:
    """Return all requests, without those that a removal limit stops; each counts against all Secrets of this instance."""
    reached = tuple(group for group in _groups(found, settings) if group.requests and group.clusters > group.allowed)
    limits = {group.limit for group in reached}
    passed = tuple(request for request in found.requests if request.limit not in limits)
    return Plan(passed, found.findings, reached)


def sealed(found: Differences, settings: Settings, digest: str) -> tuple[str, ...] | None:
    """Return the seals of the requests that a release with this hash covers; None: no such plan exists now."""
    for group in _groups(found, settings):
        if group.requests and group.hash == digest:
            return tuple(seal(request) for request in group.requests)
    return None


def release(found: Differences, settings: Settings, scope: Scope) -> Plan:
    """Return the requests that a released plan still has to make.

    A release without its seals releases nothing itself: the sweep publishes the seals to itself first, so that a plan that
    is not published in one run continues in the next one.
    """
    if scope.seals and hash_of_seals(scope.seals) == scope.release:
        released = frozenset(scope.seals)
        requests = tuple(request for request in found.requests if request.limit and seal(request) in released)
        return Plan(requests, found.findings)
    current = ", ".join(f"{group.limit}: {group.hash}" for group in _groups(found, settings) if group.requests)
    text = f"is not the hash of a plan that a removal limit stops now ({current or 'no limit stops any'}): nothing is released"
    return Plan((), (*found.findings, Finding(FindingCode.STALE_RELEASE, scope.release, text, reports.PLAN)))


def select(found: Differences, settings: Settings, scope: Scope, now: datetime) -> Plan:
    """Return the requests of one sweep: at most `SWEEP_REQUESTS` in the scope, within the removal limits.

    Every kind has a share, so that requests that cannot succeed do not starve the others. Inside a kind the turn moves on
    from sweep to sweep: see `take_turn`.
    """
    if scope.release:
        return release(found, settings, scope)
    plan = limit(found, settings)
    waiting: dict[Kind, list[PlannedRequest]] = defaultdict(list)
    for request in plan.requests:
        if scope.includes(request.next.request.cluster, settings.fleet_project):
            waiting[_POOLS.get(request.kind, request.kind)].append(request)
    checks = [one for one in found.unchanged if scope.includes(one.cluster, settings.fleet_project)]
    numbers = {kind: len(several) for kind, several in waiting.items()}
    numbers["check"] = min(len(checks), math.ceil(len(found.unchanged) / CHECK_ONE_IN))
    chosen: list[PlannedRequest] = []
    for kind, number in shares(numbers, settings.sweep_requests).items():
        # There is a check for each cluster: only the chosen ones become requests.
        chosen += (
            map(_check, take_turn(checks, number, now)) if kind == "check" else take_turn(waiting[kind], number, now)
        )
    return replace(plan, requests=tuple(chosen))


def shares(waiting: Mapping[Kind, int], budget: int) -> dict[Kind, int]:
    """Divide the budget: each kind gets its share or what it needs, and the rest goes to those that need more."""
    given: dict[Kind, int] = {}
    for kind, share in SHARES.items():
        given[kind] = min(waiting.get(kind, 0), max(int(share * budget), 1), budget - sum(given.values()))
    for kind in SHARES:
        given[kind] += min(waiting.get(kind, 0) - given[kind], budget - sum(given.values()))
    return {kind: number for kind, number in given.items() if number}


def take_turn(requests: Sequence[R], number: int, now: datetime) -> list[R]:
    """Return `number` of the requests: a window over a fixed order of the subjects that moves on with the time.

    The fixed order is that of a hash, and the window starts at the fraction of (minute x `_PACE`) of it. So every request has
    its turn within a few times `len(requests) / number` sweeps, also while all of them keep failing.
    """
    if number >= len(requests):
        return list(requests)
    order = sorted(requests, key=lambda request: hashlib.sha256(request.subject.encode()).digest())
    first = int(now.timestamp() // 60 * _PACE % 1 * len(order))
    return [order[(first + index) % len(order)] for index in range(number)]


def _groups(found: Differences, settings: Settings) -> list[Reached]:
    by_limit: dict[Limit, list[PlannedRequest]] = {name: [] for name in Limit}
    for request in found.requests:
        if request.limit is not None:
            by_limit[request.limit].append(request)
    groups = []
    for name, requests in by_limit.items():
        allowance = GONE_LIMIT if name is Limit.GONE else settings.max_removals
        clusters = len({request.subject for request in requests})
        # A Secret that is held as `left-fleet` counts until it is removed or released, whatever held it.
        clusters = max(clusters, found.left) if name is Limit.LEFT else clusters
        seals = [seal(request) for request in requests]
        groups.append(Reached(name, tuple(requests), clusters, allowance.of(found.secrets), hash_of_seals(seals)))
    return groups


def _check(one: Check) -> PlannedRequest:
    message = OutgoingMessage(one.topic, one.request)
    return PlannedRequest("check", FindingCode.PERIODIC_CHECK, message, "periodic check of its role binding")


def seal(request: PlannedRequest) -> str:
    """Name exactly this request, for exactly this Secret."""
    text = json.dumps([request.next.topic, request.next.body(), request.uid], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_of_seals(seals: Iterable[str]) -> str:
    """Hash a set of requests, in any order."""
    return hashlib.sha256("\n".join(sorted(seals)).encode()).hexdigest()[:16]
