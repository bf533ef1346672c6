"""The product as the simulation runs it: in one thread, without logs, with attributes replaced for a while."""

from __future__ import annotations

import contextlib
import functools
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

from shared.clients import deadline, inventory
from shared.runtime import logs
from shared.values.errors import ReconcileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Clock:
    """The wall clock of the product: a simulation sets it to its own time."""

    t = 0.0

    def time(self) -> float:
        """The simulated time."""
        return self.t

    def monotonic(self) -> float:
        """The same time: a frozen process counts, too."""
        return self.t


CLOCK = Clock()


class _Inline:
    """A pool of no threads: greenlets live in one. Its tasks run when it is closed.

    Threads end in any order: by the simulated second, the first task runs first, or the last one.
    """

    def __init__(self, _size: int) -> None:
        self._tasks: list[tuple[Future[Any], Callable[[], Any]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for done, call in self._tasks if int(CLOCK.t) % 2 else reversed(self._tasks):
            try:
                done.set_result(call())
            except ReconcileError as error:
                done.set_exception(error)

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Do it when the pool is closed."""
        done: Future[Any] = Future()
        self._tasks.append((done, functools.partial(call, *arguments)))
        return done


@contextlib.contextmanager
def replaced(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Put other values in place of attributes, for a while."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


@contextlib.contextmanager
def one_thread_no_logs() -> Iterator[None]:
    """The product as the simulation runs it: quiet, in one thread, with the world's ports."""

    def quiet(*_: object, **__: object) -> None: ...

    with replaced(
        (logs, "line", quiet),
        (logs, "outcome", quiet),
        (logs, "traceparent", lambda given: given or ""),
        (inventory, "ThreadPoolExecutor", _Inline),
        (deadline, "time", CLOCK),
    ):
        yield
