"""Processes that share their imports: a server imports packages once, and forks a process for each order.

A process has its own arguments, environment, directory, streams and exit code, as if it were started by itself.
The Python of another tool imports this too: it needs the standard library alone. Forking like this is safe on Linux only.
"""

from __future__ import annotations

import json
import os
import socket
import sys

TYPE_CHECKING = False  # as in typing, whose import is a tenth of a forked command's time
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any, NoReturn

POSSIBLE = sys.platform == "linux"
LARGEST = 1 << 18  # bytes of an order
ROOT = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - as pathlib is expensive, too
COMMAND = """#!{python} -IS
import os
import sys

if sys.argv[1:{first}] != {words}:
    os.execv({program!r}, [{program!r}, *sys.argv[1:]])
sys.path.append({root!r})
from tests import forking

sys.exit(forking.start({address!r}, sys.argv[{first}:], os.environ, os.getcwd()).wait())
"""


class Server:
    """A program that listens on the socket whose number is its last argument, and ends with this process.

    It waits for the first order (`is_needed`), imports its packages, and calls `next_words`.
    After `share`, processes that inherit this environment use the same program.
    """

    def __init__(
        self,
        name: str,
        program: Sequence[str],
        environment: Mapping[str, str],
        kind: socket.SocketKind = socket.SOCK_SEQPACKET,
    ) -> None:
        self._variable = f"FORKED_{name.upper()}"
        self.is_ours = self._variable not in os.environ
        if self.is_ours:
            self._start(program, environment, kind)
        else:
            self.directory = os.environ[self._variable]
        self.address = f"{self.directory}/orders"

    def _start(self, program: Sequence[str], environment: Mapping[str, str], kind: socket.SocketKind) -> None:
        import atexit  # each of these takes time in a process that only calls `start`
        import subprocess
        import tempfile

        self._directory = tempfile.TemporaryDirectory(prefix="fork-")
        self.directory = self._directory.name
        with socket.socket(socket.AF_UNIX, kind) as listener:
            listener.bind(f"{self.directory}/orders")
            listener.listen(64)  # orders wait here until the program has imported its packages
            self._process = subprocess.Popen(
                [*program, str(listener.fileno())],
                cwd=ROOT,
                env={"HOME": self.directory, **environment},  # nothing of the person's own configuration
                stdin=subprocess.PIPE,
                pass_fds=(listener.fileno(),),
            )
        atexit.register(self.stop)

    def share(self) -> None:
        """Let the processes that this one starts use the server, too."""
        os.environ[self._variable] = self.directory

    def write_command(self, file: Path, program: str, *words: str) -> None:
        """Write a script to use in place of a program. Arguments that begin with these words are forked; others run the program."""
        values = {"words": list(words), "first": 1 + len(words), "program": program}
        file.write_text(COMMAND.format(python=sys.executable, root=ROOT, address=self.address, **values))
        file.chmod(0o700)

    def stop(self) -> None:
        """Let it end."""
        self._process.communicate()
        self._directory.cleanup()


class Running:
    """A process that a server has forked."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._code: int | None = None
        self.pid = self._answer()

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        try:
            return self._ended(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code when it has ended. Raises TimeoutError."""
        if self._code is None:
            self._connection.settimeout(timeout)
        return self._ended()

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def _ended(self, flags: int = 0) -> int:
        if self._code is None:
            self._code = self._answer(flags)
            self._connection.close()
        return self._code

    def _answer(self, flags: int = 0) -> int:
        """Return what the server says next: the process's ID, then its exit code."""
        answer = self._connection.recv(16, flags)
        if not answer:
            self._connection.close()
            raise ConnectionError("the server that forks processes has ended")
        return int(answer)


def start(
    address: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    directory: str,
    *,
    streams: Sequence[int] = (0, 1, 2),
    timeout: int = 300,
) -> Running:
    """Let a server fork a process. If it still runs after `timeout` seconds, SIGALRM ends it; 0: never."""
    order = {"words": list(words), "environment": dict(environment), "directory": directory, "timeout": timeout}
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(address)
    socket.send_fds(connection, [json.dumps(order).encode()], streams)
    return Running(connection)


def is_needed(listener: socket.socket) -> bool:
    """Wait for the first order. False if the standard input ends before it."""
    import select

    if 0 not in select.select([0, listener.fileno()], [], [])[0]:
        return True
    listener.close()
    return False


def next_words(listener: socket.socket) -> list[str]:
    """Fork for each order, and return the order's words in the child. The server itself ends when its standard input does."""
    import contextlib
    import selectors
    import signal

    def answer(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):  # the process that gave the order may have ended
            connection.send(str(number).encode())

    running: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as events:
        events.register(0, selectors.EVENT_READ)
        events.register(listener, selectors.EVENT_READ)
        while True:
            for event, _ in events.select():
                if event.fd == 0:
                    for process, _ in running.values():
                        os.kill(process, signal.SIGTERM)
                    listener.close()
                    sys.exit()
                elif event.fd in running:
                    process, connection = running.pop(event.fd)
                    events.unregister(event.fd)
                    os.close(event.fd)
                    _, status = os.waitpid(process, 0)
                    with connection:
                        answer(connection, os.waitstatus_to_exitcode(status))
                else:
                    connection, _ = listener.accept()
                    order, streams, *_ = socket.recv_fds(connection, LARGEST, 3)
                    ended, alive = os.pipe()
                    process = os.fork()
                    if process == 0:  # `alive` is closed when this process ends
                        for one in (listener, connection, *(other for _, other in running.values())):
                            one.close()
                        return _become(json.loads(order), streams)
                    for descriptor in (*streams, alive):
                        os.close(descriptor)
                    answer(connection, process)
                    running[ended] = process, connection
                    events.register(ended, selectors.EVENT_READ)


def end(program: Callable[[], object]) -> NoReturn:
    """Run a child's program and end the child as the interpreter does, except that nothing in memory is destroyed.

    A child shares its memory with the server. To destroy it is to copy it first: a third of a short command's time.
    """
    import atexit
    import threading

    try:
        code = program()
    except SystemExit as ended:
        code = ended.code
    if code is None or isinstance(code, int):
        threading._shutdown()  # type: ignore[attr-defined] # waits for threads, as multiprocessing does
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    sys.exit(code)  # type: ignore[arg-type]


def _become(order: dict[str, Any], streams: Sequence[int]) -> list[str]:
    """Turn this child into the process that the order describes."""
    import signal

    signal.alarm(order["timeout"])  # its default action ends the process
    for standard, stream in enumerate(streams):
        os.dup2(stream, standard)
        os.close(stream)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["directory"])
    words: list[str] = order["words"]
    return words
