"""`python -m local up` as processes that share their imports: one process imports the packages, and forks each cloud.

Another one does the same for the functions of all these clouds (`local/forking.py`). Both live as long as the tests.
A cloud has its own environment, streams and exit code, as if it were started by itself. It saves a second of imports.
Where forking is not safe (elsewhere than on Linux), each cloud is started by itself.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from local.forking import next_child
from local.functions import MEASURED
from local.parent import PROGRAM, SHARED
from local.processes import WITH_PARENT

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
# What `up` imports when it is called.
UP = ("local.command_line", "local.cloud", "local.control_api", "uvicorn.protocols.http.auto", "uvloop")
WITH_US = (sys.executable, "-S", "-E", "-c", WITH_PARENT, sys.executable)


class Process(Protocol):
    """The part of a subprocess.Popen that its user needs."""

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code when it has ended. Raises subprocess.TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it still runs."""


def start(words: Sequence[str], log: Path) -> Process:
    """Start `python -m local WORDS` in the checkout with this process's environment; its output goes to `log`."""
    if sys.platform != "linux":
        return start_alone(words, log)
    return _parent().fork(words, dict(os.environ), log)


def start_alone(words: Sequence[str], log: Path) -> Process:
    """Start the same as a process that imports its packages itself."""
    command = [sys.executable, "-m", "local", *words]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment)


class Forked:
    """A cloud that the parent has forked."""

    def __init__(self, parent: _Parent, pid: int) -> None:
        self._parent = parent
        self._pid = pid

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._parent.code(self._pid, 0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code when it has ended. Raises subprocess.TimeoutExpired."""
        code = self._parent.code(self._pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired(["local"], timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self._pid, sig)


class _Parent:
    """The two processes that have imported the packages."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="parents-")
        self._socket = Path(self._directory.name, "functions")
        clean = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(self._socket))
            door.listen()
            self._functions = subprocess.Popen(
                [*WITH_US, str(PROGRAM), str(door.fileno())],
                cwd=ROOT,
                env=clean,
                stdin=subprocess.PIPE,
                pass_fds=[door.fileno()],
            )
        self._clouds = subprocess.Popen(
            [*WITH_US, "-m", "tests.forked_clouds"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **MEASURED},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._unread = b""
        self._codes: dict[int, int] = {}
        self._orders = 0
        self._started: list[int] = []  # in order of the orders
        atexit.register(self._stop)

    def fork(self, words: Sequence[str], environment: dict[str, str], log: Path) -> Forked:
        """Let it fork a cloud."""
        order = {"words": list(words), "environment": environment | {SHARED: str(self._socket)}, "log": str(log)}
        assert self._clouds.stdin is not None
        self._orders += 1
        self._clouds.stdin.write(f"{json.dumps(order)}\n".encode())
        while len(self._started) < self._orders:
            self._read(None)
        return Forked(self, self._started[-1])

    def code(self, pid: int, timeout: float | None) -> int | None:
        """Return the exit code of a cloud; None if it still runs after `timeout` seconds."""
        while pid not in self._codes and self._read(timeout):
            pass
        return self._codes.get(pid)

    def _read(self, timeout: float | None) -> bool:
        """Read what the parent answers next; False if it answers nothing within `timeout` seconds."""
        answers = self._clouds.stdout
        assert answers is not None
        if not select.select([answers], [], [], timeout)[0]:
            return False
        read = os.read(answers.fileno(), 4096)
        assert read, "the process that forks the clouds has ended"
        *lines, self._unread = (self._unread + read).split(b"\n")
        for line in lines:
            match line.split():
                case [b"started", pid]:
                    self._started.append(int(pid))
                case [b"ended", pid, code]:
                    self._codes[int(pid)] = int(code)
        return True

    def _stop(self) -> None:
        """Let both end."""
        for process in (self._clouds, self._functions):
            process.communicate()
        self._directory.cleanup()


@functools.cache
def _parent() -> _Parent:
    return _Parent()


def _serve() -> None:
    """Fork a cloud for each order; in a cloud, run it."""
    from local.__main__ import main

    for name in UP:
        importlib.import_module(name)
    gc.freeze()  # or each child's collector would look through all of it, and copy it
    order = next_child()
    if order is None:
        return
    for name, descriptor in ((os.devnull, 0), (order["log"], 1), (order["log"], 2)):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    code = main(order["words"])
    sys.stdout.flush()
    os._exit(code)  # taking down what was imported takes long


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and these end the clouds
    _serve()
