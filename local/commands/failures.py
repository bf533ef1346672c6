"""`fault` and `event`: let calls fail, and events be lost, repeated, delayed or held."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from local.commands.options import add_command, running_cloud
from local.google.events import EFFECTS as EVENT_EFFECTS
from local.google.faults import EFFECTS as FAULT_EFFECTS

if TYPE_CHECKING:
    import argparse

    from local.commands.options import Commands


def add(commands: Commands) -> None:
    """Add the commands."""
    fault = add_command(commands, "fault", _fault, "let calls of the emulated APIs fail")
    fault.add_argument("action", choices=["add", "list", "clear"])
    fault.add_argument("--effect", choices=FAULT_EFFECTS, default="status")
    fault.add_argument("--api", default="*", help="container, gkehub, connectgateway, kubernetes, pubsub, platform")
    fault.add_argument("--call", default="*", help="pattern, like 'PATCH */secrets/*'")
    fault.add_argument("--caller", default="*", help="pattern on the e-mail, like 'write-secret@*'")
    fault.add_argument("--status", type=int, default=503, help="the HTTP status of the effect `status`")
    fault.add_argument("--seconds", type=float, default=300.0, help="how long `slow` and `timeout` take")
    fault.add_argument("--skip", type=int, default=0, help="let so many calls pass first")
    fault.add_argument("--times", type=int, default=1, help="how many calls to hit (0: until cleared)")

    event = add_command(commands, "event", _event, "let events be lost, repeated, delayed or held")
    event.add_argument("action", choices=[*EVENT_EFFECTS, "release", "list", "clear"])
    event.add_argument("--event", default="*", help="pattern, like 'DeleteCluster.*blue' or 'membership.updated *'")
    event.add_argument("--copies", type=int, default=5, help="how often `repeat` sends it in all")
    event.add_argument("--seconds", type=float, default=5.0, help="how long `delay` waits")
    event.add_argument("--skip", type=int, default=0, help="let so many events pass first")
    event.add_argument("--times", type=int, default=1, help="how many events to hit (0: until cleared)")
    event.add_argument("--order", help="for `release`: places among the held, like 2,0,1 (default: as they came)")


def _fault(options: argparse.Namespace) -> None:
    cloud = running_cloud(options)
    if options.action == "clear":
        cloud.remove_faults()
    elif options.action == "list":
        print(json.dumps(cloud.state()["faults"], indent=2))
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
            print(json.dumps(cloud.state()["events"], indent=2))
        case "release":
            order = [int(place) for place in options.order.split(",")] if options.order else None
            print("\n".join(cloud.release(order)))
        case effect:
            given = {key: getattr(options, key) for key in ("event", "copies", "seconds", "skip", "times")}
            print(cloud.add_event_rule(effect, **given)["id"])
