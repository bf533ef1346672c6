"""`route_event`: an event in, one request or nothing out, and one log line that says why.

Woken by Eventarc (audit entries of the own project, membership events) and by the topic `audit-log-entries` (log sinks
of other projects; the body is a LogEntry). Needs to publish, and nothing else: it calls no API but Pub/Sub.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.clients.ports import Services
from shared.decisions import events
from shared.runtime import dispatch, logs
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import PermanentError
from shared.values.messages import AUDIT_LOG_ENTRIES, Message, json_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudevents.http import CloudEvent


STEP = "route-event"


def serve(event: CloudEvent) -> None:
    """Answer one event."""
    message = _message(event)
    dispatch.answer(STEP, message, lambda world, trace: run(event, message, world, trace))


def run(event: CloudEvent, message: Message, world: Services, trace: str) -> events.Route:
    """Route one event and publish what it asks for."""
    route = _route(event, message, world)
    labels = {"cause": route.cause}
    if route.next is not None:
        labels |= logs.names(route.next.request)
        world.bus.publish_object(route.next.topic, route.next.body(), {"cause": route.cause, "traceparent": trace})
    logs.line(
        "INFO",
        STEP,
        f"{route.next.topic if route.next else 'nothing'}: {route.reason}",
        project=world.settings.pubsub_project,
        trace=trace,
        labels=labels,
        decision=Decision.ROUTED if route.next else Decision.IGNORED,
        code=route.code,
        next=[route.next.topic] if route.next else [],
    )
    return route


def _route(event: CloudEvent, message: Message, world: Services) -> events.Route:
    numbers = world.settings.numbers
    kind = str(event["type"])
    if kind in (events.AUDIT, events.PUBSUB):
        return events.route_entry(json_object(message.data, "the audit entry"), numbers)
    if kind.startswith(events.MEMBERSHIP):
        return events.route_membership(
            kind.removeprefix(events.MEMBERSHIP), event.data, event.get_attributes(), numbers
        )
    raise PermanentError(f"unsupported event type {kind[:120]!r}", ErrorCode.INVALID_EVENT)


def _message(event: CloudEvent) -> Message:
    """Return the event as a message, so that it can be dead-lettered: an audit entry under the topic that takes those."""
    attributes: Mapping[str, Any] = event.get_attributes()
    kind = str(attributes["type"])
    if kind == events.PUBSUB:
        message = dispatch.envelope(event)
        return Message(message.data, {**message.attributes, "topic": AUDIT_LOG_ENTRIES}, message.id, message.published)
    data = event.data if isinstance(event.data, bytes) else json.dumps(event.data).encode()
    told = {key: str(attributes[key])[:200] for key in ("id", "source", "subject", "type") if attributes.get(key)}
    if kind == events.AUDIT:
        told["topic"] = AUDIT_LOG_ENTRIES
    return Message(data, {**told, "traceparent": str(attributes.get("traceparent", ""))}, str(attributes["id"]))
