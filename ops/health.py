"""Whether the registrar works: functions, subscriptions, the last sweep, dead letters, what was read, the plan. Pure.

Functions, subscriptions and the schedule are judged by the checks of `ops doctor`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ops.activity import Log
from ops.advice import Advice, lines
from ops.doctor import checks_functions, checks_pubsub
from ops.doctor.codes import Code
from ops.doctor.expected import Expected, subscription_of
from ops.doctor.findings import Read, Status, Unread
from ops.doctor.observed import Delivery, at
from ops.limits import release
from ops.plan import behind
from ops.plan import unread as unread_parts
from ops.remedies import own_settings
from ops.terminal import UNREAD, ago, one_line, pluralize, table
from ops.unread import by_cause
from shared.decisions.reports import DOCTOR
from shared.values.codes import Decision
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from ops.survey import Snapshot

# Longer than Pub/Sub's longest wait between two attempts.
OLD: Final = timedelta(minutes=10)
# Warnings of `ops doctor` that stop something now; the others can wait for a doctor.
STOPPED: Final = frozenset({Code.PAUSED, Code.JOB_PAUSED, Code.NO_SWEEP})
LIST_LETTERS: Final = "python -m ops dead-letters list"
LETTERS_SHOWN: Final = 5
WELL: Final = 0
ILL: Final = 2


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in one subscription: how many messages, and the seconds since the oldest was published."""

    messages: int = 0
    oldest: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was read. `backlogs` by subscription: one that is missing is unknown. `letters` counts the dead letters."""

    expected: Expected
    delivery: Delivery
    backlogs: Read[Mapping[str, Backlog]]
    letters: Read[int]
    survey: Snapshot
    now: datetime
    log: Log = field(default_factory=Log)


@dataclass(frozen=True, slots=True)
class Step:
    """One function and the subscription that wakes it; '' and None are unknown."""

    name: str
    function: str
    subscription: str
    messages: int | None
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, or unknown because it could not be read; `command` helps."""

    text: str
    command: str = ""
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """What `ops status` shows."""

    steps: tuple[Step, ...]
    last_sweep: str
    letters: int | None
    secrets: int | None
    requests: int | None  # None: there is no plan without the Secrets or the fleet
    blocked: int | None
    problems: tuple[Problem, ...] = field(default_factory=tuple)

    @property
    def differences(self) -> str:
        """What a sweep would request now, and what a removal limit keeps it from, in words."""
        if self.requests is None:
            return "unknown"
        return f"{self.requests}, and {self.blocked} stopped by a removal limit"

    @property
    def code(self) -> int:
        """2 when something is wrong, 3 when something is unknown, else 0."""
        if any(not problem.unknown for problem in self.problems):
            return ILL
        return UNREAD if self.problems else WELL


def judge(seen: Seen) -> Health:
    """Judge everything."""
    expected, survey, sweep = seen.expected, seen.survey, seen.delivery.last_sweep
    plan = survey.plan
    last = "unknown" if isinstance(sweep, Unread) else ago(sweep, seen.now) if sweep else "none in the last day"
    return Health(
        steps=tuple(_step(name, seen) for name in expected.functions),
        last_sweep=last,
        letters=None if isinstance(seen.letters, Unread) else seen.letters,
        secrets=None if survey.secrets_unread else len(survey.inventory.secrets),
        requests=len(plan.requests) if survey.is_planned else None,
        blocked=len({request.subject for request in plan.blocked}) if survey.is_planned else None,
        problems=tuple(_problems(seen)),
    )


def _step(name: str, seen: Seen) -> Step:
    functions, subscriptions = seen.delivery.functions, seen.delivery.subscriptions
    function = "" if isinstance(functions, Unread) else str((functions.get(name) or {}).get("state") or "MISSING")
    subscription = ""
    if not isinstance(subscriptions, Unread):
        found = subscriptions.get(subscription_of(name))
        pushes = at(found, "pushConfig", "pushEndpoint")
        subscription = "MISSING" if found is None else "pushes" if pushes else "PAUSED"
    backlog = None if isinstance(seen.backlogs, Unread) else seen.backlogs.get(subscription_of(name))
    return Step(
        name,
        function,
        subscription,
        backlog.messages if backlog else None,
        backlog.oldest if backlog and backlog.messages else None,
    )


def _problems(seen: Seen) -> Iterator[Problem]:
    expected, delivery = seen.expected, seen.delivery
    yield from _causes(seen)
    for finding in (
        *checks_functions.check_functions(expected, delivery),
        *checks_pubsub.check_subscriptions(expected, delivery),
        *checks_functions.check_schedule(expected, delivery, seen.now),
    ):
        subject = finding.subject or finding.check
        if finding.status is Status.UNKNOWN:
            if finding.message != seen.log.unread:  # the log itself is a problem already
                text = f"{finding.check} ({subject}) could not be read: {finding.message}"
                yield Problem(text, finding.fix or DOCTOR, unknown=True)
        elif finding.status is Status.FAIL or finding.code in STOPPED:
            yield Problem(f"{subject}: {finding.message}", finding.fix)
    yield from _old_messages(seen)
    yield from _letters(seen)
    survey = seen.survey
    for what, why in by_cause(unread_parts(survey, expected.settings)):
        yield Problem(f"{what} could not be read: {why}", DOCTOR, unknown=True)
    for reached in survey.plan.reached:
        clusters = pluralize(len({request.subject for request in reached.requests}), "cluster")
        text = f"the removal limit stops a sweep's requests for {clusters}. See `python -m ops plan`; if it is right, release it"
        yield Problem(text, release(reached, expected.settings))


def _old_messages(seen: Seen) -> Iterator[Problem]:
    if isinstance(seen.backlogs, Unread):
        yield Problem(f"the backlogs could not be read: {seen.backlogs.why}", seen.backlogs.fix or DOCTOR, unknown=True)
        return
    for name in seen.expected.functions:
        backlog = seen.backlogs.get(subscription_of(name), Backlog())
        if backlog.messages and backlog.oldest > OLD.total_seconds():
            text = (
                f"{name}: {pluralize(backlog.messages, 'message')} wait, the oldest for {backlog.oldest / 60:.0f} min"
            )
            yield Problem(text, _log(name, seen.expected.project))


def _causes(seen: Seen) -> Iterator[Problem]:
    """Say what many differences have in common."""
    survey, settings = seen.survey, seen.expected.settings
    shown = [one.command for one in own_settings() if "gcloud functions list" in one.command]
    for text in behind(survey, settings) if survey.is_planned else []:
        yield Problem(text, shown[0])
    if seen.log.unread:
        yield Problem(f"the log could not be read: {seen.log.unread}", DOCTOR, unknown=True)


def _letters(seen: Seen) -> Iterator[Problem]:
    """Count the dead letters; those without a cluster are in no cluster's line, so the log's entry says what they are."""
    lost = [one for one in seen.log.failures if one.decision == Decision.DEAD_LETTERED and not one.subject]
    texts = dict.fromkeys(f"{one.step} gave up a message: {one.message}" for one in lost)
    nameless = "; ".join([*texts][:LETTERS_SHOWN])
    if isinstance(seen.letters, Unread):
        yield Problem(
            f"the dead letters could not be read: {seen.letters.why}", seen.letters.fix or DOCTOR, unknown=True
        )
        if nameless:
            yield Problem(nameless, LIST_LETTERS)
    elif seen.letters:
        yield Problem(pluralize(seen.letters, "dead letter") + (f". {nameless}" if nameless else ""), LIST_LETTERS)


def _log(step: str, project: str) -> str:
    return f"gcloud logging read 'labels.step=\"{step}\" severity>=WARNING' --project={project} --limit=5"


def as_text(health: Health) -> str:
    """Return the status as a person reads it."""
    rows = [
        (
            step.name,
            step.function or "unknown",
            step.subscription or "unknown",
            "unknown" if step.messages is None else str(step.messages),
            "" if step.oldest_seconds is None else f"{step.oldest_seconds:.0f} s",
        )
        for step in health.steps
    ]
    parts = [table(("STEP", "FUNCTION", "SUBSCRIPTION", "WAITING", "OLDEST"), rows)]
    secrets = "unknown" if health.secrets is None else str(health.secrets)
    letters = "unknown" if health.letters is None else str(health.letters)
    parts.append(
        f"Secrets:       {secrets}\nLast sweep:    {health.last_sweep}\nDead letters:  {letters}\n"
        f"Differences:   {health.differences}"
    )
    if not health.problems:
        return "\n\n".join([*parts, "Everything works."])
    advice = [
        Advice(f"{'unknown: ' if problem.unknown else ''}{one_line(problem.text)}", problem.command)
        for problem in health.problems
    ]
    return "\n\n".join([*parts, "\n".join(["Problems:", *(f"  {line}" for line in lines(advice))])])


def as_json(health: Health) -> Object:
    """Return the status as programs read it."""
    return {"exitCode": health.code, **asdict(health)}
