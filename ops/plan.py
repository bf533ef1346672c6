"""`ops plan`: shows what a sweep would do, and why. Reads what a sweep reads, and writes nothing."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from ops import holds, limits, remedies
from ops.advice import lines
from ops.partial import survey_in_parts
from ops.survey import Snapshot, connected, find
from ops.terminal import UNREAD, MistakeError, pluralize, table
from ops.unread import by_cause
from shared.decisions.sweep_plan import Plan
from shared.values.inventory import Inventory
from shared.values.model import Cluster, Membership, State, state_of
from shared.values.objects import Object
from shared.values.selector import Requirement
from shared.values.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


DIFFERENT = 2


def run(options: argparse.Namespace) -> int:
    """Show the plan; 0 nothing differs, 2 something does, 3 something could not be read."""
    services = connected()
    settings = services.settings
    seen = survey_in_parts(services)
    plan = filter_plan(seen, settings, options.project, options.cluster)
    missing = unread(seen, settings, options.project)
    causes = [] if options.project or options.cluster or not seen.is_planned else behind(seen, settings)
    warnings = holds.releases(seen, settings)
    shown = as_json(plan, settings) | {"unread": missing, "causes": causes, "warnings": warnings}
    text = as_text(plan, settings, seen.inventory, missing, [*causes, *(f"Warning: {one}" for one in warnings)])
    print(json.dumps(shown, indent=2) if options.json else text)
    return UNREAD if missing else DIFFERENT if differs(plan) else 0


def differs(plan: Plan) -> bool:
    """Whether a sweep would publish anything, or the removal limit keeps it from that. Findings do not count."""
    return bool(plan.requests or plan.blocked)


def unread(seen: Snapshot, settings: Settings, project: str = "") -> dict[str, str]:
    """Return what could not be read (of one project, if one is named), and why: nothing is known about it."""
    inventory = seen.inventory
    found = {what: why for what, why in (("the Secrets", seen.secrets_unread), ("the fleet", seen.fleet_unread)) if why}
    found |= {f"projects/{one}": why for one, why in sorted(inventory.unread.items()) if project in ("", one)}
    for one, zones in inventory.missing_zones.items():
        if project in ("", one):
            found[f"projects/{one}"] = f"its list lacks {', '.join(sorted(zones))}"
    if inventory.unreachable and project in ("", settings.fleet_project):
        where = ", ".join(sorted(inventory.unreachable))
        found[f"projects/{settings.fleet_project}/locations/-/memberships"] = f"the list lacks {where}"
    return found | {str(name): why for name, why in inventory.unreadable.items() if project in ("", name.project)}


def behind(seen: Snapshot, settings: Settings) -> list[str]:
    """Say what many differences have in common, and when the selector matches nothing."""
    inventory = seen.inventory
    requirements = settings.selector.requirements
    listed: list[Cluster | Membership] = [
        *(one for one in inventory.clusters.values() if one.name.project in settings.source_projects),
        *(one for one in inventory.memberships.values() if one.cluster is None),
    ]
    running = (State.SELECTED, State.UNSELECTED)
    candidates = [one for one in listed if state_of(one, settings, seen.central) in running]
    terms = ", ".join(map(requirement, requirements))
    if terms and candidates and not any(settings.selector.matches(one.labels) for one in candidates):
        return [f"CLUSTER_SELECTOR ({terms}) matches 0 of {pluralize(len(candidates), 'cluster')}."]
    leaving = {
        request.subject
        for request in (*seen.plan.requests, *seen.plan.blocked)
        if request.next.topic == "remove-secret"
    }
    lost = Counter(
        requirement(one)
        for cluster in candidates
        if str(cluster.name) in leaving
        for one in requirements
        if not one.matches(cluster.labels)
    )
    return [
        f"{pluralize(number, 'cluster')} in Argo CD {'does' if number == 1 else 'do'} not have {text},"
        " which CLUSTER_SELECTOR asks for."
        for text, number in lost.most_common()
    ]


def requirement(one: Requirement) -> str:
    """Write a requirement as a selector does."""
    values = sorted(one.values)
    match one.operator:
        case "exists":
            return one.key
        case "absent":
            return f"!{one.key}"
        case "in":
            return f"{one.key}={values[0]}" if len(values) == 1 else f"{one.key} in ({','.join(values)})"
        case "notin":
            return f"{one.key}!={values[0]}" if len(values) == 1 else f"{one.key} notin ({','.join(values)})"


def check_project(project: str, seen: Snapshot, settings: Settings) -> None:
    """Raise MistakeError for a project that no sweep reads."""
    known = {*seen.inventory.listed, *seen.inventory.unread, settings.fleet_project}
    if project not in known:
        raise MistakeError(f"{project} is none of the projects that a sweep reads: {', '.join(sorted(known))}")


def filter_plan(seen: Snapshot, settings: Settings, project: str, cluster: str) -> Plan:
    """Return the plan of one project or one cluster. The removal limits stay: they count all."""
    plan = seen.plan
    if cluster:
        name = find(cluster, seen, dict(settings.numbers))
        requests = tuple(request for request in plan.requests if request.next.request.name == name)
        return dataclasses.replace(
            plan, requests=requests, findings=tuple(r for r in plan.findings if r.subject == str(name))
        )
    if project:
        check_project(project, seen, settings)
        subject = f"projects/{project}"
        requests = tuple(request for request in plan.requests if request.subject.startswith(f"{subject}/"))
        findings = tuple(r for r in plan.findings if r.subject == subject or r.subject.startswith(f"{subject}/"))
        return dataclasses.replace(plan, requests=requests, findings=findings)
    return plan


def as_text(
    plan: Plan,
    settings: Settings,
    inventory: Inventory | None = None,
    missing: Mapping[str, str] | None = None,
    causes: list[str] | None = None,
) -> str:
    """Return the plan as a person reads it."""
    parts = []
    head = ("KIND", "STEP", "CLUSTER", "WHY")
    if plan.requests:
        parts.append(
            table(
                head, [(request.kind, request.next.topic, request.subject, request.reason) for request in plan.requests]
            )
        )
    parts += [limits.as_text(one, settings, len(inventory.secrets) if inventory else None) for one in plan.reached]
    findings = [report for report in plan.findings if report.subject not in (missing or {})]
    if findings:
        reported = table(("WHAT", "WHY"), [(report.subject, report.text) for report in findings])
        parts.append(f"Reported, not changed:\n{reported}")
    if commands := dict.fromkeys(report.command for report in findings if report.command):
        parts.append("\n".join(["What helps:", *(f"  {command}" for command in commands)]))
    if missing:
        parts.append(f"Could not be read, so nothing is known about it:\n{table(('WHAT', 'WHY'), by_cause(missing))}")
        parts.append("\n".join(lines(remedies.incomplete("python -m ops plan"))))
    parts += [holds.EFFECT] if any(one.kind == "hold" for one in (*plan.requests, *plan.blocked)) else []
    parts += ["\n".join(causes)] if causes else []
    return "\n\n".join([*parts, _summary(plan, settings, missing or {})])


def _summary(plan: Plan, settings: Settings, missing: Mapping[str, str]) -> str:
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(plan.counts.items()))
    if counts:
        end = f"A sweep would publish {pluralize(len(plan.requests), 'request')}: {counts}."
        if len(plan.requests) > settings.sweep_requests:
            end += f" It publishes {settings.sweep_requests} at a time (SWEEP_REQUESTS), repairs first."
        return end
    if missing.keys() & {"the Secrets", "the fleet"}:
        return "There is no plan without the Secrets and the fleet."
    if plan.blocked:
        return "The removal limit keeps a sweep from everything that differs."
    return "Nothing differs in what could be read." if missing else "Nothing differs."


def as_json(plan: Plan, settings: Settings) -> Object:
    """Return the plan as programs read it."""

    def requests(several: tuple[Any, ...]) -> list[Object]:
        return [
            {
                "kind": a.kind,
                "code": a.code,
                "topic": a.next.topic,
                "message": a.next.body(),
                "cluster": a.subject,
                "reason": a.reason,
            }
            for a in several
        ]

    return {
        "differs": differs(plan),
        "requests": requests(plan.requests),
        "blocked": requests(plan.blocked),
        "limits": [limits.as_json(reached, settings) for reached in plan.reached],
        "findings": [
            {"code": report.code, "subject": report.subject, "text": report.text, "command": report.command}
            for report in plan.findings
        ],
    }
