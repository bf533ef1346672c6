"""`ops doctor --canary CLUSTER`: publishes one redundant request and follows it through the log entries to its end.

The chain reads everything and changes nothing where nothing differs. It proves what no list can: that pushes are accepted, that
each function reaches its APIs, and that its log entries arrive.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ops import survey
from ops.doctor.api import Api, RefusedError
from ops.doctor.codes import Code
from ops.doctor.findings import Finding, Status
from ops.doctor.observed import at
from ops.doctor.reading_google import timestamp
from ops.partial import SECONDS, survey_in_parts
from ops.terminal import MistakeError
from shared.runtime.services import Services
from shared.values.codes import Decision
from shared.values.commands import gcloud
from shared.values.errors import ReconcileError
from shared.values.messages import OutgoingMessage, StepRequest
from shared.values.names import ClusterName
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


FIRST: Final = "register-membership"
# A cold start of three functions and Cloud Logging's own delay; a retry comes after ten seconds at the earliest.
WAIT_SECONDS: Final = 180.0
POLL_SECONDS: Final = 1.0
FAILED: Final = frozenset({Decision.DEAD_LETTERED, Decision.DROPPED, Decision.BLOCKED})
ENDS: Final = frozenset({"cluster-events", "dead-letters"})


@dataclass(frozen=True, slots=True)
class Line:
    """One log entry of a step."""

    step: str
    decision: str
    code: str
    message: str
    next: tuple[str, ...]
    time: str

    @property
    def is_last(self) -> bool:
        """Whether nothing follows: no further step, no retry."""
        return self.decision != Decision.RETRY and not set(self.next) - ENDS


def run(services: Services, environment: Mapping[str, str], cluster: str) -> list[Finding]:
    """Publish one request for a cluster and follow it. Writes nothing else."""
    try:
        name = survey.find(cluster, survey_in_parts(services), dict(services.settings.numbers))
        request = StepRequest(cluster=name) if isinstance(name, ClusterName) else StepRequest(membership=name)
        cause = f"doctor canary {secrets.token_hex(6)}"
        services.bus.publish_object(FIRST, OutgoingMessage(FIRST, request).body(), {"cause": cause})
        lines = _follow(Api(services.session, environment, SECONDS), services.settings.pubsub_project, cause)
    except (ReconcileError, RefusedError, MistakeError) as error:
        return [Finding("canary", Status.UNKNOWN, cluster, str(error), "", Code.UNREAD)]
    return verdict(str(name), lines, services.settings.pubsub_project, cause)


def verdict(subject: str, lines: Sequence[Line], project: str, cause: str) -> list[Finding]:
    """Say how the request ended. Pure."""
    read = gcloud("logging read", f'labels.cause="{cause}"', project=project)
    text = " → ".join(f"{one.step} {one.decision}" for one in lines)
    last = next((one for one in reversed(lines) if one.is_last), None)
    if last is None:
        where = (
            f"after {text}" if lines else f"before any log entry: {FIRST} was not called, or its log does not arrive"
        )
        message = f"not at its end {WAIT_SECONDS:.0f} s after it was published, {where}"
        return [Finding("canary", Status.WARN, subject, message, read, Code.CANARY_LATE)]
    if last.decision in FAILED:
        message = f"ended in {last.step} with {last.decision} ({last.code}): {last.message}"
        return [Finding("canary", Status.FAIL, subject, message, read, Code.CANARY_FAILED)]
    seconds = _seconds(lines)
    return [Finding("canary", Status.PASS, subject, f"{text}; {seconds:.1f} s from the first entry to the last")]


def lines_of(entries: Sequence[Object]) -> list[Line]:
    """Return what the steps decided, each before what it led to. Entries of a request, without a decision, are left out.

    A step publishes before it logs, so the next step's entry may be the earlier one.
    """
    found = []
    for entry in entries:
        payload: Any = entry.get("jsonPayload") or {}
        if not payload.get("decision"):
            continue
        following = payload.get("next")
        found.append(
            Line(
                step=str(payload.get("step") or at(entry, "labels", "step") or ""),
                decision=str(payload["decision"]),
                code=str(payload.get("code") or ""),
                message=str(payload.get("message") or ""),
                next=tuple(map(str, following)) if isinstance(following, list) else (),
                time=str(entry.get("timestamp") or ""),
            )
        )
    ordered: list[Line] = []
    while found:
        first = next((one for one in found if not _is_named(one, found)), found[0])
        found.remove(first)
        ordered.append(first)
    return ordered


def is_whole(lines: Sequence[Line]) -> bool:
    """Whether the last entry is there, and the entry of each step that led to another."""
    return any(one.is_last for one in lines) and all(one.step == FIRST or _is_named(one, lines) for one in lines)


def _is_named(line: Line, lines: Sequence[Line]) -> bool:
    return any(line.step in other.next for other in lines)


def _follow(api: Api, project: str, cause: str) -> list[Line]:
    """Read the entries of a cause until the last one is there, or the time is over."""
    query = {
        "resourceNames": [f"projects/{project}"],
        "filter": f'labels.cause="{cause}"',
        "orderBy": "timestamp asc",
        "pageSize": 100,
    }
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        lines = lines_of(api.post("logging", "v2/entries:list", query).get("entries") or [])
        if is_whole(lines) or time.monotonic() > deadline:
            return lines
        time.sleep(POLL_SECONDS)


def _seconds(lines: Sequence[Line]) -> float:
    times = [found for one in lines if (found := timestamp(one.time)) is not None]
    return (max(times) - min(times)).total_seconds() if times else 0.0
