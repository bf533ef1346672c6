"""The product as the simulation runs it: in one thread, without logs, with attributes replaced for a while."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

from shared.clients import deadline, inventory
from shared.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Inline:
    """A pool of no threads: greenlets live in one."""

    def __init__(self, _size: int) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Do it here and now."""
        done: Future[Any] = Future()
        done.set_result(call(*arguments))
        return done


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
