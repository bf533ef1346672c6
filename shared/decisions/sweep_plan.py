"""What a sweep requests: the differences, cut by the removal limit, the scope and the budget.

Pure. A plan is a value: it can be compared, printed (`ops plan`), hashed and released.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from shared.decisions.differences import Differences, Finding, PlannedRequest
from shared.values.codes import FindingCode
from shared.values.messages import OutgoingMessage, Scope, StepRequest
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

# `mend` and `remove` follow what the APIs say. `hold` and `drop` follow labels and settings, where one mistake can affect many
# clusters: they count against the removal limit. `check` looks at the binding of an unchanged cluster.
LIMITED_KINDS: Final = ("hold", "drop")
CHECK_ONE_IN: Final = 24


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep requests. `blocked` are the requests that the removal limit stops: more than `allowed` clusters."""

    requests: tuple[PlannedRequest, ...] = ()
    findings: tuple[Finding, ...] = ()
    blocked: tuple[PlannedRequest, ...] = ()
    allowed: int = 0
    hash: str = ""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many requests of each kind."""
        return Counter(ask.kind for ask in self.requests)


def limit(found: Differences, settings: Settings) -> Plan:
    """Return all requests, without those that the removal limit blocks; counted against all our Secrets."""
    limited = [request for request in found.requests if request.kind in LIMITED_KINDS]
    allowed = settings.max_removals.of(found.secrets)
    if len({request.subject for request in limited}) <= allowed:
        return Plan(found.requests, found.findings, (), allowed)
    others = tuple(request for request in found.requests if request.kind not in LIMITED_KINDS)
    return Plan(others, found.findings, tuple(limited), allowed, plan_hash(limited))


def release(found: Differences, settings: Settings, digest: str) -> Plan:
    """Return the requests that the removal limit counts, if `digest` is the hash of exactly these."""
    limited = [request for request in found.requests if request.kind in LIMITED_KINDS]
    allowed, current = settings.max_removals.of(found.secrets), plan_hash(limited) if limited else ""
    if digest == current:
        return Plan(tuple(limited), found.findings, (), allowed, current)
    text = f"is not the hash of what a sweep would hold or drop now ({current or 'nothing'}): nothing is released"
    return Plan((), (*found.findings, Finding(FindingCode.STALE_RELEASE, digest, text)), (), allowed, current)


def select(found: Differences, settings: Settings, scope: Scope, chance: Random) -> Plan:
    """Return what one sweep requests: of what the removal limit lets pass, `SWEEP_REQUESTS` inside the scope.

    The others wait for the next sweep: repairs go first, the rest is chosen at random, so that failing requests
    do not starve the others. Random checks of bindings fill up.
    """
    if scope.release:
        return release(found, settings, scope.release)
    plan = limit(found, settings)
    inside = [request for request in plan.requests if scope.includes(request.next.request, settings.fleet_project)]
    shuffled = chance.sample(inside, len(inside))
    chosen = sorted(shuffled, key=lambda request: request.kind != "mend")[: settings.sweep_requests]
    checks = (
        _check(request)
        for request in found.unchanged
        if scope.includes(request, settings.fleet_project) and chance.random() < 1 / CHECK_ONE_IN
    )
    chosen += itertools.islice(checks, settings.sweep_requests - len(chosen))
    return replace(plan, requests=tuple(chosen))


def _check(request: StepRequest) -> PlannedRequest:
    message = OutgoingMessage("grant-rbac", request)
    return PlannedRequest("check", FindingCode.PERIODIC_CHECK, message, "periodic check of its role binding")


def plan_hash(requests: Iterable[PlannedRequest]) -> str:
    """Hash exactly this set of requests, in any order."""
    bodies = sorted(json.dumps([ask.next.topic, ask.next.body()], sort_keys=True) for ask in requests)
    return hashlib.sha256("\n".join(bodies).encode()).hexdigest()[:16]
