"""The command line of the local cloud: `python -m local …`, for people; tests and the demo use `control.LocalCloud`."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast
from urllib.error import URLError

from local import environment
from local.commands import failures, logs, members, parts, seeds, send, show, up
from local.commands.options import Parser, UsageError
from local.control import ControlError, WrongCallError
from local.output import Output, OutputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    before = sys.stdout, sys.stderr
    with Path(os.devnull).open("w") as nowhere:
        # A stream may be closed (`>&-`). A terminal without UTF-8 gets escapes.
        sys.stdout, sys.stderr = cast("TextIO", Output(before[0] or nowhere)), before[1] or nowhere
        for stream in before:
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return _run(arguments)
        finally:
            sys.stdout, sys.stderr = before


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = _parsed(arguments)
        code = int(options.run(options) or 0)
        sys.stdout.flush()
    except OutputError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would report it once more at exit
        if not error.is_closed:
            print(f"local: {error}", file=sys.stderr)
        return 1
    except (UsageError, WrongCallError) as error:
        print(f"local: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (environment.NotRunningError, ControlError) as error:
        print(f"local: {error}", file=sys.stderr)
        return 1
    except URLError as error:
        print(f"local: the local cloud does not answer: {error.reason}: stop it, and start it again", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"local: {': '.join(str(one) for one in (error.filename, error.strerror or error) if one)}", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        return command_line().parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()  # the help
        raise


def command_line() -> Parser:
    """Return the parser of `python -m local`; building it has no side effect."""
    parser = Parser(
        prog="python -m local", description="Run an emulated Google Cloud with the functions on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for group in (up, show, logs, failures, members, parts, seeds, send):
        group.add(commands)
    return parser
