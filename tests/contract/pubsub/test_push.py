"""Pushes: the request, the answers that acknowledge, backoff, concurrency."""

from __future__ import annotations

import itertools
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from local.google.pubsub.model import PushConfig, Subscription
from local.reserved_port import ReservedPort
from tests.contract.pubsub.sides import ACCOUNT, EMBEDDED, Endpoint, Request, Side, always
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def slow(side: Side) -> Iterator[tuple[Endpoint, threading.Event]]:
    """An endpoint that holds its first push beyond the ack deadline of 10 s, which passes during the other tests."""
    over = threading.Event()

    def answer(requests: list[Request]) -> int:
        if len(requests) == 1:
            over.wait(60)
        return 200

    endpoint = Endpoint(answer)
    topic = side.topic()
    side.subscription(topic, push_config={"push_endpoint": endpoint.url}, ack_deadline_seconds=10)
    side.publish(topic, b"slow")
    yield endpoint, over
    over.set()
    endpoint.close()


@pytest.mark.usefixtures("slow")
def test_a_push_is_wrapped_as_google_wraps_it(side: Side, endpoint: Endpoint) -> None:
    topic = side.topic()
    name = side.subscription(topic, push_config={"push_endpoint": endpoint.url})
    sent = side.publish(topic, b'{"cluster": "x"}', cause="test")
    [request] = until(lambda: endpoint.requests)
    assert request.headers["content-type"] == "application/json"
    message = request.body["message"]
    assert request.body["subscription"] == name
    assert request.data == b'{"cluster": "x"}'
    assert message["attributes"] == {"cause": "test"}
    assert message["messageId"] == message["message_id"] == sent
    assert message["publishTime"] == message["publish_time"]
    assert message["publishTime"].endswith("Z")
    assert set(request.body) == {"message", "subscription"}
    assert set(message) == {"data", "attributes", "messageId", "message_id", "publishTime", "publish_time"}


def test_a_push_carries_the_ordering_key(side: Side, endpoint: Endpoint) -> None:
    side.skip_on_sdk("it leaves the ordering key out of the body")
    topic = side.topic()
    side.subscription(topic, push_config={"push_endpoint": endpoint.url})
    assert side.broker is not None
    side.loop.call(side.broker.publish, topic, b"x", {}, "one")
    [pushed] = until(lambda: endpoint.requests)
    assert pushed.body["message"]["orderingKey"] == "one"


def test_these_answers_acknowledge(side: Side, endpoint: Endpoint) -> None:
    # The SDK's emulator takes 202 for a refusal, unlike what Google's page on push subscriptions says.
    statuses = [102, 200, 201, 202, 204] if side.kind == EMBEDDED else [102, 200, 201, 204]
    endpoints = {status: Endpoint(partial(always, status)) for status in statuses}
    endpoint.answer = partial(always, 500)
    topic = side.topic()
    for one in (*endpoints.values(), endpoint):
        side.subscription(topic, push_config={"push_endpoint": one.url})
    side.publish(topic)
    # The endpoint that refuses is the clock: after three more pushes, every other one that had not acknowledged has had its second.
    until(lambda: all(one.requests for one in endpoints.values()))
    before = len(endpoint.requests)
    until(lambda: len(endpoint.requests) >= before + 3)
    assert {status: len(one.requests) for status, one in endpoints.items()} == dict.fromkeys(statuses, 1)
    for one in endpoints.values():
        one.close()


@pytest.mark.parametrize("status", [203, 205, 302, 400, 404, 429, 500, 503])
def test_these_answers_refuse(side: Side, endpoint: Endpoint, status: int) -> None:
    if status == 203:
        side.skip_on_sdk("it takes 203 for an acknowledgement")
    endpoint.answer = lambda requests: status if len(requests) == 1 else 200
    topic = side.topic()
    side.subscription(topic, push_config={"push_endpoint": endpoint.url})
    sent = side.publish(topic)
    until(lambda: len(endpoint.requests) == 2)
    assert {request.body["message"]["messageId"] for request in endpoint.requests} == {sent}


def test_a_push_names_its_sender(side: Side, endpoint: Endpoint) -> None:
    side.skip_on_sdk("it sends no token")
    topic = side.topic()
    for audience in ("", "https://function.example"):
        token = {"service_account_email": ACCOUNT, "audience": audience}
        side.subscription(topic, push_config={"push_endpoint": endpoint.url, "oidc_token": token})
    side.publish(topic)
    until(lambda: len(endpoint.requests) == 2)
    assert {request.headers["authorization"] for request in endpoint.requests} == {
        f"Bearer token.of.{ACCOUNT}.for.{endpoint.url}",
        f"Bearer token.of.{ACCOUNT}.for.https://function.example",
    }


def test_pushes_back_off_from_the_minimum_to_the_maximum(side: Side, endpoint: Endpoint) -> None:
    endpoint.answer = lambda requests: 500 if len(requests) < 6 else 200
    topic = side.topic()
    policy = {"minimum_backoff": {"seconds": 1}, "maximum_backoff": {"seconds": 2}}
    side.subscription(topic, push_config={"push_endpoint": endpoint.url}, retry_policy=policy)
    side.publish(topic)
    until(lambda: len(endpoint.requests) == 6)
    # A busy machine makes each wait longer, and none shorter.
    waits = [after.at - before.answered for before, after in itertools.pairwise(endpoint.requests)]
    assert waits[0] > 0.9
    assert min(waits[1:]) > 1.2
    assert sum(waits) < 25  # without the maximum at least 31 s: 1, 2, 4, 8 and 16


def test_one_slow_endpoint_does_not_hold_another(side: Side, endpoint: Endpoint) -> None:
    topic, over = side.topic(), threading.Event()

    def hold(_requests: list[Request]) -> int:
        over.wait(60)
        return 200

    slow = Endpoint(hold)
    for one in (slow, endpoint):
        side.subscription(topic, push_config={"push_endpoint": one.url}, ack_deadline_seconds=60)
    for _ in range(10):
        side.publish(topic)
    until(lambda: len(endpoint.requests) == 10)
    over.set()
    until(lambda: len(slow.requests) == 10)
    slow.close()


def test_pushes_of_one_subscription_run_side_by_side_up_to_its_limit(side: Side, endpoint: Endpoint) -> None:
    side.skip_on_sdk("it pushes two at a time and has no setting")
    assert side.broker is not None
    together = threading.Barrier(4)

    def meet(_requests: list[Request]) -> int:
        together.wait(PATIENCE)
        return 200

    endpoint.answer = meet
    topic = side.topic()
    name = side.name("subscriptions")
    asked = Subscription(name, topic, push=PushConfig(endpoint.url), push_concurrency=4)
    side.loop.call(side.broker.create_subscription, asked)
    for _ in range(12):
        side.publish(topic)
    until(lambda: side.broker is not None and side.broker.snapshot()[name]["acknowledged"] == 12)
    assert endpoint.most_at_once == 4


def test_without_its_endpoint_a_step_is_paused_and_loses_nothing(side: Side, endpoint: Endpoint) -> None:
    topic = side.topic()
    name = side.subscription(topic, push_config={"push_endpoint": endpoint.url})
    side.subscriber.modify_push_config(subscription=name, push_config={})
    sent = side.publish(topic)
    side.refuse(name, side.pull_one(name))
    assert endpoint.requests == []
    side.subscriber.modify_push_config(subscription=name, push_config={"push_endpoint": endpoint.url})
    [request] = until(lambda: endpoint.requests)
    assert request.body["message"]["messageId"] == sent


def test_an_endpoint_that_is_down_gets_its_messages_when_it_is_back(side: Side, endpoint: Endpoint) -> None:
    topic, down = side.topic(), ReservedPort()
    name = side.subscription(topic, push_config={"push_endpoint": f"http://127.0.0.1:{down.number}/"})
    sent = side.publish(topic)
    side.subscriber.modify_push_config(subscription=name, push_config={"push_endpoint": endpoint.url})
    until(lambda: endpoint.requests)
    down.release()
    assert {request.body["message"]["messageId"] for request in endpoint.requests} == {sent}


def test_a_burst_is_delivered_whole(side: Side, endpoint: Endpoint) -> None:
    topics = [side.topic() for _ in range(7)]
    for topic in topics:
        side.subscription(topic, push_config={"push_endpoint": endpoint.url}, ack_deadline_seconds=60)
    count = 100 if side.kind == EMBEDDED else 20
    sent = [side.publisher.publish(topic, b"{}") for topic in topics for _ in range(count)]
    wanted = sorted(future.result(PATIENCE) for future in sent)
    until(lambda: len(endpoint.requests) >= len(wanted))
    assert sorted(request.body["message"]["messageId"] for request in endpoint.requests) == wanted


def test_a_push_that_is_answered_too_late_comes_again(side: Side, slow: tuple[Endpoint, threading.Event]) -> None:
    endpoint, over = slow
    until(lambda: len(endpoint.requests) == 2)
    over.set()
    first, second = endpoint.requests
    assert first.body["message"]["messageId"] == second.body["message"]["messageId"]
    assert second.at - first.at > 5  # 10 s, less the time that the first push took to arrive
