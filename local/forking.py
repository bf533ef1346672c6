"""The program of the functions' parent process (`local/parent.py`): it imports their modules once, and forks one child per order.

It runs by itself, beside the source that the functions come from, and imports nothing of `local`.
Stdin has an order per line; stdout answers `started PID` in order of the orders, and `ended PID CODE` when a child has ended.

`python local/forking.py FD` makes parents for several clouds: FD is a Unix socket that listens, and each connection gets a
fork of its own, with the connection as its stdin and stdout. The program ends at the end of its own stdin.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

# Not gunicorn.config: it reads HOME and PORT when imported.
FRAMEWORK = (
    "functions_framework._cli",
    "flask",
    "cloudevents.http",
    "cryptography.x509",  # google.auth.jwt's, which is imported when the first grant is read
    "gunicorn.arbiter",
    "gunicorn.workers.gthread",
)
FOLDERS = ("functions", "shared")  # of the bundle, beside main.py
PR_SET_PDEATHSIG = 1
Versions = dict[Path, tuple[int, int]]
Order = dict[str, Any]  # arguments of functions_framework, environment, log


def preload(directory: Path) -> Versions:
    """Import the functions' modules in `directory`, and all packages that they need; return the versions of their files.

    What cannot be imported is left to the children, which then say so in their logs.
    """
    versions = _versions(directory)
    with contextlib.suppress(ImportError):
        importlib.import_module("shared.runtime.lazy_imports").lighten()
    for name in (*FRAMEWORK, *(".".join(path.with_suffix("").parts) for path in versions)):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.freeze()  # or each child's collector would look through all of it, and copy it
    return versions


def drop_changed(directory: Path, versions: Versions) -> None:
    """Forget the functions' own modules if a file has changed since: they are then read from disk."""
    if _versions(directory) != versions:
        own = {path.stem for path in directory.iterdir()}
        for name in [name for name in sys.modules if name.partition(".")[0] in own and name != "__main__"]:
            del sys.modules[name]


def _versions(directory: Path) -> Versions:
    """The time and size of each file, by which Python, too, tells whether a module has changed (PEP 3147)."""
    paths = (path for folder in FOLDERS for path in sorted((directory / folder).rglob("*.py")))
    return {path.relative_to(directory): (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}


def next_parent(listening: socket.socket) -> bool:
    """Fork for each connection, and return True in the fork. Return False at the end of stdin."""

    def reap(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    signal.signal(signal.SIGCHLD, reap)
    with listening:
        while sys.stdin not in select.select([sys.stdin, listening], [], [])[0]:
            with listening.accept()[0] as connection:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    os.setsid()
                    for stream in (0, 1):
                        os.dup2(connection.fileno(), stream)
                    return True
    return False


def next_child() -> Order | None:
    """Fork for each order, and return the order in the child. Return None in the parent, after the last order."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # A handler would run late: Python calls none for a signal that arrives just before it waits in `read`.
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)

    def answer(text: str) -> None:
        os.write(answers, f"{text}\n".encode())

    parent, begun = os.getpid(), b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            with contextlib.suppress(ChildProcessError):
                while (found := os.waitpid(-1, os.WNOHANG))[0]:
                    answer(f"ended {found[0]} {os.waitstatus_to_exitcode(found[1])}")
        if 0 in ready:
            read = os.read(0, 65536)
            if not read:
                return None
            *lines, begun = (begun + read).split(b"\n")
            for line in lines:
                child = os.fork()
                if child == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for descriptor in (answers, woken, wakes):
                        os.close(descriptor)
                    getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(PR_SET_PDEATHSIG, signal.SIGTERM)  # Linux has it
                    if os.getppid() != parent:
                        os._exit(1)
                    order: Order = json.loads(line)
                    return order
                answer(f"started {child}")


def become(order: Order) -> None:
    """Apply an order to this child: session, streams, environment, arguments."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for old, new in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    os.close(nothing)
    os.close(log)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["functions_framework", *order["arguments"]]


def main() -> None:
    """Serve orders; in a child, run what `python -m functions_framework` runs."""
    directory = Path.cwd()
    sys.path[0] = str(directory)  # as with `python -m`
    listening = socket.socket(fileno=int(sys.argv[1])) if len(sys.argv) > 1 else None
    if listening is not None and sys.stdin in select.select([sys.stdin, listening], [], [])[0]:
        return
    versions = preload(directory)
    if listening is not None and not next_parent(listening):
        return
    order = next_child()
    if order is not None:
        become(order)
        drop_changed(directory, versions)
        code: object = 1
        try:
            runpy.run_module("functions_framework", run_name="__main__", alter_sys=True)
        except SystemExit as end:  # gunicorn's workers, too, end by this
            code = end.code
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))  # tearing down what was preloaded takes long


if __name__ == "__main__":
    main()
