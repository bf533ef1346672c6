"""`fault` and `event`: make calls fail; lose, repeat, delay or hold events."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from local.commands.options import add_command, api, call, number, running_cloud, seconds
from local.commands.tables import print_table
from local.google.events import EFFECTS as EVENT_EFFECTS
from local.google.faults import EFFECTS as FAULT_EFFECTS

if TYPE_CHECKING:
    from local.commands.options import Commands


def add(commands: Commands) -> None:
    """Add the commands."""
    fault = add_command(commands, "fault", _fault, "make calls of the emulated APIs fail")
    fault.add_argument("action", choices=["add", "list", "clear"])
    fault.add_argument("--json", action="store_true", help="for `list`: as JSON")
    fault.add_argument("--effect", choices=FAULT_EFFECTS, default="status")
    fault.add_argument("--api", type=api, default="*", help="like gkehub, connectgateway, pubsub, or 'function sweep'")
    fault.add_argument("--call", type=call, default="*", help="pattern, like 'PATCH */secrets/*'")
    fault.add_argument("--caller", default="*", help="pattern on the e-mail, like 'write-secret@*'")
    fault.add_argument("--status", type=number(400, 599), default=503, help="the HTTP status of the effect `status`")
    fault.add_argument("--seconds", type=seconds, default=300.0, help="how many seconds `slow` and `timeout` take")
    fault.add_argument("--skip", type=number(0), default=0, help="how many calls pass before the first failure")
    fault.add_argument("--times", type=number(0), default=1, help="how many calls fail (0: until `clear`)")

    event = add_command(commands, "event", _event, "lose, repeat, delay or hold events")
    event.add_argument("action", choices=[*EVENT_EFFECTS, "release", "list", "clear"])
    event.add_argument("--json", action="store_true", help="for `list`: as JSON")
    event.add_argument("--event", default="*", help="pattern, like 'DeleteCluster.*blue' or 'membership.updated *'")
    event.add_argument(
        "--copies", type=number(1, 1000), default=5, help="how often `repeat` delivers an event in total"
    )
    event.add_argument("--seconds", type=seconds, default=5.0, help="how many seconds `delay` waits")
    event.add_argument(
        "--skip", type=number(0), default=0, help="how many events pass before the first one is affected"
    )
    event.add_argument("--times", type=number(0), default=1, help="how many events are affected (0: until `clear`)")
    event.add_argument(
        "--order", type=places, help="for `release`: order of the held events, like 2,0,1 (default: as they arrived)"
    )


def _fault(options: argparse.Namespace) -> None:
    cloud = running_cloud(options)
    if options.action == "clear":
        cloud.remove_faults()
    elif options.action == "list":
        _print_faults(cloud.state()["faults"], as_json=options.json)
    else:
        given = {
            key: getattr(options, key)
            for key in ("effect", "api", "call", "caller", "status", "seconds", "skip", "times")
        }
        print(cloud.add_fault(**given)["id"])


def _event(options: argparse.Namespace) -> None:
    cloud = running_cloud(options)
    match options.action:
        case "clear":
            cloud.remove_event_rules()
        case "list":
            _print_events(cloud.state()["events"], as_json=options.json)
        case "release":
            print("\n".join(cloud.release(options.order)) or "no event is held")
        case effect:
            given = {key: getattr(options, key) for key in ("event", "copies", "seconds", "skip", "times")}
            print(cloud.add_event_rule(effect, **given)["id"])


def places(text: str) -> list[int]:
    """Read places among the held events, like 2,0,1."""
    if not all(part.isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of places like 2,0,1")
    return [int(part) for part in text.split(",")]


def _print_faults(faults: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(faults, indent=2))
        return
    heads = ("id", "effect", "api", "call", "caller", "status", "seconds", "skip", "times", "hits")
    rows = []
    for fault in faults:
        shown = fault | {"status": fault["status"] if fault["effect"] == "status" else ""}
        shown["seconds"] = fault["seconds"] if fault["effect"] in ("slow", "timeout") else ""
        rows.append([shown[head] for head in heads])
    print_table("faults", heads, rows)


def _print_events(events: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(events, indent=2))
        return
    rules = ("id", "effect", "event", "copies", "seconds", "skip", "times", "hits")
    print_table("rules", rules, [[rule[head] for head in rules] for rule in events["rules"]])
    print_table("held", ("place", "event"), list(enumerate(events["held"])))
    seen = ("name", "state", "attempts", "answer")
    print_table("events", seen, [[event[head] for head in seen] for event in events["log"]])
