"""Injected faults of the emulated APIs, and the log of every call.

One `Faults` and one `Calls` are shared by all the APIs. `observed` wraps an ASGI application with both.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from local.google.rules import Rule, Rules
from local.google.wire import google_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from local.google.iam.state import Iam

EFFECTS = ("status", "slow", "timeout", "drop")


@dataclass
class Fault(Rule):
    """One thing to go wrong. `api`, `call` and `caller` are shell patterns; `call` is matched with `GET /v1/projects/…`.

    Effects: `status` answers with `status` and does nothing; `slow` waits `seconds` or until the fault is removed, then
    works; `timeout` never answers (it holds the call for `seconds`, then cuts it); `drop` does what was asked and cuts
    the line before the answer.
    """

    effect: str
    api: str = "*"
    call: str = "*"
    caller: str = "*"
    status: int = 503
    message: str = "a fault that was asked for"
    seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise ValueError(f"effect {self.effect!r} is not one of {', '.join(EFFECTS)}")


@dataclass
class Faults(Rules[Fault]):
    """The injected faults in order; the first match applies."""

    prefix: str = "f"

    def hit(self, api: str, call: str, caller: str | None) -> Fault | None:
        """Return the fault that applies to this call, and count it."""
        return self.acting(
            lambda rule: (
                fnmatchcase(api, rule.api) and fnmatchcase(call, rule.call) and fnmatchcase(caller or "", rule.caller)
            )
        )

    async def slow(self, fault: Fault) -> None:
        """Wait for the fault's seconds, or until it is removed."""
        deadline = time.monotonic() + fault.seconds
        while any(rule.id == fault.id for rule in self.rules):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(left, 0.02))


@dataclass(frozen=True)
class Call:
    """One call that an API answered: `status` 0 means that the line was cut."""

    at: float
    api: str
    method: str
    path: str
    query: str
    caller: str
    status: int
    seconds: float


@dataclass
class Calls:
    """The last 200,000 calls, oldest first."""

    log: deque[Call] = field(default_factory=lambda: deque(maxlen=200_000))

    def since(self, at: float = 0.0) -> list[Call]:
        """The calls that ended at `at` (seconds since the epoch) or later."""
        return [call for call in self.log if call.at >= at]


def observed(app: ASGIApp, api: str, iam: Iam, faults: Faults, calls: Calls) -> ASGIApp:
    """Wrap `app`: identify the caller (`scope["identity"]`, an e-mail or None), apply faults, log the call."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        caller = scope["identity"] = iam.identity(headers.get("authorization"))
        began = time.monotonic()
        status = 0

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        fault = faults.hit(api, f"{scope['method']} {scope['path']}", caller)
        try:
            if fault is None:
                await app(scope, receive, noting_send)
            elif fault.effect == "status":
                await google_error(fault.status, fault.message)(scope, receive, noting_send)
            elif fault.effect == "slow":
                await faults.slow(fault)
                await app(scope, receive, noting_send)
            elif fault.effect == "timeout":
                await _until_disconnected(receive, fault.seconds)
                _cut(send)
            else:
                await app(scope, receive, _swallow)
                _cut(send)
        finally:
            query = scope.get("query_string", b"").decode()
            calls.log.append(
                Call(
                    time.time(),
                    api,
                    scope["method"],
                    scope["path"],
                    query,
                    caller or "",
                    status,
                    time.monotonic() - began,
                )
            )

    return wrapped


async def _swallow(_message: Message) -> None:
    return


async def _until_disconnected(receive: Receive, seconds: float) -> None:
    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gone(), seconds)
    except TimeoutError:
        return


def _cut(send: Send) -> None:
    """Close the connection without an answer. Uvicorn's `send` is a method of the request that owns the transport."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
