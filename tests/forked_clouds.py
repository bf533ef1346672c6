"""`python -m local up` as processes that share their imports: a server imports the packages, and forks each cloud.

Another process does the same for the functions of all these clouds (`local/forking.py`). Both end with the tests.
It saves a second of imports, and the making of a key. Where forking is not safe, each cloud is started by itself.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from local.functions import MEASURED
from local.parent import PROGRAM, SHARED
from tests import forking

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
# What `up` imports when it is called.
UP = ("local.command_line", "local.cloud", "local.control_api", "uvicorn.protocols.http.auto", "uvloop")


class Process(Protocol):
    """The part of a subprocess.Popen that its user needs."""

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code when it has ended. Raises an error if it still runs after `timeout` seconds."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it still runs."""


def start(words: Sequence[str], log: Path) -> Process:
    """Start `python -m local WORDS` in the checkout with this process's environment; its output goes to `log`."""
    if not forking.POSSIBLE:
        return start_alone(words, log)
    environment = os.environ | {SHARED: functions().address}
    with Path(os.devnull).open() as nothing, log.open("ab") as output:
        streams = (nothing.fileno(), output.fileno(), output.fileno())
        return forking.start(clouds().address, words, environment, str(ROOT), streams=streams, timeout=0)


def start_alone(words: Sequence[str], log: Path) -> Process:
    """Start the same as a process that imports its packages itself."""
    command = [sys.executable, "-m", "local", *words]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment)


@functools.cache
def functions() -> forking.Server:
    """Return the parent of the functions of all clouds."""
    clean = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    return forking.Server("functions", [sys.executable, str(PROGRAM)], clean, socket.SOCK_STREAM)


@functools.cache
def clouds() -> forking.Server:
    """Return the parent of the clouds."""
    return forking.Server("clouds", [sys.executable, "-m", __name__], {"PATH": os.environ["PATH"], **MEASURED})


def _serve(listener: socket.socket) -> None:
    """Fork a cloud for each order; in a cloud, run it."""
    if not forking.is_needed(listener):
        return
    from local.__main__ import main
    from local.google.iam.tokens import signing_key

    for name in UP:
        importlib.import_module(name)
    signing_key()  # making one takes 40 ms of the processor
    gc.freeze()  # or each child's collector would look through all of it, and copy it
    words = forking.next_words(listener)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    forking.end(functools.partial(main, words))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and these end the clouds
    _serve(socket.socket(fileno=int(sys.argv[1])))
