"""`ops backfill`: the first fill of a fleet. It asks for every wanted cluster that has no Secret of its own.

A sweep does the same in portions of SWEEP_REQUESTS; this asks for all at once, as fast as Connect Gateway bears it, and what
it asks for goes to `dead-letters` when it cannot be done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.adoption import known
from ops.pace import CALLS_PER_CLUSTER, GATEWAY_REQUESTS, paced
from ops.plan import narrowed
from ops.survey import Name, connected, operator, survey
from ops.terminal import MistakeError, Progress, counted, table
from shared.decisions.sweep_plan import Ask, Plan
from shared.runtime.services import Services
from shared.values.errors import FaultError
from shared.values.messages import cut

if TYPE_CHECKING:
    import argparse


TOPIC = "register-membership"


def run(options: argparse.Namespace) -> int:
    """Ask, and show how far it is."""
    if options.rate * CALLS_PER_CLUSTER > GATEWAY_REQUESTS:
        most = GATEWAY_REQUESTS // CALLS_PER_CLUSTER
        raise MistakeError(
            f"--rate {options.rate} is more than Connect Gateway bears: {GATEWAY_REQUESTS} requests a minute,"
            f" about {CALLS_PER_CLUSTER} for each cluster, Argo CD's own not counted; at most {most}"
        )
    services = connected()
    seen = survey(services)
    plan = narrowed(seen, services.settings, options.project, "")
    asks, taken = missing(plan), known(seen, services.settings)
    for report in plan.reports:
        print(f"left alone: {report.subject}: {report.text}")
    for ask in asks:
        if secrets := taken.get(_name(ask)):
            names = ", ".join(secret.name for secret in secrets)
            print(f"left alone: {ask.subject}: others have written {names} for it: python -m ops adopt --dry-run")
    asks = [ask for ask in asks if _name(ask) not in taken]
    if not asks:
        print("Every wanted cluster that can be asked for has its Secret.")
        return 0
    if options.dry_run:
        print(table(("CLUSTER", "WHY"), [(ask.subject, ask.reason) for ask in asks]))
        print(f"\nWould ask {TOPIC} for {counted(len(asks), 'cluster')}; nothing was published.")
        return 0
    ask_all(asks, services, options.rate, "backfill")
    print(f"Asked for {counted(len(asks), 'cluster')}. What is still missing: python -m ops plan")
    return 0


def missing(plan: Plan) -> list[Ask]:
    """Return the requests for wanted clusters that have no Secret of their own."""
    return [ask for ask in plan.asks if ask.kind == "mend" and ask.next.topic == TOPIC]


def _name(ask: Ask) -> Name:
    name = ask.next.request.cluster or ask.next.request.membership
    assert name is not None  # noqa: S101 - a request names one of them
    return name


def ask_all(asks: list[Ask], services: Services, a_minute: int, what: str) -> None:
    """Publish the requests, paced. Raises a fault that says how far it came."""
    attributes = {"cause": cut(f"{what} by {operator(services)}")}
    progress = Progress(len(asks), "clusters asked for")
    for ask in paced(asks, a_minute):
        try:
            services.bus.publish_object(ask.next.topic, ask.next.body(), attributes)
        except FaultError as error:
            told = f"{error}; {progress.done} of {len(asks)} were asked for: run it again, it asks for what is missing"
            raise type(error)(told, error.code, error.status) from error
        progress.step()
