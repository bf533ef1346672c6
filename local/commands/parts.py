"""`function` and `do`: kill, stop and start functions, and call whatever a part offers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.commands.options import add_command, running_cloud

if TYPE_CHECKING:
    import argparse

    from local.commands.options import Commands


def add(commands: Commands) -> None:
    """Add the commands."""
    function = add_command(commands, "function", _function, "kill, stop or start a function")
    function.add_argument("action", choices=["kill", "stop", "start"])
    function.add_argument("name", help="like write-secret")

    do = add_command(
        commands, "do", _do, "call what a part offers to tests and people, like `do gke fail_next what=delete`"
    )
    do.add_argument(
        "part", help="gke, fleet, projects, iam, eventarc or cloud: the class of that name says what it offers"
    )
    do.add_argument("method")
    do.add_argument("arguments", nargs="*", metavar="[NAME=]VALUE", help="JSON, or a plain word")


def _function(options: argparse.Namespace) -> None:
    running_cloud(options).do("cloud", f"{options.action}_function", name=options.name)


def _do(options: argparse.Namespace) -> None:
    plain = [_value(argument) for argument in options.arguments if "=" not in argument]
    pairs = (argument.partition("=") for argument in options.arguments if "=" in argument)
    named = {name: _value(text) for name, _, text in pairs}
    answer = running_cloud(options).do(options.part, options.method, *plain, **named)
    if answer is not None:
        print(json.dumps(answer, indent=2))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
