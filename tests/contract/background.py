"""An event loop in a thread, so that blocking clients (the official libraries, gcloud) can drive servers of this process."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

import uvloop

from local.cloud import Cloud
from local.config import Config
from local.control import LocalCloud
from local.control_api import control_app
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

T = TypeVar("T")


class BackgroundLoop:
    """Runs coroutines; leaving it fails if a task stays pending."""

    def __enter__(self) -> Self:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers")
        self._thread.start()
        return self

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        async def called() -> T:
            return function(*arguments)

        return self.run(called())

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        try:
            if kind is None:
                # A connection that was just closed takes some turns of the loop.
                until(lambda: not self.call(self._pending))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @staticmethod
    def _pending() -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@contextmanager
def cloud_without_functions(directory: Path, **config: Any) -> Iterator[LocalCloud]:
    """Run a local cloud in this process until the block ends. It has no functions, and creates without delay."""
    running = Cloud(Config(directory, targets=(), create_seconds=0, membership_seconds=0, **config), control_app)
    with BackgroundLoop() as loop:
        loop.run(running.start())
        try:
            yield LocalCloud.from_env(directory)
        finally:
            loop.run(running.stop())
