"""Checks of the functions and of what wakes them: triggers, sinks, the schedule. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ops.doctor import commands
from ops.doctor.checks_google import INVOKE, PUBLISH, may, roles_of
from ops.doctor.codes import Code
from ops.doctor.expected import (
    AUDIT_EVENT,
    AUDIT_LOG_ENTRIES,
    AUDIT_METHODS,
    MEMBERSHIP_EVENTS,
    ROUTER,
    SINK_FILTER,
    STATUS,
    SWEEP,
    Expected,
)
from ops.doctor.findings import Check, Finding, Unread
from ops.doctor.observed import Delivery, Google, at, short
from ops.remedies import SETTINGS
from ops.terminal import ago, pluralize
from shared.values import settings as settings_module
from shared.values.commands import gcloud
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


# A build variable that Terraform sets to the bundle's hash: Google copies the source, so its address tells nothing.
BUNDLE: Final = "BUNDLE"
PUBLIC: Final = ("allUsers", "allAuthenticatedUsers")
SWEEP_LATE: Final = timedelta(hours=1)


def check_functions(expected: Expected, seen: Delivery) -> list[Finding]:
    """Every function is ACTIVE, runs as its own identity, and takes internal calls alone."""
    check = Check("functions")
    functions = check.known(seen.functions, expected.project)
    for name in expected.deployed if functions is not None else ():
        found = (functions or {}).get(name)
        if found is None:
            check.fail(Code.FUNCTION_MISSING, name, "is not deployed", commands.TERRAFORM)
            continue
        where = {"region": region_of(found), "project": expected.project}
        describe = gcloud("functions describe", name, "--gen2", **where)
        if (state := found.get("state")) != "ACTIVE":
            messages = "; ".join(str(at(one, "message")) for one in found.get("stateMessages") or [])
            text = f"is {state}" + (f": {messages}" if messages else "")
            check.fail(Code.FUNCTION_NOT_ACTIVE, name, text, describe)
        account = at(found, "serviceConfig", "serviceAccountEmail")
        if account != expected.account(name):
            text = f"runs as {account}, not as {expected.account(name)}"
            check.fail(Code.FUNCTION_IDENTITY_WRONG, name, text, commands.TERRAFORM)
        ingress = at(found, "serviceConfig", "ingressSettings")
        if ingress != "ALLOW_INTERNAL_ONLY" and name != STATUS:  # people call the page; IAM says who may
            text = f"takes calls from outside the project ({ingress})"
            check.warn(Code.FUNCTION_OPEN, name, text, commands.TERRAFORM)
    return check.end("", f"{len(expected.deployed)} ACTIVE, each with its own identity")


def check_code(expected: Expected, seen: Delivery) -> list[Finding]:
    """All functions run the same code."""
    check = Check("code")
    functions = check.known(seen.functions, expected.project)
    if functions is None:
        return check.end("", "")
    found = {name: at(functions[name], "buildConfig", "environmentVariables", BUNDLE) for name in functions}
    if not any(found.values()):
        check.unknown("", f"no function has the build variable {BUNDLE}, which tells its code", commands.TERRAFORM)
        return check.end("", "")
    hashes = sorted({str(each) for each in found.values()})
    if len(hashes) > 1:
        most = max(hashes, key=lambda one: sum(str(each) == one for each in found.values()))
        others = sorted(name for name, each in found.items() if str(each) != most)
        text = f"run other code than the rest ({most[:12]}): a failed build, or an upgrade that broke off"
        check.fail(Code.CODE_DIFFERS, ", ".join(others), text, commands.TERRAFORM)
    return check.end("", f"all run bundle {hashes[0][:12]}")


def check_settings(expected: Expected, seen: Delivery, environment: Mapping[str, str]) -> list[Finding]:
    """Every function has valid settings, the same as the operator's."""
    check = Check("function-settings")
    functions = check.known(seen.functions, expected.project) or {}
    differing: dict[str, list[str]] = defaultdict(list)
    for name, found in sorted(functions.items()):
        theirs = {str(key): str(value) for key, value in (_variables(found) or {}).items()}
        try:
            parsed = settings_module.load(theirs)
        except settings_module.SettingsError as error:
            check.fail(Code.SETTINGS_FAULTY, name, str(error), commands.TERRAFORM)
            continue
        differ = sorted(
            field.name.upper()
            for field in fields(parsed)
            if not field.name.endswith("endpoint")
            and field.name != "pubsub_emulator"
            and getattr(parsed, field.name) != getattr(expected.settings, field.name)
        )
        if differ:
            names = {one: one for one in differ} | {"SELECTOR": "CLUSTER_SELECTOR"}
            text = ", ".join(
                f"{names[one]} is {theirs.get(names[one], '(not set)')!r}, yours is {environment.get(names[one], '(not set)')!r}"
                for one in differ
            )
            differing[text].append(name)
    for text, several in differing.items():
        # What all functions agree on is deployed: the operator's own settings are others.
        everywhere = len(several) == len(functions)
        subject = f"all {len(several)} functions" if everywhere and len(several) > 1 else ", ".join(several)
        check.fail(Code.SETTINGS_DIFFER, subject, text, SETTINGS if everywhere else commands.TERRAFORM)
    return check.end("", "the same everywhere, and the same as yours")


def check_invokers(expected: Expected, seen: Delivery, google: Google) -> list[Finding]:
    """Pub/Sub's identity may call every function, Eventarc's `route-event`, and the public none."""
    check = Check("invokers")
    functions = check.known(seen.functions, expected.project)
    for name in expected.functions if functions is not None else ():
        if name not in (functions or {}):
            continue  # reported by `functions`
        policy = check.known_of(seen.invokers, name)
        if policy is None:
            continue
        project, region = expected.project, region_of((functions or {})[name])
        callers = [expected.push_account] + ([expected.trigger_account] if name == ROUTER else [])
        for account in callers:
            member = f"serviceAccount:{account}"
            if not may(member, INVOKE, policy, google, expected.project):
                role = "roles/run.servicesInvoker"
                fix = commands.grant("run services", name, member, role, project=project, region=region)
                check.fail(Code.INVOKER_MISSING, name, f"{account} may not call it", fix)
        if any(roles_of(policy, member) for member in PUBLIC):
            list_policy = gcloud("run services get-iam-policy", name, region=region, project=project)
            check.fail(Code.PUBLIC_INVOKER, name, "anyone may call it", list_policy)
    return check.end("", "Pub/Sub and Eventarc may call the functions, nobody else may")


def check_triggers(expected: Expected, seen: Delivery) -> list[Finding]:
    """An Eventarc trigger for every method and every membership event calls route-event."""
    check = Check("triggers")
    triggers = check.known(seen.triggers, expected.project)
    if triggers is None:
        return check.end("", "")
    required: list[tuple[str, str]] = [(AUDIT_EVENT, method) for method in AUDIT_METHODS]
    if expected.settings.fleet_project == expected.project:  # a trigger sees its own project's events
        required += [(event, "") for event in MEMBERSHIP_EVENTS]
    for event, method in required:
        what = method or event
        matching = [one for one in triggers if _filters(one).items() >= _required_filters(event, method).items()]
        if not matching:
            check.fail(Code.TRIGGER_MISSING, what, "has no trigger", commands.TERRAFORM)
            continue
        faults = [_trigger_fault(expected, one, is_audit=bool(method)) for one in matching]
        if all(faults):
            check.fail(Code.TRIGGER_WRONG, short(matching[0].get("name")), faults[0], commands.TERRAFORM)
    return check.end("", f"{len(required)} events reach {ROUTER}")


def check_sinks(expected: Expected, seen: Delivery, google: Google) -> list[Finding]:
    """Every source project exports GKE's audit entries to our topic, and its sink's writer may publish."""
    check = Check("sinks")
    destination = _destination(expected)
    for project in sorted(expected.settings.source_projects):
        sinks = check.known_of(seen.sinks, project)
        if sinks is None:
            continue
        matching = [
            one for one in sinks if short(one.get("name")) == expected.sink or one.get("destination") == destination
        ]
        if not matching and project == expected.project and has_triggers(seen):
            continue  # triggers carry its entries
        if not matching:
            check.fail(Code.SINK_MISSING, project, f"has no sink {expected.sink}", commands.TERRAFORM)
            continue
        faults = [_sink_fault(expected, project, one, seen, google) for one in matching]
        if all(faults):
            code, text, fix = next(fault for fault in faults if fault)
            check.fail(code, f"{short(matching[0].get('name'))} in {project}", text, fix)
    number = len(expected.settings.source_projects)
    return check.end("", f"{pluralize(number, 'source project')} with a sink to {AUDIT_LOG_ENTRIES}")


def check_schedule(expected: Expected, seen: Delivery, now: datetime) -> list[Finding]:
    """The schedule publishes to the sweep's topic, and a sweep ended lately."""
    check = Check("sweep")
    jobs = check.known(seen.jobs, expected.project)
    paused = False
    if jobs is not None:
        matching = [one for one in jobs if at(one, "pubsubTarget", "topicName") == expected.topic(SWEEP)]
        named = [one for one in jobs if short(one.get("name")) == SWEEP]
        if not matching:
            text = "publishes to another topic" if named else "no schedule publishes to topic sweep"
            code = Code.JOB_WRONG if named else Code.JOB_MISSING
            check.fail(code, SWEEP, text, commands.TERRAFORM)
        elif all(one.get("state") != "ENABLED" for one in matching):
            paused = True
            name, location = short(matching[0].get("name")), region_of(matching[0])
            resume = gcloud("scheduler jobs resume", name, location=location, project=expected.project)
            text = f"the schedule is {matching[0].get('state')}: read `python -m ops plan`, then resume it"
            check.warn(Code.JOB_PAUSED, SWEEP, text, resume)
        elif not any(at(one, "pubsubTarget", "data") for one in matching):
            check.fail(Code.JOB_WRONG, SWEEP, "publishes without a body, which is refused", commands.TERRAFORM)
    last = check.known(seen.last_sweep, SWEEP)
    is_late = last is None or now - last > SWEEP_LATE
    if not isinstance(seen.last_sweep, Unread) and is_late and not paused:
        text = "no sweep ended in the last day" if last is None else f"the last sweep ended {ago(last, now)}"
        check.warn(
            Code.NO_SWEEP, SWEEP, text, gcloud("pubsub topics publish", SWEEP, project=expected.project, message="{}")
        )
    return check.end(SWEEP, f"scheduled; the last one ended {ago(last, now)}" if last else "scheduled")


def has_triggers(seen: Delivery) -> bool:
    """Whether Eventarc delivers audit entries of the functions' own project."""
    return not isinstance(seen.triggers, Unread) and any(
        _filters(one).get("type") == AUDIT_EVENT for one in seen.triggers
    )


def region_of(resource: Object) -> str:
    """Return the location of a function, a trigger or a schedule, which its name has."""
    return "".join(str(resource.get("name", "")).split("/")[3:4])


def _variables(function: Object) -> Object | None:
    found: Object | None = at(function, "serviceConfig", "environmentVariables")
    return found


def _filters(trigger: Object) -> dict[str, str]:
    return {str(at(one, "attribute")): str(at(one, "value")) for one in trigger.get("eventFilters") or []}


def _required_filters(event: str, method: str) -> dict[str, str]:
    audit = {"serviceName": "container.googleapis.com", "methodName": method}
    return {"type": event} | (audit if method else {})


def _trigger_fault(expected: Expected, trigger: Object, *, is_audit: bool) -> str:
    """Return what is wrong with a trigger, '' for nothing."""
    service = short(at(trigger, "destination", "cloudRun", "service") or at(trigger, "destination", "cloudFunction"))
    location = region_of(trigger)
    if service != ROUTER:
        return f"calls {service or 'nothing'}, not {ROUTER}"
    if trigger.get("serviceAccount") != expected.trigger_account:
        return f"calls as {trigger.get('serviceAccount')}, not as {expected.trigger_account}"
    if is_audit and location != "global":
        return f"is in {location}: audit entries of all regions arrive in global alone"
    if trigger.get("eventDataContentType") == "application/protobuf":
        return "delivers protobuf, which a Python function gets as bytes"
    return ""


def _sink_fault(
    expected: Expected, project: str, sink: Object, seen: Delivery, google: Google
) -> tuple[Code, str, str] | None:
    """Return what is wrong with a sink: code, message, fix."""
    name, destination = short(sink.get("name")), _destination(expected)
    if sink.get("disabled"):
        fix = gcloud("logging sinks update", name, f"--project={project}", "--no-disabled")
        return Code.SINK_DISABLED, "is disabled", fix
    if sink.get("destination") != destination:
        return Code.SINK_DESTINATION, f"writes to {sink.get('destination')}", commands.TERRAFORM
    if _words(sink.get("filter")) != _words("\n".join(SINK_FILTER).replace("${var.project}", expected.project)):
        return Code.SINK_FILTER, f"selects other entries: {sink.get('filter')}", commands.TERRAFORM
    writer = str(sink.get("writerIdentity", ""))
    policy = seen.topic_policies.get(AUDIT_LOG_ENTRIES)
    if isinstance(policy, tuple) and not may(writer, PUBLISH, policy, google, expected.project):
        fix = commands.grant_publish(expected.project, AUDIT_LOG_ENTRIES, writer)
        return Code.SINK_CANNOT_PUBLISH, f"{writer} may not publish: entries are lost", fix
    return None


def _destination(expected: Expected) -> str:
    return f"pubsub.googleapis.com/{expected.topic(AUDIT_LOG_ENTRIES)}"


def _words(text: object) -> list[str]:
    """Blanks and a written AND mean the same as a new line."""
    return [word for word in re.split(r"\s+", str(text or "")) if word and word != "AND"]
