"""What the groups of commands share: how a command is added, its option values, and which cloud it calls."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from local.control import LocalCloud

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[argparse.Namespace], int | None]
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name

CLUSTERS_SHORT = "the full name, or its last part where only one has it"


def add_command(commands: Commands, name: str, run: Run, text: str) -> argparse.ArgumentParser:
    """Add a command that `run` carries out, with the option that every command has."""
    one = commands.add_parser(name, help=text, description=text)
    one.add_argument(
        "--directory", type=Path, help="where it keeps its files (default: $LOCAL_CLOUD for commands, else .local)"
    )
    one.set_defaults(run=run)
    return one


def running_cloud(options: argparse.Namespace) -> LocalCloud:
    """Return the client of the cloud that runs in the directory of the options."""
    return LocalCloud.from_env(options.directory)


def pairs(text: str) -> dict[str, str]:
    """Read `k=v,k=v`."""
    found = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form k=v,k=v")
    return found
