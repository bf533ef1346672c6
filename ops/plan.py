"""`ops plan`: what a sweep would do. It reads what a sweep reads, and publishes and writes nothing."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from ops.survey import Snapshot, connected, find, is_about, survey
from ops.terminal import MistakeError, pluralize, table
from shared.decisions.sweep_plan import Plan
from shared.values.settings import Settings

if TYPE_CHECKING:
    import argparse


DIFFERENT = 2


def run(options: argparse.Namespace) -> int:
    """Show the plan; 0 nothing differs, 2 something does."""
    services = connected()
    settings = services.settings
    plan = filter_plan(survey(services), settings, options.project, options.cluster)
    print(json.dumps(as_json(plan, settings), indent=2) if options.json else as_text(plan, settings))
    return DIFFERENT if differs(plan) else 0


def differs(plan: Plan) -> bool:
    """Whether a sweep would publish anything, or the removal limit stops it. Reports do not count."""
    return bool(plan.requests or plan.blocked)


def filter_plan(seen: Snapshot, settings: Settings, project: str, cluster: str) -> Plan:
    """Return what of the plan is about one project or one cluster. The removal limit still counts all clusters."""
    plan = seen.plan
    if cluster:
        name = find(cluster, seen, dict(settings.numbers))
        requests = tuple(ask for ask in plan.requests if is_about(ask.next.request, name))
        return dataclasses.replace(
            plan, requests=requests, findings=tuple(r for r in plan.findings if r.subject == str(name))
        )
    if project:
        known = {*seen.inventory.listed, *seen.inventory.unread, settings.fleet_project}
        if project not in known:
            raise MistakeError(f"{project} is none of the projects that a sweep reads: {', '.join(sorted(known))}")
        subject = f"projects/{project}"
        requests = tuple(ask for ask in plan.requests if ask.subject.startswith(f"{subject}/"))
        findings = tuple(r for r in plan.findings if r.subject == subject or r.subject.startswith(f"{subject}/"))
        return dataclasses.replace(plan, requests=requests, findings=findings)
    return plan


def as_text(plan: Plan, settings: Settings) -> str:
    """Return the plan as a person reads it."""
    parts = []
    if plan.requests:
        rows = [(ask.kind, ask.next.topic, ask.subject, ask.reason) for ask in plan.requests]
        parts.append(table(("KIND", "ASKS", "CLUSTER", "WHY"), rows))
    if plan.blocked:
        rows = [(ask.kind, ask.next.topic, ask.subject, ask.reason) for ask in plan.blocked]
        clusters = pluralize(len({ask.subject for ask in plan.blocked}), "cluster")
        parts.append(
            f"REMOVAL LIMIT EXCEEDED: {clusters} would newly be held or lose a label key, {plan.allowed} are allowed"
            f" (MAX_REMOVALS). None of these requests is published:\n{table(('KIND', 'ASKS', 'CLUSTER', 'WHY'), rows)}\n"
            f"If it is right, release exactly this plan ({plan.hash}):\n  {release(plan, settings)}"
        )
    if plan.findings:
        found = [(report.subject, report.text) for report in plan.findings]
        parts.append(f"Reported, unchanged:\n{table(('WHAT', 'WHY'), found)}")
    asked = ", ".join(f"{number} {kind}" for kind, number in sorted(plan.counts.items()))
    end = f"A sweep would ask for {pluralize(len(plan.requests), 'thing')}: {asked}." if asked else "Nothing differs."
    if len(plan.requests) > settings.sweep_requests:
        end += f" It publishes {settings.sweep_requests} at a time (SWEEP_REQUESTS), repairs first."
    if not asked and plan.blocked:
        end = "The removal limit stops every request."
    return "\n\n".join([*parts, end])


def as_json(plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the plan as programs read it."""

    def requests(several: tuple[Any, ...]) -> list[dict[str, Any]]:
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
        "allowed": plan.allowed,
        "hash": plan.hash,
        "release": release(plan, settings) if plan.blocked else "",
        "findings": [{"code": report.code, "subject": report.subject, "text": report.text} for report in plan.findings],
    }


def release(plan: Plan, settings: Settings) -> str:
    """Return the command that releases exactly this plan."""
    return publish_command("sweep", {"release": plan.hash}, settings)


def publish_command(topic: str, body: dict[str, Any], settings: Settings) -> str:
    """Return the one line by which a person asks for something."""
    message = json.dumps(body, separators=(",", ":"))
    return f"gcloud pubsub topics publish {topic} --project={settings.pubsub_project} --message='{message}'"
