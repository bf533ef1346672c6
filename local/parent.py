"""The functions' parent process: it has imported their packages, and forks a function in milliseconds (`local/forking.py`).

A forked function differs from a started one only in the time that its imports take.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from local.processes import WITH_PARENT, StartError, kill_group

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAM = Path(__file__).with_name("forking.py")
SHARED = "LOCAL_CLOUD_PARENTS"  # a variable: the Unix socket of a `local/forking.py` of this project, for many clouds


class Forked:
    """A process that the parent has forked, with what `local/processes.py` needs of an asyncio.subprocess.Process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal that ended it; None while it runs."""
        return self._code.result() if self._code.done() else None

    async def wait(self) -> int:
        """Return the exit code when it has ended."""
        return await asyncio.shield(self._code)

    def send_signal(self, signal_: int) -> None:
        """Send a signal, if it still runs."""
        if not self._code.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal_)

    def end(self, code: int) -> None:
        """Note that it has ended."""
        if not self._code.done():
            self._code.set_result(code)


class Parent:
    """A running parent; `start` creates it."""

    def __init__(
        self,
        orders: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        process: asyncio.subprocess.Process | None = None,
    ) -> None:
        self._process = process
        self._orders = orders
        self._asked: deque[asyncio.Future[Forked]] = deque()
        self._children: dict[int, Forked] = {}
        self._reading = asyncio.create_task(self._read(answers))

    @classmethod
    async def start(cls, directory: Path) -> Parent:
        """Start the parent of the functions whose main.py is in `directory`; orders wait until it has imported the packages."""
        if SHARED in os.environ and directory == PROGRAM.parents[1]:
            return await cls._join(os.environ[SHARED])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-E", "-c", WITH_PARENT, sys.executable, str(PROGRAM)),
            cwd=directory,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None:
            raise StartError("the functions' parent process has no pipes")
        return cls(process.stdin, process.stdout, process)

    @classmethod
    async def _join(cls, path: str) -> Parent:
        """Let the `local/forking.py` that listens on a Unix socket make a parent."""
        answers, orders = await asyncio.open_unix_connection(path)
        return cls(orders, answers)

    @property
    def pid(self) -> int | None:
        """The process's id, if it was started from here."""
        return self._process.pid if self._process else None

    async def fork(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, within: float = 60.0
    ) -> Forked:
        """Fork a child that runs `python -m functions_framework` with these arguments.

        Raises StartError if the parent has ended, or does not answer within that many seconds.
        """
        if self._reading.done():
            raise StartError("the functions' parent process has ended: stop the local cloud and start it again")
        order = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        forked: asyncio.Future[Forked] = asyncio.get_running_loop().create_future()
        self._asked.append(forked)
        self._orders.write(f"{json.dumps(order)}\n".encode())
        try:
            async with asyncio.timeout(within):
                return await forked
        except (TimeoutError, asyncio.CancelledError) as error:
            forked.cancel()  # then `_read` kills the child
            if not forked.cancelled():
                kill_group(forked.result())
            if isinstance(error, TimeoutError):
                raise StartError(f"the functions' parent process did not fork a function within {within:g} s") from None
            raise

    async def stop(self) -> None:
        """Close the orders, which ends it, and wait. Stop its children first."""
        self._orders.write_eof()
        await self._reading
        self._orders.close()
        if self._process is not None:
            await self._process.wait()

    async def _read(self, answers: asyncio.StreamReader) -> None:
        try:
            async for line in answers:
                match line.split():
                    case [b"started", pid]:
                        child = self._children[int(pid)] = Forked(int(pid))
                        asked = self._asked.popleft()
                        if asked.done():  # nobody waits for this child any more
                            kill_group(child)
                        else:
                            asked.set_result(child)
                    case [b"ended", pid, code] if int(pid) in self._children:
                        self._children.pop(int(pid)).end(int(code))
        finally:
            for child in self._children.values():  # the kernel ends them with their parent
                child.end(-signal.SIGTERM)
            for asked in self._asked:
                if not asked.done():
                    asked.set_exception(StartError("the functions' parent process has ended"))
