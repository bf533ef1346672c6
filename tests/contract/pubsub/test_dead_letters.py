"""Dead letters."""

from __future__ import annotations

from functools import partial

from tests.contract.pubsub.sides import Endpoint, Side, always
from tests.waiting import until


def test_a_push_that_fails_too_often_becomes_a_dead_letter(side: Side, endpoint: Endpoint) -> None:
    endpoint.answer = partial(always, 500)
    topic, letters = side.topic(), side.topic()
    kept = side.subscription(letters)
    name = side.subscription(
        topic,
        push_config={"push_endpoint": endpoint.url},
        dead_letter_policy={"dead_letter_topic": letters, "max_delivery_attempts": 5},
    )
    side.publish(topic, b"poison", cause="test")
    letter = side.pull_one(kept).message
    assert len(endpoint.requests) == 5
    assert letter.data == b"poison"
    published = letter.attributes["CloudPubSubDeadLetterSourceTopicPublishTime"]
    assert published == endpoint.requests[0].body["message"]["publishTime"]
    assert dict(letter.attributes) == {
        "cause": "test",
        "CloudPubSubDeadLetterSourceSubscription": name.rpartition("/")[2],
        "CloudPubSubDeadLetterSourceSubscriptionProject": side.project.rpartition("/")[2],
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceTopicPublishTime": published,
    }


def test_a_push_counts_its_deliveries_where_dead_letters_do(side: Side, endpoint: Endpoint) -> None:
    side.skip_on_sdk("it leaves deliveryAttempt out of the body")
    endpoint.answer = lambda requests: 500 if len(requests) < 3 else 200
    topic, letters = side.topic(), side.topic()
    policy = {"dead_letter_topic": letters, "max_delivery_attempts": 5}
    side.subscription(topic, push_config={"push_endpoint": endpoint.url}, dead_letter_policy=policy)
    side.publish(topic)
    until(lambda: len(endpoint.requests) == 3)
    assert [request.body["deliveryAttempt"] for request in endpoint.requests] == [1, 2, 3]


def test_a_pulled_message_that_is_refused_too_often_becomes_a_dead_letter(side: Side) -> None:
    topic, letters = side.topic(), side.topic()
    kept = side.subscription(letters)
    name = side.subscription(topic, dead_letter_policy={"dead_letter_topic": letters, "max_delivery_attempts": 5})
    side.publish(topic, b"poison")
    attempts = []
    for _ in range(5):
        received = side.pull_one(name)
        attempts.append(received.delivery_attempt)
        side.refuse(name, received)
    assert attempts == [1, 2, 3, 4, 5]
    letter = until(lambda: side.pull(kept) or side.pull(name))[0].message
    assert letter.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
    assert side.pull(name) == []


def test_deliveries_are_not_counted_without_dead_letters(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic)
    side.publish(topic)
    side.refuse(name, side.pull_one(name))
    assert side.pull_one(name).delivery_attempt == 0


def test_a_missing_dead_letter_topic_loses_nothing(side: Side) -> None:
    topic, letters = side.topic(), side.topic()
    name = side.subscription(topic, dead_letter_policy={"dead_letter_topic": letters, "max_delivery_attempts": 5})
    side.publisher.delete_topic(topic=letters)
    sent = side.publish(topic)
    for _ in range(6):
        received = side.pull_one(name)
        assert received.message.message_id == sent
        side.refuse(name, received)
