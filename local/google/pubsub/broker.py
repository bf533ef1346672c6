"""Pub/Sub's state: topics, subscriptions, messages, leases, retries, dead letters. It knows no wire (rpc.py and rest.py do).

All of it lives in memory and in one event loop, which is also its clock; no method may be called from another thread.
Left out: ordering, exactly-once delivery, snapshots and seek, schemas, transforms, exports, unwrapped pushes.

Limits: https://cloud.google.com/pubsub/quotas#resource_limits and the comments of google/pubsub/v1/pubsub.proto.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from local.google.pubsub import filters
from local.google.pubsub.push import push, timestamp, wrapped
from local.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

MAX_MESSAGE_BYTES = 10_000_000
# Client libraries that are told of an emulator keep gRPC's default limit of 4 MB for an answer.
MAX_PULL_BYTES = 3_500_000
DELETED_TOPIC = "_deleted-topic_"
# Without a retry policy Pub/Sub delivers again at once; pushes then slow down by themselves
# (https://cloud.google.com/pubsub/docs/push#push_backoff: from 100 milliseconds to 60 seconds).
PUSH_BACKOFF = (0.1, 60.0)

_NAME = re.compile(r"projects/[^/]+/(topics|subscriptions)/(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")


@dataclass(frozen=True)
class RetryPolicy:
    """The wait before a message comes again: `minimum`, doubled each time, at most `maximum` (seconds)."""

    minimum: float = 10.0
    maximum: float = 600.0

    def backoff(self, failures: int) -> float:
        """Return the wait after that many failed deliveries."""
        return min(self.maximum, self.minimum * 2.0 ** min(failures - 1, 30))


@dataclass(frozen=True)
class DeadLetterPolicy:
    """Where a message goes that has failed `max_delivery_attempts` times."""

    topic: str
    max_delivery_attempts: int = 5


@dataclass(frozen=True)
class PushConfig:
    """Where to push, and as whom: without `service_account` a push carries no token; the audience defaults to the endpoint."""

    endpoint: str
    service_account: str = ""
    audience: str = ""


@dataclass(frozen=True)
class Subscription:
    """What a subscription is asked to do. `push_concurrency` is ours: Google decides that number by itself."""

    name: str
    topic: str
    push: PushConfig | None = None
    ack_deadline: int = 10
    filter: str = ""
    retry: RetryPolicy | None = None
    dead_letter: DeadLetterPolicy | None = None
    labels: dict[str, str] = field(default_factory=dict)
    push_concurrency: int = 16


@dataclass(frozen=True)
class Message:
    """A published message; `published` is in seconds since the epoch."""

    id: str
    data: bytes
    attributes: dict[str, str]
    published: float
    ordering_key: str = ""

    @property
    def size(self) -> int:
        return len(self.data) + sum(len(key.encode()) + len(value.encode()) for key, value in self.attributes.items())


@dataclass(frozen=True)
class Delivery:
    """One delivery of a message; `attempt` is 0 where no dead-letter policy counts them."""

    ack_id: str
    message: Message
    attempt: int


@dataclass
class _Topic:
    labels: dict[str, str]
    queues: dict[str, _Queue] = field(default_factory=dict)


@dataclass(eq=False)
class _Held:
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


class _Queue:
    """One subscription's messages. Each is in exactly one place: `ready`, `resting` (back-off) or `leased` (delivered)."""

    def __init__(self, broker: Broker, config: Subscription) -> None:
        self.broker = broker
        self.config = config
        self.matches = filters.parse(config.filter)
        self.ready: deque[_Held] = deque()
        self.resting: set[_Held] = set()
        self.leased: dict[str, _Held] = {}
        self.arrived = asyncio.Event()
        self.pushing = 0
        self.deliveries = self.acknowledged = self.dead_lettered = self.most_deliveries = 0

    def offer(self, message: Message) -> None:
        if self.matches(message.attributes):
            self._make_ready(_Held(message))

    def _make_ready(self, held: _Held) -> None:
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

    def _dead_letter(self, held: _Held) -> bool:
        policy = self.config.dead_letter
        if policy is None or held.failures < policy.max_delivery_attempts or policy.topic not in self.broker.topics:
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
            self.broker.start_push(self._push(self.config.push, self.lease(self.config.ack_deadline)))

    async def _push(self, config: PushConfig, delivery: Delivery) -> None:
        try:
            token = None
            if config.service_account and self.broker.oidc:
                token = self.broker.oidc(config.service_account, config.audience or config.endpoint)
            body = wrapped(delivery.message, self.config.name, delivery.attempt)
            acknowledged = await push(config, body, self.config.ack_deadline, token)
        finally:
            self.pushing -= 1
        if acknowledged:
            self.acknowledge(delivery.ack_id)
        else:
            self.fail(delivery.ack_id)
        self.pump()

    def drop(self) -> None:
        """Forget all messages: nobody is waited for any more."""
        for held in (*self.resting, *self.leased.values()):
            held.stop()
        self.ready.clear()
        self.resting.clear()
        self.leased.clear()
        self.arrived.set()

    def figures(self) -> dict[str, Any]:
        return {
            "topic": self.config.topic,
            "backlog": len(self.ready) + len(self.resting),
            "in_flight": len(self.leased),
            "deliveries": self.deliveries,
            "acknowledged": self.acknowledged,
            "dead_lettered": self.dead_lettered,
            "most_deliveries": self.most_deliveries,
        }


class Broker:
    """All topics and subscriptions. Names are full: `projects/P/topics/T`, `projects/P/subscriptions/S`.

    `oidc(service account's e-mail, audience)` returns the token that pushes carry.
    """

    def __init__(self, oidc: Callable[[str, str], str] | None = None) -> None:
        self.topics: dict[str, _Topic] = {}
        self.oidc = oidc
        self.closed = False
        self._queues: dict[str, _Queue] = {}
        self._pushes: set[asyncio.Task[None]] = set()
        self._ids = itertools.count(int(time.time()) * 1_000_000)

    # Topics

    def create_topic(self, name: str, labels: dict[str, str] | None = None) -> None:
        _check_name(name, "topics")
        if name in self.topics:
            raise _exists(name)
        self.topics[name] = _Topic(dict(labels or {}))

    def topic_labels(self, name: str) -> dict[str, str]:
        return self._topic(name).labels

    def label_topic(self, name: str, labels: dict[str, str]) -> None:
        self._topic(name).labels = dict(labels)

    def delete_topic(self, name: str) -> None:
        """Delete the topic; its subscriptions stay, keep their backlog and name `_deleted-topic_`."""
        for queue in self._topic(name).queues.values():
            queue.config = replace(queue.config, topic=DELETED_TOPIC)
        del self.topics[name]

    def subscriptions_of(self, topic: str) -> list[str]:
        return list(self._topic(topic).queues)

    # Subscriptions

    def create_subscription(self, subscription: Subscription) -> None:
        _check_name(subscription.name, "subscriptions")
        if subscription.name in self._queues:
            raise _exists(subscription.name)
        topic = self._topic(subscription.topic)
        self._check_subscription(subscription)
        try:
            queue = _Queue(self, subscription)
        except filters.FilterError as error:
            raise GoogleError(400, f"Invalid filter syntax: {error} (filter={subscription.filter!r}).") from error
        self._queues[subscription.name] = topic.queues[subscription.name] = queue

    def subscription(self, name: str) -> Subscription:
        return self._queue(name).config

    def subscriptions(self) -> list[str]:
        return list(self._queues)

    def update_subscription(self, subscription: Subscription) -> None:
        """Replace what the subscription is asked to do; topic and filter cannot change."""
        queue = self._queue(subscription.name)
        if (subscription.topic, subscription.filter) != (queue.config.topic, queue.config.filter):
            raise GoogleError(400, "The topic and the filter of a subscription cannot be changed.")
        self._check_subscription(subscription)
        queue.config = subscription
        queue.arrived.set()
        queue.pump()

    def delete_subscription(self, name: str) -> None:
        queue = self._queue(name)
        del self._queues[name]
        if queue.config.topic in self.topics:
            self.topics[queue.config.topic].queues.pop(name, None)
        queue.drop()

    # Messages

    def publish(
        self, topic: str, data: bytes, attributes: Mapping[str, str] | None = None, ordering_key: str = ""
    ) -> str:
        """Publish one message and return its id."""
        return self.publish_all(topic, [self.message(data, attributes or {}, ordering_key)])[0]

    def message(self, data: bytes, attributes: Mapping[str, str], ordering_key: str = "") -> Message:
        """Return a new message, not yet published."""
        return Message(str(next(self._ids)), data, dict(attributes), round(time.time(), 3), ordering_key)

    def publish_all(self, topic: str, messages: list[Message]) -> list[str]:
        """Publish all of them, or none if one is refused."""
        for message in messages:
            self._check_message(topic, message)
        for message in messages:
            self.forward(topic, message)
        return [message.id for message in messages]

    def forward(self, topic: str, message: Message) -> None:
        """Put a message that needs no check into each of the topic's subscriptions."""
        for queue in self._topic(topic).queues.values():
            queue.offer(message)

    async def pull(self, name: str, limit: int, wait: float, lease: float | None = None) -> list[Delivery]:
        """Return up to `limit` messages as soon as there is one, or none after `wait` seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            queue = self._queue(name)
            if queue.config.push:
                raise GoogleError(400, f"{name} is a push subscription.", "FAILED_PRECONDITION")
            left = until - loop.time()
            if queue.ready or left <= 0 or self.closed:
                return queue.take(limit, lease or queue.config.ack_deadline)
            queue.arrived.clear()
            try:
                await asyncio.wait_for(queue.arrived.wait(), left)
            except TimeoutError:
                return []

    def acknowledge(self, name: str, ack_ids: Iterable[str]) -> None:
        """Acknowledge; an id that is not leased any more is passed over, as Google does."""
        queue = self._queue(name)
        for ack_id in _own(name, ack_ids):
            queue.acknowledge(ack_id)

    def modify_ack_deadline(self, name: str, ack_ids: Iterable[str], seconds: int) -> None:
        """Give deliveries `seconds` from now on; 0 is a refusal."""
        queue = self._queue(name)
        if not 0 <= seconds <= 600:
            raise GoogleError(400, "ackDeadlineSeconds must be between 0 and 600.")
        for ack_id in _own(name, ack_ids):
            queue.extend(ack_id, seconds)

    # The whole

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Per subscription: topic, backlog, in_flight, deliveries, acknowledged, dead_lettered, most_deliveries (of one message)."""
        return {name: queue.figures() for name, queue in self._queues.items()}

    def start_push(self, pushing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(pushing)
        self._pushes.add(task)
        task.add_done_callback(self._pushes.discard)

    async def close(self) -> None:
        """Stop all pushes, timers and waiting pulls."""
        self.closed = True
        for queue in self._queues.values():
            queue.drop()
        for task in self._pushes:
            task.cancel()
        await asyncio.gather(*self._pushes, return_exceptions=True)
        await asyncio.sleep(0)  # lets the loop close what the pushes had open

    def _topic(self, name: str) -> _Topic:
        if name not in self.topics:
            raise _missing(name)
        return self.topics[name]

    def _queue(self, name: str) -> _Queue:
        if name not in self._queues:
            raise _missing(name)
        return self._queues[name]

    def _check_message(self, topic: str, message: Message) -> None:
        """Refuse a message that Pub/Sub refuses."""
        self._topic(topic)
        if not message.data and not message.attributes:
            raise GoogleError(400, "A message must have either non-empty data, or at least one attribute.")
        if len(message.attributes) > 100:
            raise GoogleError(400, "A message has at most 100 attributes.")
        for key, value in message.attributes.items():
            if not 0 < len(key.encode()) <= 256 or key.startswith("goog"):
                raise GoogleError(
                    400, f"Attribute key {key[:300]!r}: 1 to 256 bytes, and it must not begin with 'goog'."
                )
            if len(value.encode()) > 1024:
                raise GoogleError(400, f"The value of attribute {key!r} is too large: at most 1024 bytes.")
        if message.size > MAX_MESSAGE_BYTES:
            raise GoogleError(400, f"The message is too large: at most {MAX_MESSAGE_BYTES} bytes.")

    def _check_subscription(self, subscription: Subscription) -> None:
        if not 10 <= subscription.ack_deadline <= 600:
            raise GoogleError(400, f"Invalid ack deadline: {subscription.ack_deadline} s; it is between 10 and 600 s.")
        if subscription.push and not subscription.push.endpoint.startswith(("http://", "https://")):
            raise GoogleError(400, f"Invalid push endpoint: {subscription.push.endpoint!r}.")
        retry = subscription.retry
        if retry and not 0 <= retry.minimum <= retry.maximum <= 600:
            raise GoogleError(
                400, "Invalid retry policy: back-offs are between 0 and 600 s, the minimum not above the maximum."
            )
        if subscription.dead_letter:
            if not 5 <= subscription.dead_letter.max_delivery_attempts <= 100:
                raise GoogleError(400, "Invalid dead-letter policy: maxDeliveryAttempts is between 5 and 100.")
            self._topic(subscription.dead_letter.topic)


def _check_name(name: str, collection: str) -> None:
    match = _NAME.fullmatch(name)
    if match is None or match[1] != collection:
        raise GoogleError(
            400,
            f"Invalid [{collection}] name: (name={name}). An id has 3 to 255 characters and begins with a letter, not with 'goog'.",
        )


def _own(name: str, ack_ids: Iterable[str]) -> list[str]:
    ack_ids = list(ack_ids)
    for ack_id in ack_ids:
        if not ack_id.startswith(f"{name}:"):
            raise GoogleError(400, f"You have passed an invalid ack ID to the service (ack_id={ack_id}).")
    return ack_ids


def _missing(name: str) -> GoogleError:
    return GoogleError(404, f"Resource not found (resource={name.rpartition('/')[2]}).")


def _exists(name: str) -> GoogleError:
    return GoogleError(409, f"Resource already exists in the project (resource={name.rpartition('/')[2]}).")
