"""`sweep`: compares clusters, fleet and Argo CD's list, and asks the steps to mend what differs. It never acts itself.

Woken by its topic: `{}` for everything, or one of `project`, `cluster`, `release`. Needs: memberships get and list and
gateway get in the fleet project; clusters list in the source projects; list on Secrets in Argo CD's namespace.
"""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING

from shared import entry, logs, messages, sweeping
from shared.codes import Decision, ErrorCode
from shared.errors import PermanentError
from shared.inventory import read_inventory
from shared.resources import ClusterName, NameFault
from shared.sweeping import Plan, Scope

if TYPE_CHECKING:
    from cloudevents.http import CloudEvent

    from shared.messages import Message
    from shared.services import Services
    from shared.settings import Settings

STEP = "sweep"
MOST_REPORTS = 200


def serve(event: CloudEvent) -> None:
    """Answer one delivery."""
    message = entry.envelope(event)
    entry.answer(STEP, message, lambda world, trace: run(message, world, trace))


def run(message: Message, services: Services, trace: str) -> Plan:
    """Read everything, plan, tell, and publish the requests."""
    scope = parse(message.data, services.settings)
    plan = planned(scope, services)
    _tell(plan, services.settings, trace)
    attributes = {"asked-by": "sweep", "cause": messages.cut(f"sweep {message.id}"), "traceparent": trace}
    for ask in plan.asks:
        services.bus.publish_object(ask.next.topic, ask.next.body(), attributes)
    return plan


def planned(scope: Scope, services: Services) -> Plan:
    """Return what a sweep would ask for now: reads only, publishes nothing."""
    inventory = read_inventory(services)
    # The choice of who waits for the next sweep is no secret.
    chance = random.Random()  # noqa: S311
    return sweeping.plan(
        inventory, services.settings, scope, central=services.central_cluster, now=services.now(), chance=chance
    )


def parse(data: bytes, settings: Settings) -> Scope:
    """Parse a sweep's message. Raises PermanentError that says what is wrong."""
    body = messages.json_object(data, "the message to sweep")
    if (
        set(body) - {"project", "cluster", "release"}
        or len(body) > 1
        or not all(isinstance(v, str) for v in body.values())
    ):
        raise PermanentError(
            'the message to sweep is wrong: it takes {}, {"project": ID}, {"cluster": NAME} or {"release": HASH};'
            f" it has {', '.join(map(repr, body))[:200]}",
            ErrorCode.INVALID_MESSAGE,
        )
    try:
        cluster = ClusterName.parse(body["cluster"], settings.numbers) if "cluster" in body else None
    except NameFault as error:
        raise PermanentError(f"the message to sweep is wrong: {error}", ErrorCode.INVALID_MESSAGE) from error
    return Scope(body.get("project", ""), cluster, body.get("release", ""))


def _tell(plan: Plan, settings: Settings, trace: str) -> None:
    """One line for the whole, one for each request and each thing left alone, one CRITICAL line for a brake that holds."""
    line = functools.partial(logs.line, step=STEP, project=settings.pubsub_project, trace=trace)
    for ask in plan.asks:
        labels = logs.names(ask.next.request)
        text = f"asks {ask.next.topic} about {ask.subject}: {ask.reason}"
        line("INFO", message=text, labels=labels, decision=Decision.REQUESTED, code=ask.code, kind=ask.kind)
    for report in plan.reports[:MOST_REPORTS]:
        text = f"{report.subject}: {report.text}"
        line("WARNING", message=text, decision=Decision.REPORTED, code=report.code)
    if plan.braked:
        subjects = sorted({ask.subject for ask in plan.braked})
        release = f'gcloud pubsub topics publish sweep --message=\'{{"release":"{plan.hash}"}}\''
        text = (
            f"the brake holds: {len(subjects)} clusters would be held or lose a label key, {plan.allowed} are allowed"
            f" (MAX_REMOVALS); none of it is asked for. If it is right, release exactly this plan: {release}"
        )
        braked = [f"{ask.subject}: {ask.reason}" for ask in plan.braked]
        line("CRITICAL", message=text, decision=Decision.LIMITED, hash=plan.hash, braked=braked[:1000])
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(plan.counts.items())) or "nothing"
    left = f"; {len(plan.reports)} reported" if plan.reports else ""
    line("INFO", message=f"asked for {counts}{left}", decision=Decision.SWEPT, asked=dict(plan.counts))
