"""`ops doctor --canary CLUSTER`: publishes one redundant request and follows it through the log entries to its end.

The chain reads everything and changes nothing where nothing differs. It proves what no list can: that pushes are accepted, that
each function reaches its APIs, and that its log entries arrive.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from ops import survey
from ops.activity import Entry, log_query, parse, quoted
from ops.doctor.api import Api, RefusedError
from ops.doctor.codes import Code
from ops.doctor.findings import Finding, Status, Unread
from ops.doctor.reading_google import LOOK_BACK
from ops.partial import SECONDS, survey_in_parts
from ops.plan import check_project
from ops.survey import Snapshot
from ops.terminal import MistakeError, UnreadError
from shared.runtime.services import Services
from shared.values.codes import Decision
from shared.values.commands import gcloud
from shared.values.errors import ReconcileError
from shared.values.messages import request_for
from shared.values.names import ClusterName, Name
from shared.values.objects import Object
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


FIRST: Final = "register-membership"
# A cold start of three functions and Cloud Logging's own delay; a retry comes after ten seconds at the earliest.
WAIT_SECONDS: Final = 180.0
POLL_SECONDS: Final = 1.0
FAILED: Final = frozenset({Decision.DEAD_LETTERED, Decision.DROPPED, Decision.BLOCKED})
ENDS: Final = frozenset({"cluster-events", "dead-letters"})


def find(services: Services, cluster: str) -> Name | Unread:
    """Return the cluster that a person means. Raises MistakeError if the lists that were read have no such cluster."""
    try:
        seen = survey_in_parts(services)
        name = survey.find(cluster, seen, dict(services.settings.numbers))
    except (ReconcileError, UnreadError) as error:
        return Unread(str(error))
    check(name, seen, services.settings)
    return name


def check(name: Name, seen: Snapshot, settings: Settings) -> None:
    """Raise MistakeError for a cluster that does not exist, or is in a project that no sweep reads. Pure."""
    inventory = seen.inventory
    if isinstance(name, ClusterName):
        check_project(name.project, seen, settings)
        absent = inventory.knows(name) and name not in inventory.clusters
    else:
        absent = not seen.fleet_unread and inventory.knows_membership(name) and name not in inventory.memberships
    if absent:
        raise MistakeError(f"{name} does not exist. List all clusters: python -m ops list")


def run(services: Services, environment: Mapping[str, str], name: Name) -> list[Finding]:
    """Publish one request for a cluster and follow it. Writes nothing else."""
    try:
        cause = f"doctor canary {secrets.token_hex(6)}"
        services.bus.publish_object(FIRST, request_for(name).body(), {"cause": cause})
        query = log_query(
            services.settings.pubsub_project, f"labels.cause={quoted(cause)}", services.now() - LOOK_BACK, 100
        )
        lines = _follow(Api(services.session, environment, SECONDS), query)
    except (ReconcileError, RefusedError) as error:
        return [Finding("canary", Status.UNKNOWN, str(name), str(error), "", Code.UNREAD)]
    return verdict(str(name), lines, services.settings.pubsub_project, cause)


def verdict(subject: str, lines: Sequence[Entry], project: str, cause: str) -> list[Finding]:
    """Say how the request ended. Pure."""
    read = gcloud("logging read", f'labels.cause="{cause}"', project=project)
    text = " → ".join(f"{one.step} {one.decision}" for one in lines)
    last = next(filter(_is_last, reversed(lines)), None)
    if last is None:
        where = (
            f"after {text}" if lines else f"before any log entry: {FIRST} was not called, or its log does not arrive"
        )
        message = f"not at its end {WAIT_SECONDS:.0f} s after it was published, {where}"
        return [Finding("canary", Status.WARN, subject, message, read, Code.CANARY_LATE)]
    if last.decision in FAILED:
        message = f"ended in {last.step} with {last.decision} ({last.code}): {last.message}"
        return [Finding("canary", Status.FAIL, subject, message, read, Code.CANARY_FAILED)]
    times = [one.time for one in lines]
    seconds = (max(times) - min(times)).total_seconds()
    return [Finding("canary", Status.PASS, subject, f"{text}; {seconds:.1f} s from the first entry to the last")]


def lines_of(found: Sequence[Object]) -> list[Entry]:
    """Return the steps' decisions in the order of the chain, without entries that have no decision.

    A step publishes before it logs, so the next step's entry may be the earlier one.
    """
    left = sorted((one for one in parse(found) if one.decision), key=lambda one: one.time)
    ordered: list[Entry] = []
    while left:
        first = next((one for one in left if not _is_named(one, left)), left[0])
        left.remove(first)
        ordered.append(first)
    return ordered


def is_whole(lines: Sequence[Entry]) -> bool:
    """Whether the last entry is there, and the entry of each step that led to another."""
    return any(map(_is_last, lines)) and all(one.step == FIRST or _is_named(one, lines) for one in lines)


def _is_last(line: Entry) -> bool:
    """Whether nothing follows: no further step, no retry."""
    return line.decision != Decision.RETRY and not set(line.next) - ENDS


def _is_named(line: Entry, lines: Sequence[Entry]) -> bool:
    return any(line.step in other.next for other in lines)


def _follow(api: Api, query: Object) -> list[Entry]:
    """Read the entries of a cause until the last one exists, or the time is over."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        lines = lines_of(api.entries(query))
        if is_whole(lines) or time.monotonic() > deadline:
            return lines
        time.sleep(POLL_SECONDS)
