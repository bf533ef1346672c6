"""Processes that the local cloud starts, watches and stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Protocol

from local.reserved_port import HOST, LISTENS_BESIDE_RESERVATION, ReservedPort

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


# Linux ends a process with its parent when asked (prctl PR_SET_PDEATHSIG = 1): nothing outlives a killed `local up`.
WITH_PARENT = (
    "import ctypes, os, sys; getattr(ctypes.CDLL(None), 'prctl', lambda *_: 0)(1, 15); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class StartError(RuntimeError):
    """Something does not start; the message says what and why."""


class Process(Protocol):
    """The part of a running process that is used: an asyncio.subprocess.Process, or a fork of `local/parent.py`."""

    @property
    def pid(self) -> int:
        """Its id, and its group's."""

    @property
    def returncode(self) -> int | None:
        """None while it runs."""

    async def wait(self) -> int:
        """Return the exit code when it has ended."""

    def send_signal(self, signal_: int, /) -> None:
        """Send a signal, if it still runs."""


class Child:
    """A child process in its own session, with a log file; an unexpected end is reported.

    Starts and stops wait for each other, first come, first served. So there is at most one process.
    """

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.on_death: Callable[[Child, int], None] = lambda _child, _code: None
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._wanted = False
        self._has_started = False
        self._closed = False
        self._changing = asyncio.Lock()
        self._ports: list[ReservedPort] = []
        self.port = self.reserve_port()
        self.url = f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def reserve_port(self) -> int:
        """Reserve one more port for the process, until it is closed."""
        reserved = ReservedPort()
        self._ports.append(reserved)
        return reserved.number

    @property
    def answers(self) -> bool:
        """Whether it has opened its port, and still runs."""
        return self._has_started and self.pid is not None

    def command(self) -> list[str]:
        """What to run; a subclass says it."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """All that the process may see of the environment; a subclass says it."""
        raise NotImplementedError

    async def spawn(self, directory: Path) -> Process:
        """Start the process, in a session of its own, with its output in the log."""
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self.command(),
                cwd=directory,
                env=self.environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def start(self, directory: Path, within: float = 120.0) -> None:
        """Start, and return when its port is open. Leaves no process behind when this fails or is cancelled."""
        async with self._changing:
            if self.pid is not None:
                return
            if self._closed:
                raise StartError(f"{self.name} is closed: the local cloud is stopping")
            if not LISTENS_BESIDE_RESERVATION:
                self._release_ports()
            try:
                await self._start(directory, within)
            except BaseException:
                await self._end()
                raise

    async def _start(self, directory: Path, within: float) -> None:
        self._process = await self.spawn(directory)
        self._wanted = True
        self._watch = asyncio.create_task(self._until_it_ends(self._process))
        deadline = asyncio.get_running_loop().time() + within
        while not await self._is_open():
            if self._process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise StartError(f"{self.name} did not start; the end of {self.log}:\n{self.tail()}")
            await asyncio.sleep(0.02)
        self._has_started = True

    async def stop(self, within: float = 10.0) -> None:
        """Send SIGTERM, so that requests in flight finish, then kill its group."""
        async with self._changing:
            self._wanted = False
            if self._process is not None and self.pid is not None:
                self._process.send_signal(signal.SIGTERM)
                deadline = asyncio.get_running_loop().time() + within
                while not await _has_ended(self._process) and asyncio.get_running_loop().time() < deadline:
                    # Again, because a worker that was just being forked loses the first signal.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(self._process.pid, signal.SIGTERM)
            await self._end()

    async def kill(self) -> None:
        """End it and its workers at once, as a crash would; a start fails. Its port stays ours."""
        self._wanted = False
        if self._process is not None:
            kill_group(self._process)
        async with self._changing:
            await self._end()

    async def _end(self, within: float = 30.0) -> None:
        self._wanted = self._has_started = False
        if self._process is None:
            return
        deadline = asyncio.get_running_loop().time() + within
        kill_group(self._process)
        try:
            await asyncio.wait_for(self._process.wait(), within)
        except TimeoutError:
            raise StartError(f"{self.name} (process {self._process.pid}) does not end after SIGKILL") from None
        if self._watch is not None:
            await self._watch
        self._process = None
        while True:
            try:
                for port in self._ports:
                    port.reserve()
            except OSError as error:  # a worker that was killed with its master may listen for a moment longer
                if asyncio.get_running_loop().time() > deadline:
                    raise StartError(f"another process has port {port.number} of {self.name}: stop it") from error
                await asyncio.sleep(0.01)
            else:
                return

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        return tail(self.log, lines)

    def clear_log(self) -> None:
        """Empty its log; the process continues at its beginning."""
        if self.log.exists():
            os.truncate(self.log, 0)

    def close(self) -> None:
        """Free the ports for good; it starts no more."""
        self._closed = True
        self._release_ports()

    async def _until_it_ends(self, process: Process) -> None:
        code = await process.wait()
        if self._wanted:
            self.on_death(self, code)

    async def _is_open(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        writer.close()
        return True

    def _release_ports(self) -> None:
        for port in self._ports:
            port.release()


async def _has_ended(process: Process) -> bool:
    """Wait up to a second for its end."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), 1.0)
    return process.returncode is not None


def kill_group(process: Process) -> None:
    """Send SIGKILL to a process and its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # a fork leads no group in its first moment
        process.send_signal(signal.SIGKILL)


def ended(code: int) -> str:
    """How a process ended, in words; a negative code is a signal's number."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended by itself (exit {code})"


def tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log; '' if it does not exist."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


async def until(condition: Callable[[], bool], what: str, within: float = 30.0) -> None:
    """Wait for a condition. Raises StartError that says what did not happen."""
    deadline = asyncio.get_running_loop().time() + within
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise StartError(f"{what} did not become ready within {within:g} s")
        await asyncio.sleep(0.005)
