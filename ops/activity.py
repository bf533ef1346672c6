"""The functions' log entries about one cluster: the last of each step, its attempt, and the next one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ops.terminal import ago, one_line
from shared.values.codes import Decision
from shared.values.messages import STEPS
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FAILURES: Final = (Decision.RETRY, Decision.DEAD_LETTERED, Decision.DROPPED)
# Without a fault, a message takes at most this time: a cold start, a busy gateway.
ON_ITS_WAY: Final = timedelta(minutes=2)
# A step publishes before it logs, so the next step's entry may be older than its own entry, by at most this time.
LOGGED_AFTER: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Entry:
    """One log entry of a step. `attempt` of `attempts` is 0 where it was not logged; `next` are the topics that follow."""

    time: datetime
    step: str
    decision: str
    code: str
    message: str
    attempt: int = 0
    attempts: int = 0
    next: tuple[str, ...] = ()
    is_from_sweep: bool = False
    cluster: str = ""
    membership: str = ""

    @property
    def subject(self) -> str:
        """The cluster, or the attached cluster's membership; '' where the message named none."""
        return self.cluster or self.membership

    @property
    def failed(self) -> bool:
        """Whether the step failed."""
        return self.decision in FAILURES


@dataclass(frozen=True, slots=True)
class Log:
    """What the functions logged in the last day, the newest first. `unread` says why the log could not be read.

    `entries` are the last decisions of all functions, `failures` the last errors, `sweeps` the last sweeps.
    """

    entries: tuple[Entry, ...] = ()
    failures: tuple[Entry, ...] = ()
    sweeps: tuple[Entry, ...] = ()
    unread: str = ""

    @property
    def known(self) -> tuple[Entry, ...]:
        """All entries once, the newest first."""
        return tuple(sorted({*self.entries, *self.failures}, key=lambda entry: entry.time, reverse=True))

    def last_success(self, step: str) -> Entry | None:
        """Return the newest entry of a step that is no failure."""
        return next((one for one in (*self.entries, *self.sweeps) if one.step == step and not one.failed), None)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long Pub/Sub waits before a message comes again: doubled each time, at most `longest`."""

    shortest: timedelta = timedelta(seconds=10)
    longest: timedelta = timedelta(seconds=600)

    def wait(self, attempt: int) -> timedelta:
        """Return the wait after that many attempts."""
        return min(self.longest, self.shortest * (1 << min(max(attempt - 1, 0), 20)))


@dataclass(frozen=True, slots=True)
class Activity:
    """The entries about a cluster, the newest first; `policies` by step, as far as they were read. `unread` says why not."""

    entries: tuple[Entry, ...] = ()
    policies: Mapping[str, RetryPolicy] | None = None
    unread: str = ""

    @property
    def last(self) -> list[Entry]:
        """The last entry of each step, the oldest first."""
        found: dict[str, Entry] = {}
        for entry in self.entries:
            found.setdefault(entry.step, entry)
        return sorted(found.values(), key=lambda entry: entry.time)

    @property
    def failing(self) -> list[Entry]:
        """The steps whose last entry is a failure."""
        return [entry for entry in self.last if entry.failed]

    @property
    def granted(self) -> datetime | None:
        """When the access was last granted; None if no entry says so, or if it was revoked since."""
        decided = (Decision.GRANTED, Decision.REVOKED)
        last = next((entry for entry in self.entries if entry.decision in decided), None)
        return last.time if last and last.decision == Decision.GRANTED else None

    def silent(self, now: datetime) -> list[tuple[Entry, str]]:
        """Return unanswered messages: the entry that published one, and the step that has logged nothing since."""
        last = {entry.step: entry.time for entry in self.last}
        found: dict[str, Entry] = {}
        for entry in self.last:
            for step in entry.next:
                if step in STEPS and last.get(step, entry.time - ON_ITS_WAY) < entry.time - LOGGED_AFTER:
                    found[step] = entry
        return [(entry, step) for step, entry in found.items() if now - entry.time > timedelta(seconds=5)]

    def lines(self, now: datetime) -> list[str]:
        """Return a line for each step, and one for each step that does not answer."""
        if self.unread:
            return [f"unknown: the log could not be read: {one_line(self.unread)}"]
        if not self.entries:
            return ["nothing was logged about it in the last day: no event or request has reached a step"]
        shown = [self._line(entry, now) for entry in self.last]
        return shown + [
            f"{step}: no answer since {entry.step} published its request {ago(entry.time, now)}"
            for entry, step in self.silent(now)
        ]

    def _line(self, entry: Entry, now: datetime) -> str:
        of = f" attempt {entry.attempt} of {entry.attempts or '?'}" if entry.attempt else ""
        text = f"{entry.step}{of}, {ago(entry.time, now)}: {entry.decision}: {one_line(entry.message)}"
        if entry.decision != Decision.RETRY:
            return text
        policy = (self.policies or {}).get(entry.step)
        if policy is None or not entry.attempt:
            return f"{text} (next try: unknown)"
        at = entry.time + policy.wait(entry.attempt)
        return f"{text} (next try: {'now' if at <= now else f'at about {at.astimezone(UTC):%H:%M:%S} UTC'})"


def parse(found: Sequence[Mapping[str, Any]]) -> tuple[Entry, ...]:
    """Return the entries of steps in what `entries:list` answers, the newest first; others are left out."""
    entries = [entry for entry in map(_entry, found) if entry is not None]
    return tuple(sorted(entries, key=lambda entry: entry.time, reverse=True))


def _entry(found: Mapping[str, Any]) -> Entry | None:
    payload, labels, time = found.get("jsonPayload"), found.get("labels") or {}, parse_time(found.get("timestamp"))
    if not isinstance(payload, dict) or not isinstance(labels, dict) or time is None:
        return None
    step, following = str(payload.get("step", "")), payload.get("next")
    if step not in (*STEPS, "route-event", "sweep"):
        return None
    return Entry(
        time,
        step,
        str(payload.get("decision", "")),
        str(payload.get("code", "")),
        str(payload.get("message", "")),
        _number(payload.get("attempt")),
        _number(payload.get("attempts")),
        tuple(map(str, following)) if isinstance(following, list) else (),
        str(labels.get("cause", "")).startswith("sweep "),
        str(labels.get("cluster", "")),
        str(labels.get("membership", "")),
    )


def parse_time(text: object) -> datetime | None:
    """Parse an API's time, cut to microseconds; None if it is not one."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _number(value: object) -> int:
    try:
        return int(value) if isinstance(value, (int, float, str)) else 0
    except (ValueError, OverflowError):  # OverflowError: an infinite one
        return 0


def query(project: str, names: Iterable[str], since: datetime) -> Object:
    """Return the body of `entries:list` for the steps' entries about these names, newest first."""
    about = " OR ".join(
        f"labels.{'membership' if '/memberships/' in name else 'cluster'}={quoted(name)}" for name in sorted(names)
    )
    return log_query(project, f"({about})", since, 200)


def recent_query(project: str, since: datetime, most: int) -> Object:
    """Return the body of `entries:list` for the decisions of all functions, but for the requests of sweeps."""
    return log_query(project, 'jsonPayload.decision:* NOT jsonPayload.decision="requested"', since, most)


def decided_query(project: str, decisions: Iterable[Decision], since: datetime, most: int) -> Object:
    """Return the body of `entries:list` for some decisions."""
    wanted = " OR ".join(f"jsonPayload.decision={quoted(decision)}" for decision in decisions)
    return log_query(project, f"({wanted})", since, most)


def log_query(project: str, wanted: str, since: datetime, most: int) -> Object:
    """Return the body of `entries:list` for entries of functions that a filter selects, the newest first."""
    return entries_query(project, f'resource.type="cloud_run_revision" {wanted}', since, most)


def entries_query(project: str, wanted: str, since: datetime, most: int) -> Object:
    """Return the body of `entries:list` for what a filter selects, the newest first."""
    return {
        "resourceNames": [f"projects/{project}"],
        "filter": f'{wanted} timestamp>="{since.isoformat()}"',
        "orderBy": "timestamp desc",
        "pageSize": most,
    }


def quoted(text: str) -> str:
    """Return a text as a string of Logging's query language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
