"""One seeded scheduler and one clock over the simulated world: the real entry points, interleaved at every outside call.

Each delivery runs as a greenlet through `Dispatcher.answer`, and gives way at each call
it makes. What goes wrong is drawn from the seed and noted under the call's text and its how-manieth time, so that a run
can be repeated with fewer faults. Simulated time costs nothing: nobody sleeps.

Left out: what the clients in shared/ make of HTTP answers (the contract suites), and processes (the chain's suites).
"""

from __future__ import annotations

import heapq
import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]
from werkzeug.exceptions import ServiceUnavailable

from functions import route_event, sweep
from shared.runtime.dispatch import Dispatcher
from shared.values import settings
from shared.values.errors import RefusedError, RetryableError
from shared.values.messages import AUDIT_LOG_ENTRIES, DEAD_LETTERS, Message
from tests.simulation import membership_ledger
from tests.simulation.deliveries import Context, Event, body_of, push_event
from tests.simulation.ledger import Ledger
from tests.simulation.noise import Key, Noise, noise_of_call, noise_of_delivery, noise_of_event, noise_of_publish
from tests.simulation.one_thread import CLOCK
from tests.simulation.past import Past
from tests.simulation.ports import WorldServices
from tests.simulation.stored import ViolationError
from tests.simulation.world import ATTEMPTS, STEPS, KilledError, World, is_read
from tests.unit.given import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.values.model import Cluster, Membership
    from shared.values.names import ClusterName, MembershipName
    from tests.simulation.kubernetes import Kubernetes, Object


BASE = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SETTINGS = settings.load(ENVIRONMENT)
ACK_DEADLINE = 600.0


class Simulation(World):
    """The world with a clock: `heap` holds what happens next. `script` tells which faults to repeat; None draws them."""

    def __init__(
        self, seed: int, rate: float, script: Mapping[Key, Noise] | None = None, *, events_are_enough: bool = False
    ) -> None:
        self.t = 0.0
        self.start = BASE
        self.heap: list[tuple[float, int, Callable[[], Any]]] = []
        self.sequence = 0
        self.current: Context | None = None
        self.hub = getcurrent()
        self.random = Random(f"noise {seed}")
        self.rate = rate
        self.script = script
        self.counts: dict[str, int] = {}
        self.fired: dict[Key, Noise] = {}
        self.calm = False
        self.violation = ""
        self.ledger = Ledger(self)
        self.letters: list[tuple[str, Message]] = []
        self.sweeping: list[Context] = []
        self.hidden: dict[str, float] = {}
        self.deliveries = 0
        self.lives = 0
        self.events_are_enough = events_are_enough
        super().__init__(settings=SETTINGS, now=BASE, clusters=Past(self), memberships=Past(self))
        self.touch = self._touch

    # The clock.

    def at(self, delay: float, action: Callable[[], Any]) -> None:
        """Let something happen later."""
        self.sequence += 1
        heapq.heappush(self.heap, (self.t + delay, self.sequence, action))

    def run(self, until: float = float("inf")) -> None:
        """Let everything happen that is due, until the time or until all is quiet."""
        self.hub = getcurrent()
        while self.heap and self.heap[0][0] <= until:
            self.t, _, action = heapq.heappop(self.heap)
            CLOCK.t = self.t + 1  # 0 means that nothing was read
            self.now = BASE + timedelta(seconds=self.t)
            action()
            self.current = None
            if self.violation:
                raise ViolationError(self.violation)
            if self.deliveries > 5000:
                raise ViolationError("not quiet: more than 5,000 deliveries")
        if until != float("inf"):
            self.t = max(self.t, until)
            self.now = BASE + timedelta(seconds=self.t)

    def pause(self, seconds: float) -> None:
        """Give way: the others go on meanwhile."""
        context = self.current
        assert context is not None
        if self.t + seconds - context.started > ACK_DEADLINE and not context.overdue:
            context.overdue = True
            self._again(context, max(0.0, context.started + ACK_DEADLINE - self.t))
        self.at(seconds, getcurrent().switch)
        self.hub.switch()
        self.current = context

    # What goes wrong.

    def chance(self, where: str, kinds: Callable[[Random], Noise]) -> Noise | None:
        """Draw whether something goes wrong here, or look it up where a run is repeated."""
        count = self.counts[where] = self.counts.get(where, 0) + 1
        if self.calm:
            return None
        if self.script is not None:
            noise = self.script.get((where, count))
        else:
            noise = kinds(self.random) if self.random.random() < self.rate else None
        if noise is not None:
            self.fired[where, count] = noise
        return noise

    def _touch(self, phase: str, call: str) -> None:
        context = self.current
        if context is None:  # a person reads
            return
        if phase == "before":
            noise = context.noise = self.chance(call, noise_of_publish if call.startswith("pubsub") else noise_of_call)
            # Any latency will do, as long as it stays the same when a run is repeated with less in it.
            seconds = 0.02 + (zlib.crc32(call.encode()) % 97) / 200
            kind = noise.kind if noise else ""
            stall = noise.amount if noise and kind == "stalled" else 0.0
            if self.events_are_enough:
                # A delivery that outlives its ack deadline is answered for by its twin, and nobody delivers it again: what
                # it leaves undone is for a sweep to see. (Deployed, the time-out of a function is shorter.)
                # A patch on its way while the next delivery reads: that one finds nothing to do, and the sweep repairs it.
                within = 0.0 if call.startswith("gateway patch") else context.started + ACK_DEADLINE - 60 - self.t
                stall = min(stall, max(0.0, within))
            self.pause(seconds + stall)
            context.stale = noise.amount if noise and kind == "stale answer" and not self.events_are_enough else 0.0
            context.denied = kind == "denied"
            if kind == "failed":
                raise RetryableError(f"503 {call}")
            if kind == "refused":
                raise RefusedError(f"403 {call}") if call.startswith("gateway") else RetryableError(f"403 {call}")
            if kind == "killed before":
                raise KilledError(call)
            return
        context.last_call = call
        if is_read(call):
            context.last_read = self.t
        if context.noise is not None:
            if context.noise.kind == "answer lost":
                raise RetryableError(f"no answer {call}")
            if context.noise.kind == "killed after":
                raise KilledError(call)

    # Pub/Sub and Eventarc.

    def enqueue(self, topic: str, data: bytes, attributes: dict[str, str]) -> None:
        """Take a published message in; it is delivered at least once, at some time."""
        self.sequence += 1
        message = Message(data, attributes, f"m{self.sequence}", self.now)
        if topic == DEAD_LETTERS:
            self.letters.append((attributes.get("topic", ""), message))
            return
        context = self.current
        if context is not None:
            self.ledger.published(context, data)
            if context.noise is not None and context.noise.kind == "published twice":
                self._queue(topic, replace(message, id=f"{message.id}-2"))
        self._queue(topic, message)

    def _queue(self, topic: str, message: Message) -> None:
        if topic not in STEPS and topic not in ("sweep", AUDIT_LOG_ENTRIES):
            return
        noise = self.chance(f"message to {topic} {message.data.decode(errors='replace')}", noise_of_delivery)
        self.at(noise.amount if noise and noise.kind == "late" else 0.1, lambda: self._start(topic, message, 1))
        if noise and noise.kind == "delivered again":
            self.at(noise.amount, lambda: self._start(topic, message, 1))

    def event(self, what: str, event: Event) -> None:
        """Let Eventarc deliver an event, at least once, or lose it."""
        noise = self.chance(f"event {what}", noise_of_event)
        if noise is not None and noise.kind == "lost" and not self.events_are_enough:
            return
        attributes = event.get_attributes()
        message = Message(json.dumps(event.data).encode(), attributes, attributes["id"], self.now)
        self.at(noise.amount if noise and noise.kind == "late" else 0.5, lambda: self._start("", message, 1, event))
        if noise and noise.kind == "delivered again":
            self.at(noise.amount, lambda: self._start("", message, 1, event))

    def _start(self, topic: str, message: Message, attempt: int, event: Event | None = None) -> None:
        self.deliveries += 1
        body = {} if event else body_of(message.data)
        context = self.current = Context(topic, message, attempt, self.t, self.settings, body)
        greenlet(self._serve).switch(context, event)

    def _serve(self, context: Context, event: Event | None) -> None:
        dispatcher = Dispatcher(lambda: RandomServices(self))
        dispatcher.recent_reads = self.recent_reads
        dispatcher.recent_deletions = self.recent_deletions
        topic, message = context.topic, context.message
        done = False
        try:
            if event is not None:
                dispatcher.answer("route-event", event, dispatcher.work("route-event", route_event.run))
            elif topic == AUDIT_LOG_ENTRIES:
                dispatcher.answer("route-event", push_event(message), dispatcher.work("route-event", route_event.run))
            elif topic == "sweep":
                self.ledger.sweep_starts(context)
                dispatcher.answer(topic, push_event(message), sweep.run)
            else:
                dispatcher.answer(topic, push_event(message), dispatcher.work(topic, STEPS[topic]))
            done = True
        except (ServiceUnavailable, KilledError):
            pass
        except GreenletExit:
            return
        except ViolationError as found:
            self.violation = str(found)
        except Exception as error:  # noqa: BLE001 - any other exception is a finding
            self.violation = f"not expected in {topic}: {type(error).__name__}: {error}"
        if context in self.sweeping:
            self.sweeping.remove(context)
        if not done and not context.overdue:
            self._again(context, 0.0, event)

    def _again(self, context: Context, after: float, event: Event | None = None) -> None:
        """Deliver again with back-off, or dead-letter after the attempts. Eventarc gives up after 24 hours."""
        attempt = context.attempt
        if event is None and attempt >= ATTEMPTS:
            self.letters.append((context.topic, context.message))
            return
        back_off = min(600.0, 10.0 * 2 ** (attempt - 1))
        self.at(after + back_off, lambda: self._start(context.topic, context.message, attempt + 1, event))

    def replay_dead_letters(self) -> int:
        """Publish every dead letter's bytes to its topic again, as `ops dead-letters replay` does."""
        letters, self.letters = self.letters, []
        for topic, message in letters:
            kept = {
                key: value
                for key, value in message.attributes.items()
                if key not in ("reversed", "topic", "step", "reason")
            }
            self.enqueue(topic, message.data, kept)
        return len(letters)

    # What the APIs answer: late, and not complete.

    def hide(self, what: str, seconds: float) -> None:
        """Let lists leave a location out, or refuse a project, for a while."""
        self.hidden[what] = max(self.hidden.get(what, 0.0), self.t + seconds)

    def _is_hidden(self, what: str) -> bool:
        return not self.calm and self.hidden.get(what, 0.0) > self.t

    def _back(self) -> float:
        return self.t - (self.current.stale if self.current else 0.0)

    def seen_cluster(self, name: ClusterName) -> Cluster | None:
        if self._is_hidden(name.project):
            raise RetryableError(f"403 {name}")
        found = self.clusters.at(name, self._back())  # type: ignore[attr-defined]
        if self.current:
            if self.current.denied:
                found = None  # 404, and the list holds it: two answers that contradict each other
            self.current.clusters[name] = found
        return found  # type: ignore[no-any-return]

    def _missing_zones(self, project: str) -> frozenset[str]:
        zones = ("europe-west1-b", "europe-west1-c")
        return frozenset(zone for zone in zones if self._is_hidden(f"{project}/{zone}"))

    def seen_clusters(self, project: str) -> tuple[list[Cluster], frozenset[str]]:
        if self._is_hidden(project):
            raise RetryableError(f"403 projects/{project}")
        missing = self._missing_zones(project)
        found = [c for c in self.clusters.all_at(self._back()) if c.name.project == project]  # type: ignore[attr-defined]
        hidden = [c for c in found if any(zone.startswith(c.name.location) for zone in missing)]
        return [c for c in found if c not in hidden], missing

    def seen_in_list(self, name: ClusterName) -> bool:
        missing = self._missing_zones(name.project)
        if self._is_hidden(name.project) or any(zone.startswith(name.location) for zone in missing):
            raise RetryableError(f"the list lacks zones, or 403: whether {name} is gone is not known")
        return name in self.clusters or self.clusters.at(name, self._back()) is not None  # type: ignore[attr-defined]

    def _connected(self, found: Membership) -> Membership:
        return (
            replace(found, last_connection=self.now)
            if found.last_connection and found.name not in self.lost_agents
            else found
        )

    def seen_membership(self, name: MembershipName) -> Membership | None:
        found = self.memberships.get(name)
        if self.current and self.current.stale and self.memberships.at(name, self._back()) is None:  # type: ignore[attr-defined]
            found = None  # made a moment ago, and not yet to be read
        if self.current and self.current.denied:
            found = None
        found = found and self._connected(found)
        if self.current:
            self.current.memberships[name] = found
        return found

    def seen_memberships(self) -> tuple[list[Membership], frozenset[str]]:
        missing = frozenset(place for place in ("europe-west1", "global") if self._is_hidden(f"fleet/{place}"))
        found = self.memberships.all_at(self._back())  # type: ignore[attr-defined]
        return [self._connected(m) for m in found if m.name.location not in missing], missing

    def seen_in_fleet(self, name: MembershipName) -> bool:
        if self._is_hidden(f"fleet/{name.location}"):
            raise RetryableError(f"the list is not complete: whether {name} is gone is not known")
        return name in self.memberships or self.memberships.at(name, self._back()) is not None  # type: ignore[attr-defined]

    # What a step has changed.

    def wrote(self, cluster: Kubernetes, collection: str, before: Object | None, after: Object | None) -> None:
        if self.current is not None:
            self.ledger.wrote(self.current, cluster, collection, before, after)

    def preconditioned(self, version: Object) -> None:
        if self.current is not None:
            self.ledger.preconditioned(self.current, version)

    def unregistered(self, found: Membership) -> None:
        if self.current is not None:
            membership_ledger.unregistered(self.ledger, self.current, found)

    def registered(self, made: Membership) -> Membership:
        """Registering takes a while: the step waits for the operation, for 45 s at most."""
        if self.current is None:
            return made
        membership_ledger.registered(self.current, made)
        noise = self.chance(f"operation {made.name}", lambda random: Noise("slow", random.uniform(20, 90)))
        takes = noise.amount if noise else 8.0
        self.memberships[made.name] = replace(made, state="CREATING")
        self.at(takes, lambda: self._registered(made))
        self.pause(min(takes + 0.1, 45.0))
        now = self.memberships.get(made.name)
        if now is None or now.unique_id != made.unique_id or now.state != "READY":
            raise RetryableError("not finished within 45 s; the next delivery reads again")
        return now

    def _registered(self, made: Membership) -> None:
        now = self.memberships.get(made.name)
        if now is not None and now.unique_id == made.unique_id and now.state == "CREATING":
            self.memberships[made.name] = made


class RandomServices(WorldServices):
    """The ports on the world."""
