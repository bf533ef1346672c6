"""Where a delivery becomes an acknowledgement, a redelivery or a dead letter.

A CloudEvent function that returns has acknowledged; anything but 2xx is delivered again (functions-framework 3.10).
Permanent errors go to `dead-letters`; retryable ones are answered with 503. Each writes one line to the log.
The last attempt writes our own dead letter, because Pub/Sub's own has no reason.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable
from typing import Any, Final

import flask
import functions_framework

from shared.clients import deadline
from shared.clients.ports import Services
from shared.decisions import cluster_events, events
from shared.decisions.cluster_events import CloudEvent
from shared.runtime import logs
from shared.runtime.delivery import Event, decode
from shared.runtime.recent_deletions import RecentDeletions
from shared.runtime.recent_reads import RecentReads
from shared.values import messages
from shared.values.cluster_event import CLUSTER_EVENTS
from shared.values.codes import Decision, ErrorCode, FindingCode
from shared.values.errors import PermanentError, ReconcileError, RetryableError
from shared.values.messages import (
    AUDIT_LOG_ENTRIES,
    DEAD_LETTERS,
    MIN_REVERSAL_AGE,
    STEPS,
    Message,
    Outcome,
    OutgoingMessage,
    StepRequest,
)
from shared.values.objects import Object

# No message gets done until a person has changed the settings.
_STOP_EVERYTHING: Final = frozenset(
    {ErrorCode.INVALID_SETTINGS, ErrorCode.NO_IDENTITY, ErrorCode.NO_CENTRAL_MEMBERSHIP}
)

Step = Callable[[StepRequest, Services], Outcome]
Work = Callable[[Message, Services, str], object]


class Dispatcher:
    """Answers the events of one process. `connect` is called at the first event; its result lives as long as this."""

    def __init__(self, connect: Callable[[], Services]) -> None:
        self._connect = connect
        self.recent_reads = RecentReads()
        self.recent_deletions = RecentDeletions()

    @functools.cached_property
    def services(self) -> Services:
        """The outside world. Raises SettingsError with every error of the settings."""
        return self._connect()

    def entry_point(self, declared: Callable[[Event], None]) -> Callable[..., None]:
        """Have the module of that name in `functions` answer the events; it is imported at the first one."""
        name = declared.__name__.replace("_", "-")

        @functools.wraps(declared)
        def serve(event: Event) -> None:
            run = importlib.import_module(f"functions.{declared.__name__}").run
            self.answer(name, event, self.work(name, run))

        return functions_framework.cloud_event(serve)

    def work(self, name: str, run: Callable[..., Any]) -> Work:
        """Make a module's `run` answer a message, with what this process remembers of earlier ones."""
        if name in STEPS:
            return step(name, run, self.recent_reads)
        return functools.partial(run, recent=self.recent_deletions) if name == "route-event" else run

    def answer(self, name: str, event: Event, work: Work) -> None:
        """Answer one event with `work`. Aborts with 503 for a retryable error."""
        message = dataclasses.replace(decode(event), attempt=_attempt())
        trace = logs.traceparent(message.attributes.get("traceparent"))
        line: Object = {
            "trace": trace,
            "labels": {"cause": message.attributes.get("cause", ""), **_named(message)},
        }
        try:
            services = self.services
            line["project"] = services.settings.pubsub_project
            if message.attempt:
                line |= {"attempt": message.attempt, "attempts": services.settings.delivery_attempts}
            try:
                with deadline.within(deadline.SWEEP_SECONDS if name == "sweep" else deadline.STEP_SECONDS) as spent:
                    work(message, services, trace)
            except Exception as raised:
                line["gateway_requests"] = spent.gateway_requests
                error = raised if isinstance(raised, ReconcileError) else _unexpected(raised)
                if not (isinstance(error, PermanentError) or _is_last(message, services)):
                    raise
                dead_letter(name, message, error, services)
                if (seconds := cluster_events.seconds_lost(name, message, services.now())) is not None:
                    line["seconds"] = seconds
                decision = Decision.DROPPED if message.is_from_sweep else Decision.DEAD_LETTERED
                logs.failure("ERROR", name, error, decision=decision, **line)
        except ReconcileError as error:
            severity = "ERROR" if error.code in _STOP_EVERYTHING else "WARNING"
            logs.failure(severity, name, error, decision=Decision.RETRY, **line)
            flask.abort(503, description="not done yet: delivered again")
        except Exception as raised:
            logs.failure("ERROR", name, _unexpected(raised), decision=Decision.RETRY, **line)
            raise


def _unexpected(error: Exception) -> RetryableError:
    return RetryableError(f"not expected: {type(error).__name__}: {error}"[:900], ErrorCode.UNEXPECTED)


def step(name: str, run: Step, recent_reads: RecentReads | None = None) -> Callable[[Message, Services, str], Outcome]:
    """Make a step's `run` answer a message: parse it, run the step, publish what comes next, log the outcome.

    `recent_reads` is what the process remembers of earlier changes; `write-secret` alone takes them.
    """
    remembered = recent_reads if recent_reads is not None and name == "write-secret" else RecentReads()

    def work(message: Message, services: Services, trace: str) -> Outcome:
        if _is_expired(message, services):
            age = message.age(services.now())
            raise PermanentError(
                f"a sweep requested this {age} ago: the next sweep requests it again", ErrorCode.EXPIRED
            )
        settings = services.settings
        request = messages.parse(name, message.data, settings)
        began = services.now()
        is_covered = remembered.covers(request, message.published, began)
        if not is_covered:
            services.wait_for_gateway()
        attributes = {**message.attributes, "traceparent": trace}
        attributes.setdefault("cause", f"message {message.id} to {name}")
        carried = dataclasses.replace(message, attributes=attributes)
        try:
            outcome = _read_since(request) if is_covered else run(request, services)
        except messages.RivalHeldError as error:
            held = cluster_events.of_outcome(name, error.request, error.held, carried, settings, now=services.now())
            _publish_event(held, services)
            raise
        for following in outcome.next:
            _check_reversal(name, message, outcome, following.topic, services)
            _check_grant(request, message, outcome, following, services)
            forwarded = carried.forwarded_attributes(name, following.topic)
            services.bus.publish_object(following.topic, following.body(), forwarded)
        event = cluster_events.of_outcome(name, request, outcome, carried, settings, now=services.now())
        _publish_event(event, services)
        if not is_covered:
            remembered.finished(request, began)
        line = {"project": settings.pubsub_project, "trace": trace, "cause": attributes["cause"]}
        logs.outcome(outcome, name, request, event=event, requests=deadline.gateway_requests(), **line)
        return outcome

    return work


def _publish_event(event: CloudEvent | None, services: Services) -> None:
    if event is not None:
        services.bus.publish(CLUSTER_EVENTS, event.data, event.attributes)


def _read_since(request: StepRequest) -> Outcome:
    message = f"nothing to do: {request.cluster} was read after this message was published"
    return Outcome(Decision.NO_OP, FindingCode.READ_SINCE, message)


def _check_reversal(name: str, message: Message, outcome: Outcome, topic: str, services: Services) -> None:
    """Raise RetryableError when a chain would turn for the second time within a minute."""
    again = messages.reverses(name, topic) and message.attributes.get("reversed")
    if again and message.age(services.now()) < MIN_REVERSAL_AGE:
        raise RetryableError(
            f"{outcome.message}; this chain has reversed before and would reverse again to {topic}: retried later",
            ErrorCode.REVERSED_TWICE,
        )


def _check_grant(
    request: StepRequest, message: Message, outcome: Outcome, following: OutgoingMessage, services: Services
) -> None:
    """Raise RetryableError if a fresh proof of a grant does not hold.

    Two functions that disagree about the proof would otherwise send the chain in a fast circle.
    """
    circles = following.topic == "grant-rbac" and following.request.previous == request.previous
    if request.granted and circles and message.age(services.now()) < MIN_REVERSAL_AGE:
        raise RetryableError(
            f"{outcome.message}; `granted` does not prove the access to this cluster: retried, then granted again",
            ErrorCode.STALE_GRANT,
        )


def _is_expired(message: Message, services: Services) -> bool:
    """True for a sweep's request that is so old that a later sweep has taken its place."""
    return message.is_from_sweep and message.age(services.now()) > messages.SWEEP_REQUEST_TTL


def _is_last(message: Message, services: Services) -> bool:
    """True if this is the last attempt, or a later sweep has replaced this request."""
    return _is_expired(message, services) or message.attempt >= services.settings.delivery_attempts


def dead_letter(name: str, message: Message, error: ReconcileError, services: Services) -> None:
    """Publish the original bytes to `dead-letters`, unless a sweep requested them: it requests them again.

    Subscribers of `cluster-events` get the event `failed`, if the message is a step's and names a cluster.
    Pub/Sub's own attributes are left out: they say that a letter is Pub/Sub's, and where it came from.
    """
    if message.is_from_sweep:
        return
    own = {
        "topic": _topic(name, message),
        "step": name,
        "code": error.code,
        "reason": messages.truncate_reason(str(error)),
        "attempts": str(message.attempt or ""),
        **_named(message),
    }
    own = {key: value for key, value in own.items() if value}
    # Pub/Sub takes 100 attributes, and none that begins with `goog`. Their order is not defined, so sort.
    foreign = ("goog", "CloudPubSub")
    original = sorted(key for key in message.attributes if key not in own and not key.startswith(foreign))
    carried = {key: message.attributes[key] for key in original[: 100 - len(own)]}
    _publish_event(cluster_events.of_failure(name, error, message, services.settings, now=services.now()), services)
    # Last: a second event has the ID of the first one, a second letter is a second letter.
    services.bus.publish(DEAD_LETTERS, message.data, {**carried, **own})


def _topic(name: str, message: Message) -> str:
    """The topic of a replay; '' for events, which have no topic."""
    if name != "route-event":
        return name
    return AUDIT_LOG_ENTRIES if message.kind in ("", events.AUDIT) else ""


def _named(message: Message) -> dict[str, str]:
    """The names that a body claims, for logs and dead letters, whether or not the rest of it can be read."""
    body = messages.object_or_empty(message.data)
    found = {key: body.get(key) for key in ("cluster", "membership")}
    return {key: messages.truncate(name) for key, name in found.items() if name and isinstance(name, str)}


def _attempt() -> int:
    """The number of this delivery, from 1; 0 where it is unknown. The framework leaves it out of the CloudEvent."""
    body = flask.request.get_json(silent=True) if flask.has_request_context() else None
    found = body.get("deliveryAttempt") if isinstance(body, dict) else None
    if isinstance(found, str) and found.isascii() and found.isdigit():  # proto JSON allows a number as text
        found = int(found[:9])
    return found if type(found) is int and found > 0 else 0
