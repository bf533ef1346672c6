"""Pulls and streams."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions

from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from tests.contract.pubsub.sides import Side


def test_what_is_acknowledged_does_not_come_again(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic, ack_deadline_seconds=600)
    side.publish(topic, b"kept")
    side.publish(topic, b"done")
    received = [side.pull_one(name), side.pull_one(name)]
    side.acknowledge(name, *[one for one in received if one.message.data == b"done"])
    side.refuse(name, *received)
    assert side.pull_one(name).message.data == b"kept"
    assert side.pull(name) == []


def test_what_is_refused_comes_again_at_once(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic, ack_deadline_seconds=600)
    sent = side.publish(topic)
    side.refuse(name, side.pull_one(name))
    assert side.pull_one(name).message.message_id == sent


def test_an_unacknowledged_delivery_is_redelivered_after_its_deadline(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic, ack_deadline_seconds=600)
    sent = side.publish(topic)
    received = side.pull_one(name)
    since = time.monotonic()
    side.extend(name, 1, received)
    assert side.pull_one(name).message.message_id == sent
    assert time.monotonic() - since > 0.9  # not before


def test_the_deadline_of_a_delivery_can_be_extended(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic)
    side.publish(topic, b"first")
    side.publish(topic, b"second")
    first, second = side.pull_one(name), side.pull_one(name)
    side.extend(name, 3, first, second)  # time enough for the next call, which finds neither expired
    side.extend(name, 600, first)
    assert side.pull_one(name).message.data == second.message.data
    assert side.pull(name) == []


def test_an_id_of_no_delivery_is_refused(side: Side) -> None:
    name = side.subscription(side.topic())
    with pytest.raises(exceptions.InvalidArgument):
        side.subscriber.acknowledge(subscription=name, ack_ids=["nonsense"])


def test_a_deadline_beyond_ten_minutes_is_refused(side: Side) -> None:
    side.skip_on_sdk("it takes any deadline")
    topic = side.topic()
    name = side.subscription(topic)
    side.publish(topic)
    received = side.pull_one(name)
    with pytest.raises(exceptions.InvalidArgument):
        side.extend(name, 601, received)


def test_a_pull_waits_for_a_message(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic)
    answers: list[Any] = []
    waiting = threading.Thread(
        target=lambda: answers.append(side.subscriber.pull(subscription=name, max_messages=1, timeout=60))
    )
    waiting.start()
    side.publish(topic, b"awaited")
    waiting.join(PATIENCE)
    found = answers[0].received_messages or [side.pull_one(name)]
    assert found[0].message.data == b"awaited"


def test_waiting_pulls_share_the_messages(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic, ack_deadline_seconds=600)
    sent = {side.publish(topic) for _ in range(20)}
    found: list[Any] = []
    while len(found) < 20:
        found += until(partial(side.pull, name, 7))
    assert sorted(one.message.message_id for one in found) == sorted(sent)


def test_a_pull_from_what_is_not_there_is_refused(side: Side) -> None:
    with pytest.raises(exceptions.NotFound):
        side.pull(side.name("subscriptions"))


def test_a_stream_brings_messages_as_they_come(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic)
    before = {side.publish(topic) for _ in range(50)}
    found: list[str] = []

    def take(message: Any) -> None:
        found.append(message.message_id)
        message.ack()

    stream = side.subscriber.subscribe(name, take)
    after = {side.publish(topic) for _ in range(50)}
    until(lambda: before | after <= set(found))
    stream.cancel()
    stream.result(PATIENCE)
    assert set(found) == before | after
    assert side.pull(name) == []


def _at_least(found: set[str], wanted: int) -> bool:
    return len(found) >= wanted


def test_a_second_stream_takes_over_from_the_first(side: Side) -> None:
    side.skip_on_sdk("what was published before a second stream comes late or never")
    topic = side.topic()
    name = side.subscription(topic)
    sent = {side.publish(topic) for _ in range(100)}
    found: set[str] = set()

    def take(message: Any) -> None:
        found.add(message.message_id)
        message.ack()

    for wanted in (1, 100):
        stream = side.subscriber.subscribe(name, take, await_callbacks_on_shutdown=True)
        until(partial(_at_least, found, wanted))
        stream.cancel()
        stream.result(PATIENCE)
    assert found == sent


def test_a_stream_from_what_is_not_there_ends_with_the_reason(side: Side) -> None:
    stream = side.subscriber.subscribe(side.name("subscriptions"), lambda _message: None)
    with pytest.raises(exceptions.NotFound):
        stream.result(PATIENCE)
