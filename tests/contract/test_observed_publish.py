"""Faults on publishing over gRPC, as the official client meets them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from google.api_core import exceptions
from google.pubsub_v1 import PublisherClient, PubsubMessage
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from local.google.faults import Calls, Fault, Faults
from local.google.pubsub.broker import Broker
from local.google.pubsub.model import Subscription
from local.google.pubsub.observed import ObservedPublish
from local.google.pubsub.rpc import serve_grpc
from tests.contract.background import BackgroundLoop
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPIC, SUBSCRIPTION = "projects/demo-fleet/topics/write-secret", "projects/demo-fleet/subscriptions/all"


class Stage:
    """A broker with one topic behind an observed server, and the official client of it."""

    def __init__(self, broker: Broker, client: PublisherClient, faults: Faults, calls: Calls) -> None:
        self.broker, self.faults, self.calls = broker, faults, calls
        self._client = client

    def publish(self, timeout: float = PATIENCE) -> None:
        self._client.publish(topic=TOPIC, messages=[PubsubMessage(data=b"x")], retry=None, timeout=timeout)

    def there(self) -> int:
        return int(self.broker.snapshot()[SUBSCRIPTION]["backlog"])


@contextmanager
def _stage(*rules: Fault) -> Iterator[Stage]:
    faults, calls, broker = Faults(), Calls(), Broker()
    for rule in rules:
        faults.add(rule)
    with BackgroundLoop() as loop:
        server, port = loop.run(serve_grpc(broker, 0, [ObservedPublish(faults, calls)]))
        loop.call(broker.create_topic, TOPIC)
        loop.call(broker.create_subscription, Subscription(SUBSCRIPTION, TOPIC))
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Stage(broker, PublisherClient(transport=PublisherGrpcTransport(channel=channel)), faults, calls)
        loop.run(server.stop(0))
        loop.run(broker.close())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, exceptions.PermissionDenied),
        (404, exceptions.NotFound),
        (429, exceptions.ResourceExhausted),
        (500, exceptions.InternalServerError),
        (503, exceptions.ServiceUnavailable),
    ],
)
def test_a_status_does_nothing_and_then_it_works_again(status: int, error: type[Exception]) -> None:
    with _stage(Fault("status", api="pubsub", call="POST */topics/write-secret:publish", status=status)) as stage:
        with pytest.raises(error):
            stage.publish()
        assert stage.there() == 0
        stage.publish()
        assert stage.there() == 1
        assert [call.status for call in stage.calls.log] == [status, 200]


def test_a_dropped_answer_leaves_the_message_published() -> None:
    with _stage(Fault("drop", api="pubsub")) as stage:
        with pytest.raises(exceptions.ServiceUnavailable):
            stage.publish()
        assert stage.there() == 1


def test_a_time_out_publishes_nothing() -> None:
    with _stage(Fault("timeout", api="pubsub", seconds=30)) as stage:
        with pytest.raises(exceptions.DeadlineExceeded):
            stage.publish(timeout=0.2)
        assert stage.there() == 0


def test_a_slow_publish_goes_on_when_its_fault_is_removed() -> None:
    with _stage(Fault("slow", api="pubsub", seconds=600)) as stage, ThreadPoolExecutor() as at_once:
        publishing = at_once.submit(stage.publish)
        until(lambda: stage.faults.rules[0].hits)
        assert stage.there() == 0
        stage.faults.remove()
        publishing.result(PATIENCE)
        assert stage.there() == 1
