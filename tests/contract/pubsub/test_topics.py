"""Topics and subscriptions: names, limits, defaults, updates."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions
from google.protobuf import field_mask_pb2

from tests.contract.pubsub.sides import ACCOUNT, Side
from tests.waiting import PATIENCE


def test_a_topic_is_created_once_and_listed_until_it_is_deleted(side: Side) -> None:
    name = side.topic()
    with pytest.raises(exceptions.AlreadyExists):
        side.publisher.create_topic(name=name)
    assert side.publisher.get_topic(topic=name).name == name
    assert name in [topic.name for topic in side.publisher.list_topics(project=side.project)]
    side.publisher.delete_topic(topic=name)
    with pytest.raises(exceptions.NotFound):
        side.publisher.get_topic(topic=name)
    assert name not in [topic.name for topic in side.publisher.list_topics(project=side.project)]


def test_lists_come_in_pages(side: Side) -> None:
    names = {side.topic() for _ in range(3)}
    pages = list(side.publisher.list_topics(request={"project": side.project, "page_size": 2}).pages)
    assert len(pages) > 1
    assert names <= {topic.name for page in pages for topic in page.topics}


@pytest.mark.parametrize("bad", ["ab", "1abc", "goog-topic", "with space", "x" * 256])
def test_an_id_that_google_refuses_is_refused(side: Side, bad: str) -> None:
    topic = side.topic()
    with pytest.raises(exceptions.InvalidArgument):
        side.publisher.create_topic(name=f"{side.project}/topics/{bad}")
    with pytest.raises(exceptions.InvalidArgument):
        side.subscriber.create_subscription(name=f"{side.project}/subscriptions/{bad}", topic=topic)


def test_a_subscription_is_what_was_asked_for(side: Side) -> None:
    topic, letters = side.topic(), side.topic()
    name = side.subscription(
        topic,
        push_config={"push_endpoint": "http://127.0.0.1:9/", "oidc_token": {"service_account_email": ACCOUNT}},
        ack_deadline_seconds=30,
        filter="attributes:kind",
        retry_policy={"minimum_backoff": {"seconds": 10}, "maximum_backoff": {"seconds": 600}},
        dead_letter_policy={"dead_letter_topic": letters, "max_delivery_attempts": 20},
        labels={"team": "platform"},
    )
    found = side.subscriber.get_subscription(subscription=name)
    assert (found.topic, found.ack_deadline_seconds, found.filter) == (topic, 30, "attributes:kind")
    assert found.push_config.push_endpoint == "http://127.0.0.1:9/"
    assert found.push_config.oidc_token.service_account_email == ACCOUNT
    assert (found.retry_policy.minimum_backoff.seconds, found.retry_policy.maximum_backoff.seconds) == (10, 600)
    assert found.dead_letter_policy.dead_letter_topic == letters
    assert found.dead_letter_policy.max_delivery_attempts == 20
    assert dict(found.labels) == {"team": "platform"}
    assert name in [one.name for one in side.subscriber.list_subscriptions(project=side.project)]
    assert list(side.publisher.list_topic_subscriptions(topic=topic)) == [name]
    with pytest.raises(exceptions.AlreadyExists):
        side.subscriber.create_subscription(name=name, topic=topic)
    side.subscriber.delete_subscription(subscription=name)
    with pytest.raises(exceptions.NotFound):
        side.subscriber.get_subscription(subscription=name)


def test_defaults_are_those_of_google(side: Side) -> None:
    topic = side.topic()
    plain = side.subscriber.get_subscription(subscription=side.subscription(topic))
    assert plain.ack_deadline_seconds == 10
    assert "retry_policy" not in plain
    assert "dead_letter_policy" not in plain
    empty = side.subscription(topic, retry_policy={}, dead_letter_policy={"dead_letter_topic": topic})
    found = side.subscriber.get_subscription(subscription=empty)
    assert (found.retry_policy.minimum_backoff.seconds, found.retry_policy.maximum_backoff.seconds) == (10, 600)
    assert found.dead_letter_policy.max_delivery_attempts == 5


@pytest.mark.parametrize(
    "asked",
    [
        {"ack_deadline_seconds": 601},
        {"dead_letter_policy": {"max_delivery_attempts": 4}},
        {"dead_letter_policy": {"max_delivery_attempts": 101}},
        {"retry_policy": {"minimum_backoff": {"seconds": 601}}},
        {"retry_policy": {"maximum_backoff": {"seconds": 601}}},
        {"retry_policy": {"minimum_backoff": {"seconds": 20}, "maximum_backoff": {"seconds": 10}}},
    ],
    ids=str,
)
def test_values_beyond_the_limits_are_refused(side: Side, asked: dict[str, Any]) -> None:
    topic = side.topic()
    if "dead_letter_policy" in asked:
        asked = {"dead_letter_policy": asked["dead_letter_policy"] | {"dead_letter_topic": topic}}
    with pytest.raises(exceptions.BadRequest):  # the emulator says OUT_OF_RANGE of some, a kind of 400 too
        side.subscription(topic, **asked)


@pytest.mark.parametrize("asked", [{"ack_deadline_seconds": 9}, {"filter": "nonsense"}], ids=str)
def test_what_the_sdk_lets_through_is_refused_too(side: Side, asked: dict[str, Any]) -> None:
    side.skip_on_sdk("it takes ack deadlines below 10 s and does not read filters")
    with pytest.raises(exceptions.InvalidArgument):
        side.subscription(side.topic(), **asked)


@pytest.mark.parametrize("asked", [{"enable_message_ordering": True}, {"enable_exactly_once_delivery": True}], ids=str)
def test_an_unsupported_option_is_refused_with_a_reason(side: Side, asked: dict[str, Any]) -> None:
    side.skip_on_sdk("it has ordering, and takes exactly-once without acting on it")
    with pytest.raises(exceptions.MethodNotImplemented):
        side.subscription(side.topic(), **asked)


def test_topics_that_are_named_must_exist(side: Side) -> None:
    missing = side.name("topics")
    with pytest.raises(exceptions.NotFound):
        side.subscription(missing)
    with pytest.raises(exceptions.NotFound):
        side.subscription(side.topic(), dead_letter_policy={"dead_letter_topic": missing, "max_delivery_attempts": 5})
    with pytest.raises(exceptions.NotFound):
        side.publisher.publish(missing, b"x").result(PATIENCE)


def test_an_update_changes_the_masked_fields_alone(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic, ack_deadline_seconds=20, dead_letter_policy={"dead_letter_topic": topic})
    side.subscriber.update_subscription(
        subscription={"name": name, "ack_deadline_seconds": 40, "labels": {"not": "masked"}},
        update_mask=field_mask_pb2.FieldMask(paths=["ack_deadline_seconds", "dead_letter_policy"]),
    )
    found = side.subscriber.get_subscription(subscription=name)
    assert found.ack_deadline_seconds == 40
    assert "dead_letter_policy" not in found
    assert not found.labels


@pytest.mark.parametrize("path", ["filter", "topic", "name"])
def test_what_is_fixed_cannot_be_updated(side: Side, path: str) -> None:
    name = side.subscription(side.topic())
    mask = field_mask_pb2.FieldMask(paths=[path])
    with pytest.raises(exceptions.InvalidArgument):
        side.subscriber.update_subscription(
            subscription={"name": name, "filter": "attributes:x", "topic": side.topic()}, update_mask=mask
        )


def test_a_subscription_outlives_its_topic(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic)
    side.publish(topic, b"still there")
    side.publisher.delete_topic(topic=topic)
    assert side.subscriber.get_subscription(subscription=name).topic == "_deleted-topic_"
    assert side.pull_one(name).message.data == b"still there"
