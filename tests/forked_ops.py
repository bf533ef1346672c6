"""`python -m ops …` as processes that share their imports: one process imports the packages, and forks each command.

A command has its own environment, streams and exit code, as if it were started by itself. It spares a second of imports.
Where forking is not safe (elsewhere than on Linux), each command is started by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.chain.running import Json

ROOT = Path(__file__).parents[1]
OURS = ("ops", "shared.clients", "shared.runtime")
# What those import when they are used. None of these reads the environment when it is imported.
CLIENTS = (
    "google.auth.transport.requests",
    "google.pubsub_v1.services.publisher",
    "google.pubsub_v1.services.subscriber",
    "jinja2",
    "kubernetes.client",
)
NOT_IMPORTED = ("ops.installed", "google.auth.compute_engine")  # the second one reads the environment


def run(words: Sequence[str], environment: Mapping[str, str], timeout: int = 110) -> subprocess.CompletedProcess[str]:
    """Run `python -W error -m ops WORDS` in the checkout with this environment alone, and wait for it."""
    if sys.platform != "linux":
        return run_alone(words, environment, timeout)
    with tempfile.TemporaryDirectory() as directory:
        out, error = Path(directory, "out"), Path(directory, "error")
        order = {"words": list(words), "environment": dict(environment), "timeout": timeout}
        code = _parent().fork(order | {"out": str(out), "error": str(error)})
        if code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(["ops", *words], timeout, out.read_bytes(), error.read_bytes())
        return subprocess.CompletedProcess(["ops", *words], code, out.read_text(), error.read_text())


def run_alone(
    words: Sequence[str], environment: Mapping[str, str], timeout: int = 110
) -> subprocess.CompletedProcess[str]:
    """Run the same as a process that imports its packages itself."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ops", *words],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class _Parent:
    """The process that has imported the packages."""

    def __init__(self) -> None:
        from local.functions import MEASURED

        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.forked_ops"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **MEASURED},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.stop)

    def fork(self, order: Json) -> int:
        """Let it fork a command; return the command's exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{json.dumps(order)}\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())
        except BaseException:  # a test that was interrupted: its answer must not become the next one's
            self._process.kill()
            _parent.cache_clear()
            raise

    def stop(self) -> None:
        """Let it end."""
        with contextlib.suppress(OSError):
            self._process.communicate()


@functools.cache
def _parent() -> _Parent:
    return _Parent()


# The process itself


def _import() -> None:
    for name in OURS:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if module.name not in NOT_IMPORTED and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in CLIENTS:
        importlib.import_module(name)
    assert not set(NOT_IMPORTED) & set(sys.modules)
    gc.freeze()  # or each child's collector would look through all of it, and copy it


def _become(order: dict[str, Any]) -> None:
    """Turn this child into the process that the order describes."""
    signal.alarm(order["timeout"])  # its default action ends the process
    for name, descriptor in ((os.devnull, 0), (order["out"], 1), (order["error"], 2)):
        opened = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["ops", *order["words"]]


def _serve() -> None:
    from ops.__main__ import main

    _import()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            order = json.loads(line)
            _become(order)
            sys.exit(main(order["words"]))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    _serve()
