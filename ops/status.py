"""`ops status`: whether functions and queues work, what waits, and what is wrong. Reads only, with the operator's identity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ops.doctor.findings import Read, Unread
from ops.explain import read_letters
from ops.health import as_text
from ops.page.board import as_json
from ops.page.reading import read_board
from ops.survey import connected
from ops.terminal import MistakeError

if TYPE_CHECKING:
    import argparse

    from shared.runtime.services import Services


def run(options: argparse.Namespace) -> int:
    """Show the status; 0 everything works, 2 something is wrong, 3 something could not be read."""
    services = connected()
    board = read_board(services, lambda: _count_letters(services))
    if options.html:
        from ops.page.render import snapshot

        try:
            Path(options.html).write_text(snapshot(board), encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise MistakeError(f"{options.html} cannot be written: {error.strerror}") from error
        print(f"wrote {options.html}")
        return board.health.code
    print(json.dumps(as_json(board), indent=2) if options.json else as_text(board.health))
    return board.health.code


def _count_letters(services: Services) -> Read[int]:
    found, unread = read_letters(services)
    return Unread(unread) if unread else len(found)
