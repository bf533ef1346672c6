"""`function` and `do`: kill, stop and start functions, and call whatever a part offers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.commands.options import UsageError, add_command, function, running_cloud
from local.commands.tables import print_table

if TYPE_CHECKING:
    import argparse

    from local.commands.options import Commands


def add(commands: Commands) -> None:
    """Add the commands."""
    one = add_command(commands, "function", _function, "kill, stop or start a function")
    one.add_argument("action", choices=["kill", "stop", "start"])
    one.add_argument("name", type=function, help="a function, like write-secret")

    do = add_command(commands, "do", _do, "call a method of a part of the cloud, like `do gke fail_next what=delete`")
    do.add_argument("--list", action="store_true", help="show the methods of all parts, or of one")
    do.add_argument("part", nargs="?", help="like gke, fleet, iam or cloud")
    do.add_argument("method", nargs="?")
    do.add_argument("arguments", nargs="*", metavar="[NAME=]VALUE", help="JSON, or a plain word")


def _function(options: argparse.Namespace) -> None:
    running_cloud(options).do("cloud", f"{options.action}_function", name=options.name)


def _do(options: argparse.Namespace) -> None:
    if options.method is None and not options.list:
        raise UsageError("`do` needs a part and a method; `do --list` shows them")
    cloud = running_cloud(options)
    if options.list:
        _print_parts(cloud.parts(), options.part)
        return
    plain = [_value(argument) for argument in options.arguments if "=" not in argument]
    given = (argument.partition("=") for argument in options.arguments if "=" in argument)
    named = {name: _value(text) for name, _, text in given}
    answer = cloud.do(options.part, options.method, *plain, **named)
    if answer is not None:
        print(json.dumps(answer, indent=2))


def _print_parts(parts: dict[str, dict[str, str]], only: str | None) -> None:
    if only is not None and only not in parts:
        raise UsageError(f"there is no part {only}: {', '.join(parts)}")
    for part, methods in parts.items():
        if only in (None, part):
            print_table(part, ("method", "arguments"), list(methods.items()))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
