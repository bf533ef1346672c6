"""`sweep`: compares clusters, fleet and Argo CD's list, and asks the steps to mend what differs. It never acts itself.

Woken by its topic: `{}` for everything, or one of `project`, `cluster`, `release`. Needs: memberships get and list and
gateway get in the fleet project; clusters list in the source projects; list on Secrets in Argo CD's namespace.
"""

from __future__ import annotations

import functools
import random

from shared.clients.inventory import read_inventory
from shared.clients.ports import Services
from shared.decisions import sweep_plan
from shared.decisions.differences import differences
from shared.decisions.sweep_plan import Plan
from shared.runtime import logs
from shared.values import messages
from shared.values.codes import Decision
from shared.values.messages import Message, Scope
from shared.values.settings import Settings

STEP = "sweep"
MOST_REPORTS = 200


def run(message: Message, services: Services, trace: str) -> Plan:
    """Read everything, plan, tell, and publish the requests."""
    scope = messages.parse_scope(message.data, services.settings)
    plan = planned(scope, services)
    _tell(plan, services.settings, trace)
    attributes = {"asked-by": "sweep", "cause": messages.truncate(f"sweep {message.id}"), "traceparent": trace}
    for ask in plan.requests:
        services.bus.publish_object(ask.next.topic, ask.next.body(), attributes)
    return plan


def planned(scope: Scope, services: Services) -> Plan:
    """Return what a sweep would ask for now: reads only, publishes nothing."""
    inventory = read_inventory(services)
    # The choice of who waits for the next sweep is no secret.
    chance = random.Random()  # noqa: S311
    found = differences(inventory, services.settings, central=services.central_cluster, now=services.now())
    return sweep_plan.select(found, services.settings, scope, chance)


def _tell(plan: Plan, settings: Settings, trace: str) -> None:
    """Log the sweep, each request and each finding, and one CRITICAL entry if the removal limit is exceeded."""
    line = functools.partial(logs.line, step=STEP, project=settings.pubsub_project, trace=trace)
    for ask in plan.requests:
        labels = logs.names(ask.next.request)
        text = f"asks {ask.next.topic} about {ask.subject}: {ask.reason}"
        line("INFO", message=text, labels=labels, decision=Decision.REQUESTED, code=ask.code, kind=ask.kind)
    for report in plan.findings[:MOST_REPORTS]:
        text = f"{report.subject}: {report.text}"
        line("WARNING", message=text, decision=Decision.REPORTED, code=report.code)
    if plan.blocked:
        subjects = sorted({ask.subject for ask in plan.blocked})
        release = f'gcloud pubsub topics publish sweep --message=\'{{"release":"{plan.hash}"}}\''
        text = (
            f"removal limit exceeded: {len(subjects)} clusters would be held or lose a label key, {plan.allowed} are"
            f" allowed (MAX_REMOVALS); none of these requests was published. To release exactly this plan: {release}"
        )
        blocked = [f"{ask.subject}: {ask.reason}" for ask in plan.blocked]
        line("CRITICAL", message=text, decision=Decision.LIMITED, hash=plan.hash, blocked=blocked[:1000])
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(plan.counts.items())) or "nothing"
    left = f"; {len(plan.findings)} reported" if plan.findings else ""
    line("INFO", message=f"asked for {counts}{left}", decision=Decision.SWEPT, request=dict(plan.counts))
