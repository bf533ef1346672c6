"""`sweep`: compares clusters, memberships and cluster Secrets, and publishes requests to the steps. It changes nothing itself.

Woken by its topic: `{}` for everything, or one of `project`, `cluster`, `release`. Needs: memberships get and list
in the fleet project; gateway get in the central cluster's; clusters list in the source projects; list on Secrets in Argo CD's namespace.
"""

from __future__ import annotations

import functools
import gc
import json
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.clients import deadline
from shared.clients.inventory import read_inventory
from shared.clients.ports import Services
from shared.decisions import cluster_events, sweep_plan
from shared.decisions.differences import differences
from shared.decisions.sweep_plan import Plan, Reached
from shared.runtime import logs
from shared.values import messages
from shared.values.cluster_event import CLUSTER_EVENTS, EventType
from shared.values.codes import Decision, FindingCode
from shared.values.findings import Differences, Finding
from shared.values.messages import Message, Scope
from shared.values.objects import Object
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = "sweep"
MAX_FINDINGS = 200
MAX_COMMANDS = 20  # of findings that one line reports; `ops plan` prints all
# An entry of Cloud Logging holds 256 KiB and is dropped when it is larger (https://cloud.google.com/logging/quotas). ASCII
# escapes make up to twelve bytes of a character, so a list is cut into lines of far less.
LINE_BYTES = 50_000


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable the collector: lists of a large fleet are millions of objects without cycles, and scanning them took a third of a sweep."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_without_garbage_collection()
def run(message: Message, services: Services, trace: str) -> Plan:
    """Read everything, plan, log, and publish the requests."""
    scope = messages.parse_scope(message.data, services.settings)
    found = _differences(services)
    attributes = {"cause": messages.truncate(f"sweep {message.id}"), "traceparent": trace}
    seals = sweep_plan.sealed(found, services.settings, scope.release) if scope.release and not scope.seals else None
    if seals is not None:
        # Publish the seals first: if this run ends half-way, the redelivery continues with the rest of the same plan.
        services.bus.publish_object(STEP, {"release": scope.release, "seals": seals}, attributes)
        text = f"released {len(seals)} requests of plan {scope.release}"
        logs.line(
            "NOTICE", STEP, text, project=services.settings.pubsub_project, trace=trace, decision=Decision.RELEASED
        )
        return Plan()
    plan = sweep_plan.select(found, services.settings, scope, services.now())
    _log(plan, services.settings, trace)
    for request in plan.requests:
        services.bus.publish_object(request.next.topic, request.next.body(), {"requested-by": STEP, **attributes})
    _publish_events(plan, scope, replace(message, attributes=attributes), services)
    return plan


def _publish_events(plan: Plan, scope: Scope, message: Message, services: Services) -> None:
    """Publish an event for each limit that is reached, and one for the whole sweep. A plan's hash stays in the log."""
    events: list[tuple[EventType, Object]] = [
        (EventType.LIMITED, {"limit": reached.limit, "clusters": reached.clusters, "allowed": reached.allowed})
        for reached in plan.reached
    ]
    swept = {"requests": dict(plan.counts), "findings": len(plan.findings), "stopped": len(plan.blocked)}
    narrowed = {"project": scope.project, "cluster": str(scope.cluster or ""), "release": bool(scope.release)}
    events.append((EventType.SWEPT, {**swept, **{key: value for key, value in narrowed.items() if value}}))
    for kind, data in events:
        event = cluster_events.of_sweep(kind, data, message, services.settings, services.now())
        services.bus.publish(CLUSTER_EVENTS, event.data, event.attributes)


@_without_garbage_collection()
def planned(scope: Scope, services: Services) -> Plan:
    """Return the plan of a sweep now. Reads only."""
    return sweep_plan.select(_differences(services), services.settings, scope, services.now())


def _differences(services: Services) -> Differences:
    inventory = read_inventory(services)
    return differences(inventory, services.settings, central=services.central_cluster, now=services.now())


def _log(plan: Plan, settings: Settings, trace: str) -> None:
    """Write a line for each request and finding, for each limit that is reached, and one for the whole sweep."""
    line = functools.partial(logs.line, step=STEP, project=settings.pubsub_project, trace=trace)
    for request in plan.requests:
        labels = logs.names(request.next.request)
        text = f"requests {request.next.topic} for {request.subject}: {request.reason}"
        line("INFO", message=text, labels=labels, decision=Decision.REQUESTED, code=request.code, kind=request.kind)
    folded: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in plan.findings:
        # Many projects that answer the same are one line.
        text = finding.text.replace(finding.subject.rpartition("/")[2], "…")
        folded[finding.code, text].append(finding)
    for (code, text), findings in [*folded.items()][:MAX_FINDINGS]:
        message = f"{findings[0].subject}: {findings[0].text}"
        if len(findings) > 1:
            names = ", ".join(finding.subject for finding in findings[:100])
            message = f"{len(findings)} subjects ({names}): {text}"
        commands = [*dict.fromkeys(finding.command for finding in findings if finding.command)][:MAX_COMMANDS]
        message = "\n".join([message[:LINE_BYTES], *commands])
        severity = "INFO" if code == FindingCode.WAITING_FOR_MEMBERSHIP else "WARNING"
        line(severity, message=message, decision=Decision.REPORTED, code=code)
    for reached in plan.reached:
        _log_limit(reached, settings, line)
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(plan.counts.items())) or "nothing"
    reported = f"; {len(plan.findings)} reported" if plan.findings else ""
    line(
        "INFO",
        message=f"requested {counts}{reported}",
        decision=Decision.SWEPT,
        request=dict(plan.counts),
        gateway_requests=deadline.gateway_requests(),
    )


def _log_limit(reached: Reached, settings: Settings, line: functools.partial[None]) -> None:
    """Write the CRITICAL line of a limit, short enough to be kept, and the requests that it stops in lines of their own."""
    what, setting = sweep_plan.COUNTS[reached.limit]
    allowed = f"{reached.allowed} are allowed" if reached.allowed else "never all of them"
    release = messages.publish_command(STEP, {"release": reached.hash}, settings)
    text = (
        f"Removal limit {reached.limit}: {reached.clusters} clusters {what}; {allowed} ({setting})."
        f" The sweep requests none of it. To release exactly this plan, run:\n{release}"
    )
    fields = {"decision": Decision.LIMITED, "limit": reached.limit, "hash": reached.hash}
    line("CRITICAL", message=text, clusters=reached.clusters, allowed=reached.allowed, **fields)
    part: list[str] = []
    for request in [*reached.requests, None]:
        entry = f"{request.subject}: {request.reason}" if request else ""
        if part and (request is None or sum(len(json.dumps(each)) for each in [*part, entry]) > LINE_BYTES):
            text = f"Removal limit {reached.limit}: {len(part)} of {len(reached.requests)} requests that it stops"
            line("WARNING", message=text, blocked=part, **fields)
            part = []
        part.append(entry[:LINE_BYTES])
