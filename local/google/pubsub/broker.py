"""Pub/Sub's state: topics, subscriptions, messages, leases, retries, dead letters. It knows no wire (rpc.py and rest.py do).

All of it lives in memory and in one event loop, which is also its clock; no method may be called from another thread.
Left out: ordering, exactly-once delivery, snapshots and seek, schemas, transforms, exports, unwrapped pushes.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from local.google.pubsub import filters
from local.google.pubsub.limits import check_message, check_name, check_subscription
from local.google.pubsub.model import Delivery, Message, Subscription
from local.google.pubsub.queue import Queue
from local.google.tasks import Tasks
from local.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

DELETED_TOPIC = "_deleted-topic_"


@dataclass
class _Topic:
    labels: dict[str, str]
    queues: dict[str, Queue] = field(default_factory=dict)


class Broker:
    """All topics and subscriptions. Names are full: `projects/P/topics/T`, `projects/P/subscriptions/S`.

    `oidc(service account's e-mail, audience)` returns the token that pushes carry, or None where Pub/Sub may not have one:
    the push then fails. `forwards(subscription, topic)` says whether Pub/Sub may move a message to a dead-letter topic.
    A pull waits `pull_seconds` for a first message.
    """

    def __init__(
        self,
        oidc: Callable[[str, str], str | None] | None = None,
        forwards: Callable[[str, str], bool] = lambda _subscription, _topic: True,
        pull_seconds: float = 3.0,
    ) -> None:
        self.topics: dict[str, _Topic] = {}
        self.oidc = oidc
        self.forwards = forwards
        self.pull_seconds = pull_seconds
        self.closed = False
        self._queues: dict[str, Queue] = {}
        self.pushes = Tasks()
        self._ids = itertools.count(int(time.time()) * 1_000_000)

    # Topics

    def create_topic(self, name: str, labels: dict[str, str] | None = None) -> None:
        check_name(name, "topics")
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
        check_name(subscription.name, "subscriptions")
        if subscription.name in self._queues:
            raise _exists(subscription.name)
        topic = self._topic(subscription.topic)
        self._check(subscription)
        try:
            queue = Queue(self, subscription)
        except filters.FilterError as error:
            raise GoogleError(400, f"Invalid filter syntax: {error} (filter={subscription.filter!r}).") from error
        self._queues[subscription.name] = topic.queues[subscription.name] = queue

    def subscription(self, name: str) -> Subscription:
        return self._queue(name).config

    def subscriptions(self) -> list[str]:
        return list(self._queues)

    def update_subscription(self, subscription: Subscription) -> None:
        """Replace the settings of a subscription; topic and filter cannot change."""
        queue = self._queue(subscription.name)
        if (subscription.topic, subscription.filter) != (queue.config.topic, queue.config.filter):
            raise GoogleError(400, "The topic and the filter of a subscription cannot be changed.")
        self._check(subscription)
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
        self._topic(topic)
        for message in messages:
            check_message(message)
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
        """Per subscription: topic, backlog, in_flight, deliveries, acknowledged, dead_lettered, most_deliveries (of one message).

        `oldest_age` is the age of the oldest message in seconds, 0 for an empty queue.
        """
        return {name: queue.figures() for name, queue in self._queues.items()}

    def configuration(self) -> tuple[dict[str, dict[str, str]], list[Subscription]]:
        """Return the labels of all topics, and all subscriptions."""
        topics = {name: dict(topic.labels) for name, topic in self.topics.items()}
        return topics, [queue.config for queue in self._queues.values()]

    async def reset(self, configuration: tuple[dict[str, dict[str, str]], list[Subscription]]) -> None:
        """Drop all messages and pushes, and restore exactly these topics and subscriptions."""
        for name in list(self._queues):
            self.delete_subscription(name)
        await self.pushes.close()
        topics, subscriptions = configuration
        self.topics.clear()
        for name, labels in topics.items():
            self.create_topic(name, labels)
        for subscription in subscriptions:
            self.create_subscription(subscription)

    async def close(self) -> None:
        """Stop all pushes, timers and waiting pulls."""
        self.closed = True
        for queue in self._queues.values():
            queue.drop()
        await self.pushes.close()
        await asyncio.sleep(0)  # lets the loop close what the pushes had open

    def _check(self, subscription: Subscription) -> None:
        check_subscription(subscription)
        if subscription.dead_letter:
            self._topic(subscription.dead_letter.topic)

    def _topic(self, name: str) -> _Topic:
        if name not in self.topics:
            raise _missing(name)
        return self.topics[name]

    def _queue(self, name: str) -> Queue:
        if name not in self._queues:
            raise _missing(name)
        return self._queues[name]


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
