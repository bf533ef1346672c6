"""The messages of one subscription: leases, retries, pushes, dead letters."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from local.google.pubsub import filters
from local.google.pubsub.model import Delivery, Message, RetryPolicy, Subscription
from local.google.pubsub.push import push, timestamp, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from local.google.pubsub.model import PushConfig
    from local.google.tasks import Tasks

# Client libraries that use an emulator keep gRPC's default limit of 4 MB for an answer.
MAX_PULL_BYTES = 3_500_000
# Without a retry policy Pub/Sub delivers again at once; pushes then slow down by themselves
# (https://cloud.google.com/pubsub/docs/push#push_backoff: from 100 milliseconds to 60 seconds).
PUSH_BACKOFF = (0.1, 60.0)


class Around(Protocol):
    """The part of the broker that a queue uses."""

    closed: bool
    pushes: Tasks
    oidc: Callable[[str, str], str | None] | None
    forwards: Callable[[str, str], bool]

    @property
    def topics(self) -> Container[str]: ...

    def message(self, data: bytes, attributes: Mapping[str, str], ordering_key: str = "") -> Message: ...

    def forward(self, topic: str, message: Message) -> None: ...


@dataclass(eq=False)
class Held:
    """A message in one subscription; `timer` ends its back-off or its lease."""

    message: Message
    failures: int = 0
    timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float, then: Callable[[], None]) -> None:
        self.stop()
        self.timer = asyncio.get_running_loop().call_later(seconds, then)

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Queue:
    """One subscription's messages. Each is in exactly one place: `ready`, `resting` (back-off) or `leased` (delivered)."""

    def __init__(self, broker: Around, config: Subscription) -> None:
        self.broker = broker
        self.config = config
        self.matches = filters.parse(config.filter)
        self.ready: deque[Held] = deque()
        self.resting: set[Held] = set()
        self.leased: dict[str, Held] = {}
        self.arrived = asyncio.Event()
        self.pushing = 0
        self.deliveries = self.acknowledged = self.dead_lettered = self.most_deliveries = 0

    def offer(self, message: Message) -> None:
        if self.matches(message.attributes):
            self._make_ready(Held(message))

    def _make_ready(self, held: Held) -> None:
        held.stop()
        self.resting.discard(held)
        self.ready.append(held)
        self.arrived.set()
        self.pump()

    def lease(self, seconds: float) -> Delivery:
        held = self.ready.popleft()
        self.deliveries += 1
        self.most_deliveries = max(self.most_deliveries, held.failures + 1)
        ack_id = f"{self.config.name}:{held.message.id}:{self.deliveries}"
        self.leased[ack_id] = held
        held.start(seconds, lambda: self.fail(ack_id))
        # Google counts only where there is a dead-letter policy (ReceivedMessage.delivery_attempt in pubsub.proto).
        return Delivery(ack_id, held.message, held.failures + 1 if self.config.dead_letter else 0)

    def take(self, limit: int, seconds: float) -> list[Delivery]:
        taken: list[Delivery] = []
        size = 0
        while self.ready and len(taken) < limit and (not taken or size + self.ready[0].message.size <= MAX_PULL_BYTES):
            taken.append(self.lease(seconds))
            size += taken[-1].message.size
        return taken

    def acknowledge(self, ack_id: str) -> None:
        held = self.leased.pop(ack_id, None)
        if held is not None:
            held.stop()
            self.acknowledged += 1

    def extend(self, ack_id: str, seconds: float) -> None:
        if seconds == 0:
            self.fail(ack_id)
        elif ack_id in self.leased:
            self.leased[ack_id].start(seconds, lambda: self.fail(ack_id))

    def fail(self, ack_id: str) -> None:
        """Count a refusal or a missed deadline: the message goes to the dead letters, or comes again."""
        held = self.leased.pop(ack_id, None)
        if held is None:
            return
        held.stop()
        held.failures += 1
        if self._dead_letter(held):
            return
        policy = self.config.retry or (RetryPolicy(*PUSH_BACKOFF) if self.config.push else None)
        wait = policy.backoff(held.failures) if policy else 0.0
        if wait:
            self.resting.add(held)
            held.start(wait, lambda: self._make_ready(held))
        else:
            self._make_ready(held)

    def _dead_letter(self, held: Held) -> bool:
        policy = self.config.dead_letter
        if policy is None or held.failures < policy.max_delivery_attempts or policy.topic not in self.broker.topics:
            return False
        if not self.broker.forwards(self.config.name, policy.topic):  # then it is delivered for ever
            return False
        _, project, _, subscription = self.config.name.split("/")
        # https://cloud.google.com/pubsub/docs/handling-failures#how_dead_letter_topics_work
        source = {
            "Subscription": subscription,
            "SubscriptionProject": project,
            "DeliveryCount": str(held.failures),
            "TopicPublishTime": timestamp(held.message.published),
        }
        attributes = held.message.attributes | {
            f"CloudPubSubDeadLetterSource{key}": value for key, value in source.items()
        }
        letter = self.broker.message(held.message.data, attributes, held.message.ordering_key)
        self.broker.forward(policy.topic, letter)
        self.dead_lettered += 1
        return True

    def pump(self) -> None:
        """Start as many pushes as there is room for."""
        while (
            self.config.push and self.ready and self.pushing < self.config.push_concurrency and not self.broker.closed
        ):
            self.pushing += 1
            self.broker.pushes.start(self._push(self.config.push, self.lease(self.config.ack_deadline)))

    async def _push(self, config: PushConfig, delivery: Delivery) -> None:
        try:
            acknowledged = await self._sent(config, delivery)
        finally:
            self.pushing -= 1
        if acknowledged:
            self.acknowledge(delivery.ack_id)
        else:
            self.fail(delivery.ack_id)
        self.pump()

    async def _sent(self, config: PushConfig, delivery: Delivery) -> bool:
        token = None
        if config.service_account and self.broker.oidc:
            token = self.broker.oidc(config.service_account, config.audience or config.endpoint)
            if token is None:
                return False
        body = wrapped(delivery.message, self.config.name, delivery.attempt)
        return await push(config, body, self.config.ack_deadline, token)

    def drop(self) -> None:
        """Drop all messages, also the leased ones."""
        for held in (*self.resting, *self.leased.values()):
            held.stop()
        self.ready.clear()
        self.resting.clear()
        self.leased.clear()
        self.arrived.set()

    def figures(self) -> dict[str, Any]:
        held = (*self.ready, *self.resting, *self.leased.values())
        oldest = min((one.message.published for one in held), default=0.0)
        return {
            "oldest_age": max(time.time() - oldest, 0.0) if held else 0.0,
            "topic": self.config.topic,
            "backlog": len(self.ready) + len(self.resting),
            "in_flight": len(self.leased),
            "deliveries": self.deliveries,
            "acknowledged": self.acknowledged,
            "dead_lettered": self.dead_lettered,
            "most_deliveries": self.most_deliveries,
        }
