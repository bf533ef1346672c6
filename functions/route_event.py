"""`route_event`: an event in, one request or nothing out, and one log line that says why.

Woken by Eventarc (audit entries of the own project, membership events) and by the topic `audit-log-entries` (log sinks
of other projects; the body is a LogEntry). Needs to publish, and nothing else: it calls no API but Pub/Sub.
"""

from __future__ import annotations

from shared.clients.ports import Services
from shared.decisions import events
from shared.decisions.events import Route
from shared.runtime import logs
from shared.runtime.recent_deletions import RecentDeletions
from shared.values.codes import Decision, ErrorCode, EventCode
from shared.values.errors import PermanentError
from shared.values.messages import Message, json_object


def run(message: Message, services: Services, trace: str, recent: RecentDeletions | None = None) -> Route:
    """Route one event, and publish the request that it causes. `recent`: the deletions that this process has routed."""
    route = _without_covered(_route(message, services), services, recent or RecentDeletions())
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


def _without_covered(route: Route, services: Services, recent: RecentDeletions) -> Route:
    """Drop the request for a deleted membership if this process has just routed the deletion of its cluster.

    The chain of the deleted cluster has the same effect, and is retried until it is done. A sweep corrects a wrong guess.
    """
    request = route.next.request if route.next else None
    if request is None:
        return route
    if request.cluster is not None:
        membership = request.cluster.membership(services.settings.fleet_project)
        if route.gone:
            recent.note(membership, services.now())
        elif route.code is not EventCode.DELETED:
            recent.forget(membership)
    elif request.membership is not None:
        is_covered = recent.take(request.membership, services.now())
        if is_covered and route.code is EventCode.DELETED:
            return events.route_covered(request.membership, route.cause)
    return route
