"""CloudEvents 1.0 in Pub/Sub's protocol binding: an event's fields are attributes with the prefix `ce-`, its data is the body.

Pure. https://github.com/googleapis/google-cloudevents/blob/main/docs/spec/pubsub.md. The ID is made of the message that led to
the change: a redelivery of that message gives the same ID.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.values.cluster_event import ClusterEvent, EventType
from shared.values.cluster_secret import ClusterSecret, Reason, timestamp
from shared.values.errors import ReconcileError
from shared.values.messages import ONBOARDING, STEPS, Message, Outcome, StepRequest, truncate
from shared.values.messages import parse as parse_request
from shared.values.objects import Object
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

# An older start is no time that a chain can have taken: subscriptions keep a message for 7 days.
MAX_AGE: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """A message for the topic `cluster-events`."""

    attributes: Mapping[str, str]
    data: bytes
    seconds: float | None = None

    @property
    def log_fields(self) -> Object:
        """The fields of the log entry; log-based metrics read them."""
        kind = self.attributes["ce-type"]
        return {"event": kind} if self.seconds is None else {"event": kind, "seconds": self.seconds}


def of_outcome(
    step: str, request: StepRequest, outcome: Outcome, message: Message, settings: Settings, *, now: datetime
) -> CloudEvent | None:
    """Return the event that a step's outcome gives subscribers; None without one."""
    event = outcome.event
    if event is None or (event.earlier and message.attempt < 2):
        return None
    if message.attempt > 1 and event.type is EventType.CHANGED and _is_after(event.at, message):
        # A Secret that is younger than the message was created by an earlier attempt.
        event = replace(event, type=EventType.ONBOARDED)
    if event.earlier and event.type is EventType.HELD and not _is_after(event.at, message):
        return None
    following = outcome.next[0].request if outcome.next else request
    data: Object = {
        **replace(request, membership=request.membership or following.membership).names,
        "labels": dict(sorted(event.labels.items())),
        "code": event.code or str(outcome.code),
        "reason": outcome.message,
        "step": step,
    }
    if event.type is EventType.ONBOARDED:
        data["seconds"] = seconds_since_start(message, now)
    if event.applications is not None:
        data["applications"] = event.applications
    return _cloud_event(event.type, step, data, message, settings, now=now)


def of_secret(kind: EventType, secret: ClusterSecret | None, code: str = "", *, earlier: bool = False) -> ClusterEvent:
    """Return what happened to a Secret, with the cluster's labels on it."""
    labels = {} if secret is None else {key: secret.labels[key] for key in secret.written_keys if key in secret.labels}
    return ClusterEvent(kind, labels, code, earlier=earlier)


def held_earlier(secret: ClusterSecret | None, reason: Reason) -> ClusterEvent | None:
    """Return the event of a hold that an earlier attempt made, and may not have published."""
    if secret is None or secret.hold is None or secret.hold.reason != reason:
        return None
    event = of_secret(EventType.HELD, secret, reason, earlier=True)
    return replace(event, at=timestamp(secret.hold.since))


def of_failure(
    step: str, error: ReconcileError, message: Message, settings: Settings, *, now: datetime
) -> CloudEvent | None:
    """Return the event of a dead letter of a step; None if its body names no cluster and no membership."""
    if step not in STEPS:
        return None
    try:
        request = parse_request(step, message.data, settings)
    except ReconcileError:
        return None
    data = {**request.names, "labels": {}, "code": str(error.code), "reason": str(error), "step": step}
    return _cloud_event(EventType.FAILED, step, data, message, settings, now=now)


def of_sweep(
    kind: EventType, data: Mapping[str, Any], message: Message, settings: Settings, now: datetime
) -> CloudEvent:
    """Return an event of a sweep. It has no subject."""
    return _cloud_event(kind, "sweep", data, message, settings, now=now)


def seconds_since_start(message: Message, now: datetime) -> float | None:
    """Return the seconds since the cluster was running and selected: since the event that started the chain.

    None if no event started it (a sweep did), or if the attribute `since` is not a time of the last seven days.
    """
    try:
        age = now - datetime.fromisoformat(message.attributes.get("since", ""))
    except (ValueError, TypeError):  # TypeError: a time without a zone
        return None
    return round(max(age.total_seconds(), 0.0), 3) if age <= MAX_AGE else None


def seconds_lost(step: str, message: Message, now: datetime) -> float | None:
    """Return the seconds that an onboarding had taken when it became a dead letter; None for other steps."""
    return seconds_since_start(message, now) if step in ONBOARDING else None


def _is_after(time: str, message: Message) -> bool:
    """Whether a time in the Secret is after the message: Kubernetes and we cut it to whole seconds."""
    try:
        return message.published is not None and datetime.fromisoformat(time) + timedelta(seconds=1) > message.published
    except (ValueError, OverflowError):
        return False


def _cloud_event(
    kind: EventType, step: str, data: Mapping[str, Any], message: Message, settings: Settings, *, now: datetime
) -> CloudEvent:
    what = kind.split(".")[-2] + (f"-{data['limit']}" if "limit" in data else "")
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": truncate(f"{step}-{message.id}-{what}"),
        "ce-source": f"/projects/{settings.fleet_project}/fleet-registrar/{settings.instance}",
        "ce-type": str(kind),
        "ce-time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "ce-subject": str(data.get("cluster") or data.get("membership") or ""),
        "ce-traceparent": message.attributes.get("traceparent", ""),
        "content-type": "application/json",
    }
    present = {key: truncate(value) for key, value in attributes.items() if value}
    return CloudEvent(present, json.dumps(data, separators=(",", ":")).encode(), data.get("seconds"))
