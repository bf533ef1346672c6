"""What only one side has: the broker's figures and its end, the set-up of the emulator."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from local.google.pubsub import sdk
from local.google.pubsub.broker import Broker
from local.google.pubsub.model import PushConfig, RetryPolicy, Subscription
from tests.contract.pubsub.sides import ACCOUNT, Endpoint, Request, Side
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.background import BackgroundLoop


def test_figures_count_waiting_and_delivered_messages(loop: BackgroundLoop) -> None:
    async def story() -> dict[str, dict[str, Any]]:
        broker = Broker()
        broker.create_topic("projects/demo/topics/story")
        name = "projects/demo/subscriptions/story"
        broker.create_subscription(Subscription(name, "projects/demo/topics/story"))
        for _ in range(3):
            broker.publish("projects/demo/topics/story", b"x")
        first, second = await broker.pull(name, 2, 0)
        broker.acknowledge(name, [first.ack_id])
        broker.modify_ack_deadline(name, [second.ack_id], 0)
        await broker.pull(name, 1, 0)
        figures = broker.snapshot()
        await broker.close()
        return figures

    figures = loop.run(story())["projects/demo/subscriptions/story"]
    assert figures.pop("oldest_age") >= 0
    assert figures == {
        "topic": "projects/demo/topics/story",
        "backlog": 1,
        "in_flight": 1,
        "deliveries": 3,
        "acknowledged": 1,
        "dead_lettered": 0,
        "most_deliveries": 1,
    }


def test_closing_ends_pushes_and_waiting_pulls(loop: BackgroundLoop, endpoint: Endpoint) -> None:
    over = threading.Event()

    def hold(_requests: list[Request]) -> int:
        over.wait(60)
        return 200

    endpoint.answer = hold

    async def story() -> list[Any]:
        broker = Broker()
        broker.create_topic("projects/demo/topics/story")
        for name, push in (("pushed", PushConfig(endpoint.url)), ("pulled", None), ("waited", None)):
            broker.create_subscription(
                Subscription(f"projects/demo/subscriptions/{name}", "projects/demo/topics/story", push)
            )
        broker.publish("projects/demo/topics/story", b"x")
        await broker.pull("projects/demo/subscriptions/waited", 1, 0)
        waiting = asyncio.create_task(broker.pull("projects/demo/subscriptions/waited", 1, 60))
        await asyncio.to_thread(until, lambda: endpoint.requests)
        await broker.close()
        return await waiting

    assert loop.run(story()) == []
    over.set()


def test_the_emulator_is_set_up_by_the_same_words_as_the_broker(side: Side, endpoint: Endpoint) -> None:
    if side.emulator is None:
        pytest.skip("of the Cloud SDK's emulator alone: the broker's words are used everywhere else")
    topic, name = side.name("topics"), side.name("subscriptions")
    side.loop.run(side.emulator.create_topic(topic))
    asked = Subscription(name, topic, PushConfig(endpoint.url, ACCOUNT), 60, retry=RetryPolicy(1.5, 30))
    side.loop.run(side.emulator.create_subscription(asked))
    sent = side.loop.run(side.emulator.publish(topic, b"x", {"cause": "test"}))
    [request] = until(lambda: endpoint.requests)
    assert request.body["message"]["messageId"] == sent
    assert side.subscriber.get_subscription(subscription=name).retry_policy.minimum_backoff.microseconds == 500_000


@pytest.mark.parametrize(("there", "missing"), [([], "gcloud"), (["gcloud"], "java"), (["gcloud", "java"], "emulator")])
def test_methods_that_the_emulator_lacks_are_unimplemented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], missing: str
) -> None:
    for program in there:
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(sdk.UnavailableError, match=missing):
        sdk.command(8085)
