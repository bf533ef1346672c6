"""`ops backfill`: the first fill of a fleet. It requests every selected cluster that has no Secret of its own.

A sweep does the same in portions of SWEEP_REQUESTS. This command publishes all requests at the rate that Connect Gateway
accepts, and a request that fails becomes a dead letter.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ops.pace import CALLS_PER_CLUSTER, GATEWAY_REQUESTS, paced
from ops.partial import planned_survey
from ops.plan import filter_plan, unread
from ops.survey import connected, operator
from ops.terminal import UNREAD, MistakeError, Progress, pluralize, table
from ops.unread import by_cause
from shared.decisions.reports import DOCTOR
from shared.decisions.sweep_plan import Plan
from shared.runtime.services import Services
from shared.values.codes import FindingCode
from shared.values.errors import ReconcileError
from shared.values.findings import Finding, PlannedRequest
from shared.values.messages import truncate

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


TOPIC = "register-membership"
NOT_REQUESTED = "could not be read, so no cluster there is requested"
_UNREAD = frozenset({FindingCode.UNREAD_PROJECT, FindingCode.INCOMPLETE_LIST, FindingCode.UNREADABLE_ITEM})


def run(options: argparse.Namespace) -> int:
    """Publish the requests and show the progress; 0, or 3 if something could not be read: nothing is requested there."""
    if options.rate * CALLS_PER_CLUSTER > GATEWAY_REQUESTS:
        most = GATEWAY_REQUESTS // CALLS_PER_CLUSTER
        raise MistakeError(
            f"--rate {options.rate} is more than Connect Gateway accepts: {GATEWAY_REQUESTS} requests a minute,"
            f" about {CALLS_PER_CLUSTER} for each cluster, Argo CD's own not counted; at most {most}"
        )
    services = connected()
    seen = planned_survey(services)
    plan = filter_plan(seen, services.settings, options.project, "")
    lacking = unread(seen, services.settings, options.project)
    code = UNREAD if lacking else 0
    requests, skipped = missing(plan), left_out(plan, lacking)
    if options.json:
        if not options.dry_run:
            publish_all(requests, services, options.rate, "backfill")
        summary = {
            "dryRun": options.dry_run,
            "requests": [{"cluster": request.subject, "reason": request.reason} for request in requests],
            "skipped": [{"subject": one.subject, "text": one.text, "command": one.command} for one in skipped],
        }
        print(json.dumps(summary, indent=2))
        return code
    for what, why in by_cause(lacking):
        print(f"skipped: {what}: {NOT_REQUESTED}: {why}\n  {DOCTOR}")
    for report in skipped[len(lacking) :]:
        print(f"skipped: {report.subject}: {report.text}" + (f"\n  {report.command}" if report.command else ""))
    if not requests:
        print(f"Every selected cluster that {'was read and ' if lacking else ''}can be requested has its Secret.")
        return code
    if options.dry_run:
        print(table(("CLUSTER", "WHY"), [(request.subject, request.reason) for request in requests]))
        print(f"\nWould publish to {TOPIC} for {pluralize(len(requests), 'cluster')}; nothing was published.")
        return code
    publish_all(requests, services, options.rate, "backfill")
    print(
        f"Published requests for {pluralize(len(requests), 'cluster')}. See what is still missing:\n  python -m ops plan"
    )
    return code


def missing(plan: Plan) -> list[PlannedRequest]:
    """Return the requests for selected clusters that have no Secret of their own."""
    return [request for request in plan.requests if request.kind == "repair" and request.next.topic == TOPIC]


def left_out(plan: Plan, unread: Mapping[str, str]) -> list[Finding]:
    """Return what gets no request, and why. Of unread lists a plan says that nothing is removed; here nothing is requested."""
    read = [finding for finding in plan.findings if finding.code not in _UNREAD]
    return [
        *(Finding(FindingCode.UNREAD_PROJECT, what, f"{NOT_REQUESTED}: {why}", DOCTOR) for what, why in unread.items()),
        *read,
    ]


def publish_all(requests: list[PlannedRequest], services: Services, a_minute: int, what: str) -> None:
    """Publish the requests, paced. Raises ReconcileError, which says how far it came."""
    attributes = {"cause": truncate(f"{what} by {operator(services)}")}
    progress = Progress(len(requests), "clusters requested")
    for request in paced(requests, a_minute):
        try:
            services.bus.publish_object(request.next.topic, request.next.body(), attributes)
        except ReconcileError as error:
            text = (
                f"{error}; {progress.done} of {len(requests)} were requested: run it again, it requests what is missing"
            )
            raise type(error)(text, error.code, error.status) from error
        progress.step()
