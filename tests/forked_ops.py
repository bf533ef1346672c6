"""`python -m ops …`, whose packages are imported once: a server forks each command (`tests/forking.py`).

It saves a second of imports. Where forking is not safe, each command is started by itself.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests import forking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    """Run `python -W error -m ops WORDS` in the checkout with this environment alone, and wait for it.

    With `-c PROGRAM …` as words, run that with the same packages.
    """
    if not forking.POSSIBLE:
        return run_alone(words, environment, timeout)
    with Path(os.devnull).open() as nothing, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        streams = [one.fileno() for one in (nothing, out, error)]
        process = forking.start(server().address, words, environment, str(ROOT), streams=streams, timeout=timeout)
        code = process.wait()
        out.seek(0)
        error.seek(0)
        printed = out.read(), error.read()
    if code == -signal.SIGALRM:
        raise subprocess.TimeoutExpired(["ops", *words], timeout, *printed)
    return subprocess.CompletedProcess(["ops", *words], code, *printed)


def run_alone(
    words: Sequence[str], environment: Mapping[str, str], timeout: int = 110
) -> subprocess.CompletedProcess[str]:
    """Run the same as a process that imports its packages itself."""
    return subprocess.run(
        [sys.executable, "-W", "error", *(() if words[:1] == ["-c"] else ("-m", "ops")), *words],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@functools.cache
def server() -> forking.Server:
    """Return the server of this process."""
    from local.functions import MEASURED

    program = [sys.executable, "-W", "error", "-m", __name__]
    return forking.Server("ops", program, {"PATH": os.environ["PATH"], **MEASURED})


# The server itself


def _import() -> None:
    for name in OURS:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if module.name not in NOT_IMPORTED and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in CLIENTS:
        importlib.import_module(name)
    assert not set(NOT_IMPORTED) & set(sys.modules)
    gc.freeze()  # or each child's collector would look through all of it, and copy it


def _serve(listener: socket.socket) -> None:
    if not forking.is_needed(listener):
        return
    from ops.__main__ import main

    _import()
    words = forking.next_words(listener)
    if words[:1] == ["-c"]:
        sys.argv = ["-c", *words[2:]]
        forking.end(functools.partial(exec, words[1], {}))
    sys.argv = ["ops", *words]
    forking.end(functools.partial(main, words))


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
