"""The command line of the local cloud: `python -m local …`, for people; tests and the demo use `control.LocalCloud`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from local import environment
from local.commands import failures, members, parts, show, up
from local.control import ControlError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = command_line().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except (environment.NotRunningError, ControlError, OSError) as error:
        print(f"local: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def command_line() -> argparse.ArgumentParser:
    """Return the parser of `python -m local`; building it has no side effect."""
    parser = argparse.ArgumentParser(
        prog="python -m local", description="Google Cloud on a laptop, with the functions."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (up, show, failures, members, parts):
        group.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
