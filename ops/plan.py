"""`ops plan`: what a sweep would do. It reads what a sweep reads, and publishes and writes nothing."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from ops.survey import Survey, connected, find, is_about, survey
from ops.terminal import MistakeError, counted, table
from shared.decisions.sweep_plan import Plan
from shared.values.settings import Settings

if TYPE_CHECKING:
    import argparse


DIFFERENT = 2


def run(options: argparse.Namespace) -> int:
    """Show the plan; 0 nothing differs, 2 something does."""
    services = connected()
    settings = services.settings
    plan = narrowed(survey(services), settings, options.project, options.cluster)
    print(json.dumps(as_json(plan, settings), indent=2) if options.json else as_text(plan, settings))
    return DIFFERENT if differs(plan) else 0


def differs(plan: Plan) -> bool:
    """Whether a sweep would ask for anything, or is kept from it by the brake. What is only reported does not count."""
    return bool(plan.asks or plan.braked)


def narrowed(seen: Survey, settings: Settings, project: str, cluster: str) -> Plan:
    """Return what of the plan is about one project or one cluster. The brake stays: it is counted against everything."""
    plan = seen.plan
    if cluster:
        name = find(cluster, seen, dict(settings.numbers))
        asks = tuple(ask for ask in plan.asks if is_about(ask.next.request, name))
        return dataclasses.replace(plan, asks=asks, reports=tuple(r for r in plan.reports if r.subject == str(name)))
    if project:
        known = {*seen.inventory.listed, *seen.inventory.unread, settings.fleet_project}
        if project not in known:
            raise MistakeError(f"{project} is none of the projects that a sweep reads: {', '.join(sorted(known))}")
        subject = f"projects/{project}"
        asks = tuple(ask for ask in plan.asks if ask.subject.startswith(f"{subject}/"))
        reports = tuple(r for r in plan.reports if r.subject == subject or r.subject.startswith(f"{subject}/"))
        return dataclasses.replace(plan, asks=asks, reports=reports)
    return plan


def as_text(plan: Plan, settings: Settings) -> str:
    """Return the plan as a person reads it."""
    parts = []
    if plan.asks:
        rows = [(ask.kind, ask.next.topic, ask.subject, ask.reason) for ask in plan.asks]
        parts.append(table(("KIND", "ASKS", "CLUSTER", "WHY"), rows))
    if plan.braked:
        rows = [(ask.kind, ask.next.topic, ask.subject, ask.reason) for ask in plan.braked]
        clusters = counted(len({ask.subject for ask in plan.braked}), "cluster")
        parts.append(
            f"THE BRAKE HOLDS: {clusters} would newly be held or lose a label key, {plan.allowed} are allowed"
            f" (MAX_REMOVALS). None of this is asked for:\n{table(('KIND', 'ASKS', 'CLUSTER', 'WHY'), rows)}\n"
            f"If it is right, release exactly this plan ({plan.hash}):\n  {release(plan, settings)}"
        )
    if plan.reports:
        told = [(report.subject, report.text) for report in plan.reports]
        parts.append(f"Seen, and left alone:\n{table(('WHAT', 'WHY'), told)}")
    asked = ", ".join(f"{number} {kind}" for kind, number in sorted(plan.counts.items()))
    end = f"A sweep would ask for {counted(len(plan.asks), 'thing')}: {asked}." if asked else "Nothing differs."
    if len(plan.asks) > settings.sweep_requests:
        end += f" It asks for {settings.sweep_requests} at a time (SWEEP_REQUESTS), mending first."
    if not asked and plan.braked:
        end = "Everything that differs waits behind the brake."
    return "\n\n".join([*parts, end])


def as_json(plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the plan as programs read it."""

    def asks(several: tuple[Any, ...]) -> list[dict[str, Any]]:
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
        "asks": asks(plan.asks),
        "braked": asks(plan.braked),
        "allowed": plan.allowed,
        "hash": plan.hash,
        "release": release(plan, settings) if plan.braked else "",
        "reports": [{"code": report.code, "subject": report.subject, "text": report.text} for report in plan.reports],
    }


def release(plan: Plan, settings: Settings) -> str:
    """Return the command that releases exactly this plan."""
    return publish_command("sweep", {"release": plan.hash}, settings)


def publish_command(topic: str, body: dict[str, Any], settings: Settings) -> str:
    """Return the one line by which a person asks for something."""
    message = json.dumps(body, separators=(",", ":"))
    return f"gcloud pubsub topics publish {topic} --project={settings.pubsub_project} --message='{message}'"
