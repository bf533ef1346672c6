"""A served status page of given values: no cloud, no clock."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ops.page.board import Board
from ops.serve import address, open_server
from ops.terminal import MistakeError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Shown:
    """Shows one board."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def board(self) -> Board:
        return self._board

    def evidence(self, text: str) -> Any:
        for row in self._board.rows:
            if text in (row.name.short, str(row.name)):
                return self._board.overview.evidence(row.name)
        raise MistakeError(f"no cluster is called {text!r}")


@contextmanager
def served(board: Board) -> Iterator[str]:
    """Serve a board on loopback; give its address."""
    with open_server(Shown(board)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"{address(server)}/"
        server.shutdown()
        thread.join()
