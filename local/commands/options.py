"""Shared by the groups of commands: adding a command, option values, and the cloud that it calls.

A wrong option is one line and exit code 2.
"""

from __future__ import annotations

import argparse
import os
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from local import ports
from local.config import SETTINGS
from local.control import LocalCloud
from local.functions import PAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[argparse.Namespace], int | None]
    Commands = argparse._SubParsersAction["Parser"]  # noqa: SLF001 - it has no public name

CLUSTERS_SHORT = "the full name, or its last part if only one has it"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class UsageError(RuntimeError):
    """A usage error; the message says why. Exit code 2."""


class Parser(argparse.ArgumentParser):
    """Ends a usage error with one line and 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"local: {' '.join(message.split())}. See: {self.prog} --help\n")


def add_command(
    commands: Commands, name: str, run: Run, text: str, *, directory: bool = True
) -> argparse.ArgumentParser:
    """Add a command; `run` executes it. `directory`: it starts or calls the cloud of a folder."""
    one = commands.add_parser(name, help=text, description=text)
    if directory:
        one.add_argument(
            "--directory",
            type=_directory,
            default=os.environ.get("LOCAL_CLOUD") or ".local",
            help="folder of the cloud's files (default: $LOCAL_CLOUD if set, else .local)",
        )
    one.set_defaults(run=run)
    return one


def _directory(text: str) -> Path:
    try:
        return Path(filled(text)).resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        why = getattr(error, "strerror", None) or error
        raise argparse.ArgumentTypeError(f"{text}: {why}; take another directory") from error


def running_cloud(options: argparse.Namespace) -> LocalCloud:
    """Return the client of the cloud that runs in the directory of the options."""
    return LocalCloud.from_env(options.directory)


def pairs(text: str) -> dict[str, str]:
    """Read `k=v,k=v`."""
    parts = text.split(",")
    if not all(part.partition("=")[0] and "=" in part for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form k=v,k=v")
    return dict(part.split("=", 1) for part in parts)


def number(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """Return a reader of whole numbers in a range."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,9}", text) or not lowest <= int(text) <= (highest or 10**9):
            span = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {span}")
        return int(text)

    return read


def seconds(text: str) -> float:
    """Read a number of seconds."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0")
    return float(text)


def port(text: str) -> dict[str, int]:
    """Read `NAME=N`: the port of one API, metadata server or function."""
    name, _, value = text.partition("=")
    if name not in ports.defaults():
        raise argparse.ArgumentTypeError(
            f"{text!r}: no port has the name {name!r}; names: {', '.join(ports.APIS)}, 'metadata NAME', 'function NAME'"
        )
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=N")
    return {name: number(1, 65535)(value)}


def setting(text: str) -> dict[str, str]:
    """Read `NAME=VALUE`: a setting of the functions."""
    name, given, value = text.partition("=")
    if not given or name not in SETTINGS:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE with a name of {', '.join(SETTINGS)}")
    return {name: value}


def function(text: str) -> str:
    """Read the name of a function that messages wake."""
    return _one_of(text, ports.functions())


def logging_function(text: str) -> str:
    """Read the name of a function, also of one that people call."""
    return _one_of(text, [*ports.functions(), *PAGES])


def _one_of(text: str, names: list[str]) -> str:
    if text not in names:
        raise argparse.ArgumentTypeError(f"{text!r} is not a function: {', '.join(names)}")
    return text


def filled(text: str) -> str:
    """Read a text that is not empty: otherwise an unset variable of the shell would select everything."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the value is empty")
    return text


def api(text: str) -> str:
    """Read a pattern that an API's name matches, or `function NAME`."""
    # No fault reaches the control API; publishing over gRPC is a call of `pubsub`.
    apis = [name for name in ports.APIS if name not in {"control", "pubsub-grpc"}]
    names = [*apis, *(name for name in ports.defaults() if name not in ports.APIS)]
    if not any(fnmatchcase(name, text) for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is not an API: {', '.join(apis)}, or 'function NAME'")
    return text


def call(text: str) -> str:
    """Read a pattern on a call: a method, a space and a path."""
    if not any(fnmatchcase(method, text.partition(" ")[0]) for method in METHODS):
        raise argparse.ArgumentTypeError(f"{text!r} is not 'METHOD PATH', where METHOD is {', '.join(METHODS)} or *")
    return text
