"""The command line of the local cloud: `python -m local …`, for people; tests and the demo use `control.LocalCloud`."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from local import environment
from local.commands import failures, logs, members, parts, seeds, send, show, up
from local.commands.options import Parser, UsageError
from local.control import ControlError, WrongCallError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a terminal without UTF-8 gets escapes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = command_line().parse_args(arguments)
    try:
        code = int(options.run(options) or 0)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe; Python would report that once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UsageError, WrongCallError) as error:
        print(f"local: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (environment.NotRunningError, ControlError, OSError) as error:
        print(f"local: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def command_line() -> Parser:
    """Return the parser of `python -m local`; building it has no side effect."""
    parser = Parser(
        prog="python -m local", description="Run an emulated Google Cloud with the functions on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for group in (up, show, logs, failures, members, parts, seeds, send):
        group.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
