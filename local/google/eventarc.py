"""Eventarc and the log sinks: what carries an event from Google's APIs to the functions.

Audit entries of the fleet's own project, and membership events, go to one URL as CloudEvents in binary mode, at least
once, with back-off, and are dropped after 24 hours (https://cloud.google.com/eventarc/docs/retry-events). Entries of the
other source projects go by their log sink to a Pub/Sub topic; those of any other project go nowhere. A person or a test
may have events lost, repeated, delayed, or held and let go in another order. Left out: the minutes it takes until a
trigger is active, and triggers per region.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import aiohttp

from local.google.audit import event_data
from local.google.rules import Rule, Rules
from local.google.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

AUDIT = "google.cloud.audit.log.v1.written"
MEMBERSHIP = "google.cloud.gkehub.membership.v1."
# A trigger takes one exact method (there is no wildcard), and a sink's filter names them: nothing else is ever sent.
METHODS = ("CreateCluster", "DeleteCluster", "UpdateCluster", "SetLabels")
EFFECTS = ("lose", "repeat", "delay", "hold")
DAY = 24 * 3600.0


@dataclass
class Knob(Rule):
    """One thing to happen to events. `event` is a shell pattern, matched with an event's name.

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
            raise ValueError(f"effect {self.effect!r} is none of {', '.join(EFFECTS)}")


@dataclass
class Event:
    """One event on its way, and what became of it: waiting, held, delivered, published, lost or dropped."""

    name: str
    at: float
    headers: dict[str, str]
    body: bytes
    sink: bool
    state: str = "waiting"
    attempts: int = 0
    answer: str = ""

    def as_json(self) -> dict[str, Any]:
        """What a person wants to see of it."""
        return {key: getattr(self, key) for key in ("name", "at", "sink", "state", "attempts", "answer")}


@dataclass
class Eventarc:
    """Takes events in (`audit`, `membership`), sends them on its own, and keeps what became of the last 100,000.

    `sources` are the projects with a log sink; `publish` puts an entry on the sinks' topic; `oidc` makes the token that a
    push carries for an audience. `first_wait` and `longest_wait` bound the back-off, `kept` is how long an event lives.
    """

    project: str
    url: str
    sources: Collection[str]
    publish: Callable[[bytes, dict[str, str]], Awaitable[None]]
    oidc: Callable[[str], str]
    first_wait: float = 1.0
    longest_wait: float = 60.0
    kept: float = DAY
    knobs: Rules[Knob] = field(default_factory=lambda: Rules("e"))
    log: deque[Event] = field(default_factory=lambda: deque(maxlen=100_000))
    _held: list[Event] = field(default_factory=list)
    _tasks: Tasks = field(default_factory=Tasks)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _session: aiohttp.ClientSession | None = None

    def audit(self, entry: dict[str, Any]) -> None:
        """Take an audit entry in, and send it if a trigger or a sink is there for it."""
        payload = entry["protoPayload"]
        log_name, method, resource = entry["logName"], payload["methodName"], payload["resourceName"]
        project = log_name.split("/")[1]
        # Eventarc's triggers see their own project only; other projects have a log sink, if they are taken in.
        if method.rpartition(".")[2] not in METHODS or project not in {self.project, *self.sources}:
            return
        labels = entry.get("resource", {}).get("labels", {})
        cluster = resource
        if {"project_id", "location", "cluster_name"} <= labels.keys():
            cluster = (
                f"projects/{labels['project_id']}/locations/{labels['location']}/clusters/{labels['cluster_name']}"
            )
        name = f"{method.rpartition('.')[2]}.{_phase(entry)} {cluster}"
        timestamp = entry.get("timestamp") or _now()
        if project != self.project:
            attributes = {"logging.googleapis.com/timestamp": timestamp}
            self._take(Event(name, time.time(), attributes, json.dumps(entry).encode(), sink=True))
            return
        headers = {
            "ce-id": f"{log_name}{entry.get('insertId', next(self._ids))}",
            "ce-type": AUDIT,
            "ce-source": f"//cloudaudit.googleapis.com/projects/{project}/logs/{unquote(log_name).rpartition('/')[2]}",
            "ce-subject": f"{payload['serviceName']}/{resource}",
            "ce-servicename": payload["serviceName"],
            "ce-methodname": method,
            "ce-resourcename": resource,
            "ce-recordedtime": timestamp,
            "ce-dataschema": "https://googleapis.github.io/google-cloudevents/jsonschema/google/events/cloud/audit/v1/LogEntryData.json",
        }
        self._take(Event(name, time.time(), headers, json.dumps(event_data(entry)).encode(), sink=False))

    def membership(self, kind: str, membership: dict[str, Any]) -> None:
        """Take a membership event in: `created`, `updated` or `deleted`, the last without a payload (google-cloudevents)."""
        full = membership["name"]
        parent, _, short = full.partition("/memberships/")
        headers = {
            "ce-id": f"{short}-{next(self._ids)}-{random.getrandbits(64):016x}",
            "ce-type": MEMBERSHIP + kind,
            "ce-source": f"//gkehub.googleapis.com/{parent}",
            "ce-subject": f"memberships/{short}",
            "ce-membership": short,
            "ce-dataschema": "https://googleapis.github.io/google-cloudevents/jsonschema/google/events/cloud/gkehub/v1/MembershipEventData.json",
        }
        body = json.dumps({} if kind == "deleted" else {"payload": membership}).encode()
        self._take(Event(f"membership.{kind} {full}", time.time(), headers, body, sink=False))

    def add(self, knob: Knob) -> Knob:
        """Take a knob in and give it an id."""
        return self.knobs.add(knob)

    def remove(self, id_: str | None = None) -> None:
        """Remove one knob, or all of them. What is held stays so until it is released."""
        self.knobs.remove(id_)

    def release(self, order: list[int] | None = None) -> list[str]:
        """Let held events go, one after the other was answered; `order` lists places among those held (default: as they came).

        What `order` leaves out stays held.
        """
        places = list(range(len(self._held))) if order is None else order
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
        """The knobs, the held events and the last hundred events."""
        return {
            "knobs": self.knobs.as_json(),
            "held": self.held(),
            "waiting": self.waiting(),
            "log": [event.as_json() for event in list(self.log)[-100:]],
        }

    def since(self, at: float = 0.0) -> list[dict[str, Any]]:
        """The events that came at `at` (seconds since the epoch) or later."""
        return [event.as_json() for event in self.log if event.at >= at]

    async def close(self) -> None:
        """Stop: what was not delivered is forgotten, like everything else here."""
        await self._tasks.close()
        if self._session is not None:
            await self._session.close()

    def _take(self, event: Event) -> None:
        self.log.append(event)
        knob = self.knobs.acting(lambda knob: fnmatchcase(event.name, knob.event))
        if knob is None:
            self._tasks.start(self._send(event))
        elif knob.effect == "lose":
            event.state = "lost"
        elif knob.effect == "hold":
            event.state = "held"
            self._held.append(event)
        elif knob.effect == "delay":
            self._tasks.start(self._send(event, after=knob.seconds))
        else:
            for _ in range(knob.copies):
                self._tasks.start(self._send(event))

    async def _send(self, event: Event, after: float = 0.0) -> None:
        await asyncio.sleep(after)
        wait, until = self.first_wait, time.monotonic() + self.kept
        while True:
            event.attempts += 1
            try:
                if event.sink:
                    await self.publish(event.body, event.headers)
                    event.state = "published"
                    return
                status = await self._post(event)
                event.answer = str(status)
                if 200 <= status < 300:
                    event.state = "delivered"
                    return
            except Exception as error:  # any failure is one to try again after; the log keeps the last
                event.answer = f"{type(error).__name__}: {error}"
            if time.monotonic() + wait > until:
                event.state = "dropped"
                return
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))
            wait = min(wait * 2, self.longest_wait)

    async def _post(self, event: Event) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(total=600))
        headers = {
            "ce-specversion": "1.0",
            "ce-time": datetime.fromtimestamp(event.at, UTC).isoformat(),
            "content-type": "application/json",
            "authorization": f"Bearer {self.oidc(self.url)}",
            **event.headers,
        }
        async with self._session.post(self.url, data=event.body, headers=headers) as answer:
            await answer.read()
            return answer.status


def _phase(entry: dict[str, Any]) -> str:
    operation = entry.get("operation") or {}
    if operation.get("last"):
        return "finished"
    if operation.get("first"):
        return "started"
    return "refused" if entry["protoPayload"].get("status", {}).get("code") else "done"


def _now() -> str:
    return datetime.now(UTC).isoformat()
