"""The one place where a delivery comes in and becomes an acknowledgement or a redelivery.

A CloudEvent function that returns has acknowledged; anything but 2xx is delivered again (functions-framework 3.10).
Permanent faults go to `dead-letters`, retryable ones are answered with 503, both with one clear line in the log.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import flask

from shared.clients import deadline
from shared.runtime import logs
from shared.runtime.services import Services
from shared.values import messages, settings
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import PermanentError, ReconcileError, RetryableError
from shared.values.messages import DEAD_LETTERS, MIN_REVERSAL_AGE, Message, Outcome, StepRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudevents.http import CloudEvent

_services: Services | None = None


def services() -> Services:
    """Return the outside world, made at the first event. Raises SettingsError with every fault of the settings."""
    global _services  # noqa: PLW0603 - connections and the token live as long as the process
    if _services is None:
        _services = Services(settings.load())
    return _services


def serve(step: str, event: CloudEvent, run: Callable[[StepRequest, Services], Outcome]) -> None:
    """Answer one delivery to a step: parse, let `run` read, decide and act, then publish what comes next."""
    message = envelope(event)
    answer(step, message, lambda world, trace: handle(step, message, world, run, trace))


def handle(
    step: str, message: Message, world: Services, run: Callable[[StepRequest, Services], Outcome], trace: str
) -> Outcome | None:
    """Do one step for one message. Raises a fault; what this returns has been published."""
    if message.asked_by_sweep and message.age(world.now()) > messages.SWEEP_REQUEST_TTL:
        raise PermanentError(
            f"a sweep asked for this {message.age(world.now())} ago: the next sweep asks again", ErrorCode.EXPIRED
        )
    request = messages.parse(step, message.data, world.settings)
    outcome = run(request, world)
    attributes = {**message.attributes, "traceparent": trace}
    attributes.setdefault("cause", f"message {message.id} to {step}")
    carried = Message(message.data, attributes, message.id, message.published)
    for following in outcome.next:
        if (
            messages.turns(step, following.topic)
            and message.attributes.get("turned")
            and message.age(world.now()) < MIN_REVERSAL_AGE
        ):
            raise RetryableError(
                f"{outcome.message}; this chain has reversed before and would reverse again to {following.topic}:"
                " retried later",
                ErrorCode.REVERSED_TWICE,
            )
        world.bus.publish_object(following.topic, following.body(), carried.forwarded_attributes(step, following.topic))
    logs.outcome(outcome, step, request, project=world.settings.pubsub_project, trace=trace, cause=attributes["cause"])
    return outcome


def answer(step: str, message: Message, do: Callable[[Services, str], Any]) -> None:
    """Turn what `do` raises into an acknowledgement (after a dead letter) or a redelivery."""
    trace = logs.traceparent(message.attributes.get("traceparent"))
    told = {"cause": message.attributes.get("cause", ""), **_named(message)}
    project = ""
    try:
        world = services()
        project = world.settings.pubsub_project
        try:
            with deadline.within(deadline.SWEEP_SECONDS if step == "sweep" else deadline.STEP_SECONDS):
                do(world, trace)
        except PermanentError as error:
            dead_letter(step, message, error, world)
            decision = Decision.DROPPED if message.asked_by_sweep else Decision.DEAD_LETTERED
            logs.failure("ERROR", step, error, project=project, trace=trace, labels=told, decision=decision)
        except RetryableError as error:
            if message.asked_by_sweep and message.age(world.now()) > messages.SWEEP_REQUEST_TTL:
                logs.failure("ERROR", step, error, project=project, trace=trace, labels=told, decision=Decision.DROPPED)
                return
            raise
    except ReconcileError as error:
        logs.failure("WARNING", step, error, project=project, trace=trace, labels=told, decision=Decision.RETRY)
        flask.abort(503, description="not done yet: delivered again")
    except Exception as error:
        unexpected = RetryableError(f"not expected: {type(error).__name__}: {error}"[:900], ErrorCode.UNEXPECTED)
        logs.failure("ERROR", step, unexpected, project=project, trace=trace, labels=told, decision=Decision.RETRY)
        raise


def dead_letter(step: str, message: Message, error: PermanentError, world: Services) -> None:
    """Publish the original bytes to `dead-letters`, unless a sweep asked: it asks again."""
    if message.asked_by_sweep:
        return
    own = {
        "topic": message.attributes.get("topic", "") if step == "route-event" else step,
        "step": step,
        "code": error.code,
        "reason": messages.truncate(str(error)),
        **_named(message),
    }
    own = {key: value for key, value in own.items() if value}
    # Pub/Sub takes 100 attributes, and none that begins with `goog`. Their order is not defined, so sort.
    original = sorted(key for key in message.attributes if key not in own and not key.startswith("goog"))
    carried = {key: message.attributes[key] for key in original[: 100 - len(own)]}
    world.bus.publish(DEAD_LETTERS, message.data, {**carried, **own})


def envelope(event: CloudEvent) -> Message:
    """Return the Pub/Sub message in a CloudEvent: a raw push, which the framework has turned into one, or Eventarc's.

    Raises nothing: what is not there is empty, and parsing says so.
    """
    data = event.data if isinstance(event.data, dict) else {}
    message = data.get("message")
    if not isinstance(message, dict):
        return Message(event.data if isinstance(event.data, bytes) else b"", {}, str(event["id"]))
    given = message.get("attributes")
    attributes = {str(key): str(value) for key, value in given.items()} if isinstance(given, dict) else {}
    return Message(_bytes(message.get("data")), attributes, str(message.get("messageId", event["id"])), _time(message))


def _bytes(data: object) -> bytes:
    try:
        return base64.b64decode(data) if isinstance(data, str) else b""
    except ValueError:  # binascii.Error, or letters outside ASCII
        return b""


def _time(message: dict[str, Any]) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(message.get("publishTime")))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _named(message: Message) -> dict[str, str]:
    """The names that a body claims, for logs and dead letters, whether or not the rest of it can be read."""
    try:
        body = messages.json_object(message.data, "")
    except PermanentError:
        return {}
    return {key: messages.truncate(str(body[key])) for key in ("cluster", "membership") if body.get(key)}
