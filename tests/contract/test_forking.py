"""A server that forks processes (`tests/forking.py`): one for all processes that share it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests import forking

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not forking.POSSIBLE, reason="forking is safe on Linux only")

# Writes a file when it is needed. A child ends with the number that its order gives.
PROGRAM = """
import socket, sys
from pathlib import Path
from tests import forking
listener = socket.socket(fileno=int(sys.argv[-1]))
if forking.is_needed(listener):
    Path(sys.argv[1]).touch()
    sys.exit(int(forking.next_words(listener)[0]))
"""


def _server(needed: Path) -> forking.Server:
    program = [sys.executable, "-W", "error", "-c", PROGRAM, str(needed)]
    return forking.Server("example", program, {"PATH": os.defpath})


def _code(server: forking.Server, number: int) -> int:
    return forking.start(server.address, [str(number)], {}, "/").wait()


def test_processes_share_one_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKED_EXAMPLE", "replaced below, and restored after the test")
    monkeypatch.delenv("FORKED_EXAMPLE")
    first = _server(tmp_path / "first")
    first.share()
    second = _server(tmp_path / "second")
    assert (first.is_ours, second.is_ours) == (True, False)
    assert [_code(first, 3), _code(second, 4)] == [3, 4]
    first.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_server_imports_nothing_before_it_is_needed(tmp_path: Path) -> None:
    server = _server(tmp_path / "needed")
    server.stop()
    assert not list(tmp_path.iterdir())
