"""Rules for Pub/Sub, run with the official client libraries on the embedded broker and on the Cloud SDK's emulator.

A rule is skipped on the emulator where the emulator is known to differ; the reason is in the test.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.cloud.pubsub_v1.types import BatchSettings

from local.google.pubsub import sdk
from local.google.pubsub.broker import Broker
from local.google.pubsub.rpc import serve_grpc
from tests.contract.background import BackgroundLoop
from tests.contract.pubsub.sides import EMBEDDED, SDK, Endpoint, Side

if TYPE_CHECKING:
    from collections.abc import Iterator


# The one way to ask "is there a message now?" without waiting.
DEPRECATED = "ignore:The return_immediately flag is deprecated:DeprecationWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow the deprecated flag in this folder."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            item.add_marker(pytest.mark.filterwarnings(DEPRECATED))


@pytest.fixture(scope="session")
def loop() -> Iterator[BackgroundLoop]:
    with BackgroundLoop() as loop:
        yield loop


@contextmanager
def clients(port: int) -> Iterator[tuple[PublisherClient, SubscriberClient]]:
    """The official clients of the server on this port."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
        publisher = PublisherClient(batch_settings=BatchSettings(max_messages=1))
        subscriber = SubscriberClient()
    yield publisher, subscriber
    publisher.stop()
    publisher.transport.close()
    subscriber.close()


@pytest.fixture(scope="session")
def embedded(loop: BackgroundLoop) -> Iterator[Side]:
    async def start() -> tuple[Broker, Any, int]:
        broker = Broker(oidc=lambda account, audience: f"token.of.{account}.for.{audience}")
        return broker, *await serve_grpc(broker)

    broker, server, port = loop.run(start())
    with clients(port) as (publisher, subscriber):
        yield Side(EMBEDDED, publisher, subscriber, loop, broker, None)
    loop.run(broker.close())
    loop.run(server.stop(1))


@pytest.fixture(scope="session")
def emulated(loop: BackgroundLoop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    try:
        emulator = loop.run(sdk.start(tmp_path_factory.mktemp("emulator") / "log"))
    except sdk.UnavailableError as error:
        pytest.skip(f"left out: every rule of Pub/Sub on the Cloud SDK's emulator, because {error}")
    with clients(emulator.port) as (publisher, subscriber):
        yield Side(SDK, publisher, subscriber, loop, None, emulator)
    loop.run(emulator.close())


@pytest.fixture(scope="module", params=[EMBEDDED, SDK])
def side(request: pytest.FixtureRequest) -> Side:
    """Each implementation; it runs for the whole session."""
    side: Side = request.getfixturevalue("embedded" if request.param == EMBEDDED else "emulated")
    return side


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()
