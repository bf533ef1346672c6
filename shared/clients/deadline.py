"""How long a step, and each outside call in it, may still take. Needs the standard library alone.

The limit is carried by a context variable, so that it reaches every client in the thread without being passed along.
A thread pool needs a copy of the context for each task (`contextvars.copy_context`).
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Below the functions' timeouts of 240 and 540 s and the ack deadlines of 300 and 600 s (infra/terraform/functions.tf).
STEP_SECONDS: Final = 200.0
SWEEP_SECONDS: Final = 500.0
# A destructive call must follow its read within this time: an instance may be frozen between the two.
FRESH_SECONDS: Final = 10.0


@dataclass(slots=True)
class Spent:
    """The calls of the step so far.

    `last_read` is when the last read was answered, by the wall clock: it goes on while an instance is frozen. 0: nothing was
    read. `gateway_requests` counts requests to Connect Gateway, whose quota all functions share.
    """

    last_read: float = 0.0
    gateway_requests: int = 0


@dataclass(frozen=True, slots=True)
class _Limit:
    """When everything must have ended, by the monotonic clock; `each` is the longest that one call may take."""

    ends: float
    spent: Spent
    each: float = math.inf


_limit: ContextVar[_Limit | None] = ContextVar("limit", default=None)


@contextmanager
def within(seconds: float, each: float = math.inf) -> Iterator[Spent]:
    """Limit all outside calls made inside to this time in all, and every single one to `each`. A stricter outer limit counts.

    Yields what is spent inside.
    """
    outer, ends = _limit.get(), time.monotonic() + seconds
    limit = _Limit(min(ends, outer.ends), outer.spent, min(each, outer.each)) if outer else _Limit(ends, Spent(), each)
    token = _limit.set(limit)
    try:
        yield limit.spent
    finally:
        _limit.reset(token)


def remaining(most: float) -> float:
    """Return the seconds that a call may take: `most`, or less when the limit says so. Raises TimeoutError at 0."""
    limit = _limit.get()
    left = most if limit is None else min(most, limit.each, limit.ends - time.monotonic())
    if left <= 0:
        raise TimeoutError("the time for this step is used up")
    return left


def note_read() -> None:
    """Note that a read was answered just now."""
    limit = _limit.get()
    if limit is not None:
        limit.spent.last_read = time.time()


def note_gateway_request() -> None:
    """Count a request to Connect Gateway."""
    limit = _limit.get()
    if limit is not None:
        limit.spent.gateway_requests += 1


def gateway_requests() -> int:
    """Return the number of requests to Connect Gateway so far."""
    limit = _limit.get()
    return limit.spent.gateway_requests if limit is not None else 0


def require_fresh_read(what: str) -> None:
    """Raise RetryableError when the step's last read is too old to destroy anything because of it."""
    limit = _limit.get()
    if limit is None or not limit.spent.last_read:
        return
    age = time.time() - limit.spent.last_read
    if age > FRESH_SECONDS:
        raise RetryableError(
            f"{what}: what was read for this is {age:.0f} s old, {FRESH_SECONDS:.0f} s are allowed; it is read again",
            ErrorCode.STALE_READ,
        )
