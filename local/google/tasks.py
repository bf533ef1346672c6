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

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Start a coroutine in the running loop."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Call `work` after that many seconds."""

        async def run() -> None:
            await asyncio.sleep(seconds)
            work()

        self.start(run())

    async def finish(self) -> None:
        """Wait until all tasks have ended; the first error is raised."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def call_hook(hook: Callable[[Any], Awaitable[None] | None] | None, value: Any) -> None:
    """Call a hook, if there is one, with a copy of a value. It may be a plain function or a coroutine."""
    result = hook(deepcopy(value)) if hook is not None else None
    if inspect.isawaitable(result):
        await result
