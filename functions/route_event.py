"""`route_event`: an event in, one request or nothing out, and one log line that says why.

Woken by Eventarc (audit entries of the own project, membership events) and by the topic `audit-log-entries` (log sinks
of other projects; the body is a LogEntry). Needs to publish, and nothing else: it calls no API but Pub/Sub.
"""

from __future__ import annotations

from shared.clients.ports import Services
from shared.decisions import events
from shared.decisions.events import Route
from shared.runtime import logs
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import PermanentError
from shared.values.messages import Message, json_object


def run(message: Message, services: Services, trace: str) -> Route:
    """Route one event, and publish the request that it causes."""
    route = _route(message, services)
    labels = {"cause": route.cause}
    if route.next is not None:
        labels |= logs.names(route.next.request)
        attributes = {"cause": route.cause, "traceparent": trace} | ({"since": route.since} if route.since else {})
        services.bus.publish_object(route.next.topic, route.next.body(), attributes)
    logs.line(
        "INFO",
        "route-event",
        f"{route.next.topic if route.next else 'nothing'}: {route.reason}",
        project=services.settings.pubsub_project,
        trace=trace,
        labels=labels,
        decision=Decision.ROUTED if route.next else Decision.IGNORED,
        code=route.code,
        next=[route.next.topic] if route.next else [],
    )
    return route


def _route(message: Message, services: Services) -> Route:
    numbers = services.settings.numbers
    if message.kind in (events.AUDIT, ""):
        return events.route_entry(json_object(message.data, "the audit entry"), numbers)
    if message.kind.startswith(events.MEMBERSHIP):
        kind = message.kind.removeprefix(events.MEMBERSHIP)
        wait = services.settings.registration == "wait"
        return events.route_membership(kind, events.payload(message.data), message.attributes, numbers, wait=wait)
    raise PermanentError(f"unsupported event type {message.kind[:120]!r}", ErrorCode.INVALID_EVENT)
