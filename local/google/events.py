"""Events on their way: sent at least once, with back-off, and dropped after a day.

A person or a test may have events lost, repeated, delayed, or held and let go in another order.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from local.google.rules import Rule, Rules
from local.google.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

EFFECTS = ("lose", "repeat", "delay", "hold")
DAY = 24 * 3600.0


@dataclass
class EventRule(Rule):
    """What happens to matching events. `event` is a shell pattern, matched with an event's name.

    Names are like `CreateCluster.finished projects/P/locations/L/clusters/C` (or `.started`, `.refused`, `.done` for what
    has no operation) and `membership.created projects/F/locations/L/memberships/M`. `repeat` sends an event `copies` times
    in all, `delay` waits `seconds`, `hold` keeps it until it is released.
    """

    effect: str
    event: str = "*"
    copies: int = 5
    seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise ValueError(f"effect {self.effect!r} is not one of {', '.join(EFFECTS)}")


@dataclass
class Event:
    """One event on its way, and what became of it: waiting, held, delivered, published, lost or dropped.

    `send` sends it once and returns the receiver's answer, "" for none; it raises where the event is to be sent again.
    """

    name: str
    at: float
    send: Callable[[], Awaitable[str]]
    sink: bool = False
    state: str = "waiting"
    attempts: int = 0
    answer: str = ""

    def as_json(self) -> dict[str, Any]:
        """A summary for people."""
        return {key: getattr(self, key) for key in ("name", "at", "sink", "state", "attempts", "answer")}


class NotTakenError(Exception):
    """A receiver refused an event; the message is its answer."""


class LostError(Exception):
    """An event cannot be sent and is not sent again; the message says why."""


@dataclass
class Events:
    """All events, and what became of the last 100,000.

    `first_wait` and `longest_wait` bound the back-off, `kept` is how long an event lives.
    """

    first_wait: float = 1.0
    longest_wait: float = 60.0
    kept: float = DAY
    rules: Rules[EventRule] = field(default_factory=lambda: Rules("e"))
    log: deque[Event] = field(default_factory=lambda: deque(maxlen=100_000))
    _held: list[Event] = field(default_factory=list)
    _tasks: Tasks = field(default_factory=Tasks)

    def take(self, event: Event) -> None:
        """Send an event, or apply the rule that matches it."""
        self.log.append(event)
        rule = self.rules.acting(lambda rule: fnmatchcase(event.name, rule.event))
        if rule is None:
            self._tasks.start(self._send(event))
        elif rule.effect == "lose":
            event.state = "lost"
        elif rule.effect == "hold":
            event.state = "held"
            self._held.append(event)
        elif rule.effect == "delay":
            self._tasks.start(self._send(event, after=rule.seconds))
        else:
            for _ in range(rule.copies):
                self._tasks.start(self._send(event))

    def add(self, rule: EventRule) -> EventRule:
        """Add a rule and give it an id."""
        return self.rules.add(rule)

    def remove(self, id_: str | None = None) -> None:
        """Remove one rule, or all. Held events stay until they are released."""
        self.rules.remove(id_)

    def release(self, order: list[int] | None = None) -> list[str]:
        """Release held events, each after the answer to the one before; `order` lists their positions (default: as they arrived).

        What `order` leaves out stays held.
        """
        places = list(range(len(self._held))) if order is None else order
        if len({*places} & {*range(len(self._held))}) < len(places):
            raise ValueError(
                f"{len(self._held)} events are held, counted from 0: each place of {places} must be one of them"
            )
        going = [self._held[place] for place in places]
        self._held = [event for place, event in enumerate(self._held) if place not in places]

        async def one_by_one() -> None:
            for event in going:
                await self._send(event)

        for event in going:
            event.state = "waiting"
        self._tasks.start(one_by_one())
        return [event.name for event in going]

    def held(self) -> list[str]:
        """The names of the events that are held, in the order in which they came."""
        return [event.name for event in self._held]

    def waiting(self) -> int:
        """How many events are still to be delivered (those held do not count)."""
        return sum(event.state == "waiting" for event in self.log)

    def as_json(self) -> dict[str, Any]:
        """The rules, the held events and the last hundred events."""
        return {
            "rules": self.rules.as_json(),
            "held": self.held(),
            "waiting": self.waiting(),
            "log": [event.as_json() for event in list(self.log)[-100:]],
        }

    def since(self, at: float = 0.0) -> list[dict[str, Any]]:
        """The events that came at `at` (seconds since the epoch) or later."""
        return [event.as_json() for event in self.log if event.at >= at]

    async def cancel(self) -> None:
        """Drop all events that were accepted until now."""
        await self._tasks.close()

    async def close(self) -> None:
        """Stop; undelivered events are lost, like all state."""
        await self.cancel()

    async def _send(self, event: Event, after: float = 0.0) -> None:
        await asyncio.sleep(after)
        wait, until = self.first_wait, time.monotonic() + self.kept
        while True:
            event.attempts += 1
            try:
                event.answer = await event.send()
            except LostError as error:
                event.state, event.answer = "lost", str(error)
                return
            except NotTakenError as refused:
                event.answer = str(refused)
            except Exception as error:  # any failure is one to try again after; the log keeps the last
                event.answer = f"{type(error).__name__}: {error}"
            else:
                event.state = "published" if event.sink else "delivered"
                return
            if time.monotonic() + wait > until:
                event.state = "dropped"
                return
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))
            wait = min(wait * 2, self.longest_wait)
