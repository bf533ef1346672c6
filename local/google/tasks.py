"""Work under way in the running loop."""

from __future__ import annotations

import asyncio
import inspect
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine


class Tasks:
    """Tasks that somebody must keep a reference to until they end (asyncio keeps none)."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waits: set[asyncio.Event] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Start a coroutine in the running loop."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Call `work` after that many seconds, or at a call of `end_waits`."""
        end = asyncio.Event()
        self._waits.add(end)

        async def run() -> None:
            try:
                await pause(seconds, end)
            finally:
                self._waits.discard(end)
            work()

        self.start(run())

    def end_waits(self) -> None:
        """Let all that waits for its time (`later`) be done now."""
        for end in self._waits:
            end.set()

    async def finish(self) -> None:
        """Wait until all tasks have ended; the first error is raised."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def pause(seconds: float, end: asyncio.Event) -> None:
    """Wait for that many seconds, or until `end` is set."""
    timer = asyncio.get_running_loop().call_later(seconds, end.set)
    try:
        await end.wait()
    finally:
        timer.cancel()


async def call_hook(hook: Callable[[Any], Awaitable[None] | None] | None, value: Any) -> None:
    """Call a hook, if there is one, with a copy of a value. It may be a plain function or a coroutine."""
    result = hook(deepcopy(value)) if hook is not None else None
    if inspect.isawaitable(result):
        await result
