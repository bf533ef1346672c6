"""`gcloud pubsub`, as it is installed, on the embedded Pub/Sub's REST port."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from local.google.pubsub.broker import Broker
from local.google.pubsub.rest import rest_app
from local.listener import Listener
from tests import forked_gcloud
from tests.contract.background import BackgroundLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(
    shutil.which("gcloud") is None, reason="left out: gcloud on the embedded Pub/Sub, because gcloud is not installed"
)


@pytest.fixture(scope="module")
def gcloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Run `gcloud pubsub …` and return what it says as JSON; a refusal is a `CalledProcessError` with stderr."""
    with BackgroundLoop() as loop:

        async def start() -> tuple[Broker, Listener]:
            broker = Broker()
            listener = Listener(rest_app(broker))
            await listener.start()
            return broker, listener

        broker, listener = loop.run(start())
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CLOUDSDK_")} | {
            "PATH": forked_gcloud.path(),
            "CLOUDSDK_CONFIG": str(tmp_path_factory.mktemp("gcloud")),
            "CLOUDSDK_CORE_PROJECT": "demo",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": f"{listener.url}/",
            "NO_PROXY": "127.0.0.1",
        }

        def run(*arguments: str) -> Any:
            done = subprocess.run(
                ["gcloud", "pubsub", *arguments, "--format=json", "--quiet"],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
                timeout=240,
            )
            return json.loads(done.stdout or "null")

        yield run
        loop.run(listener.stop())
        loop.run(broker.close())


def test_topics_are_created_listed_described_and_deleted(gcloud: Callable[..., Any]) -> None:
    gcloud("topics", "create", "clusters", "--labels=team=platform")
    assert [topic["name"] for topic in gcloud("topics", "list")] == ["projects/demo/topics/clusters"]
    assert gcloud("topics", "describe", "clusters")["labels"] == {"team": "platform"}
    gcloud("topics", "delete", "clusters")
    assert gcloud("topics", "list") == []
    with pytest.raises(subprocess.CalledProcessError) as refused:
        gcloud("topics", "describe", "clusters")
    assert "NOT_FOUND: Resource not found (resource=clusters)" in refused.value.stderr


def test_a_subscription_is_created_pulled_acknowledged_and_deleted(gcloud: Callable[..., Any]) -> None:
    gcloud("topics", "create", "register-membership")
    gcloud("topics", "create", "dead-letters")
    gcloud(
        "subscriptions",
        "create",
        "reader",
        "--topic=register-membership",
        "--ack-deadline=60",
        '--message-filter=attributes.cause="person"',
        "--dead-letter-topic=dead-letters",
        "--max-delivery-attempts=20",
        "--min-retry-delay=10s",
        "--max-retry-delay=600s",
    )
    found = gcloud("subscriptions", "describe", "reader")
    assert found["deadLetterPolicy"] == {
        "deadLetterTopic": "projects/demo/topics/dead-letters",
        "maxDeliveryAttempts": 20,
    }
    assert found["retryPolicy"] == {"minimumBackoff": "10s", "maximumBackoff": "600s"}
    assert [one["name"] for one in gcloud("subscriptions", "list")] == ["projects/demo/subscriptions/reader"]
    assert gcloud("topics", "list-subscriptions", "register-membership") == ["projects/demo/subscriptions/reader"]

    gcloud("topics", "publish", "register-membership", '--message={"cluster": "other"}')
    published = gcloud(
        "topics", "publish", "register-membership", '--message={"cluster": "x"}', "--attribute=cause=person"
    )
    [received] = gcloud("subscriptions", "pull", "reader", "--auto-ack", "--limit=5")
    assert [received["message"]["messageId"]] == published["messageIds"]
    assert received["message"]["attributes"] == {"cause": "person"}

    gcloud("topics", "publish", "register-membership", "--message=again", "--attribute=cause=person")
    [received] = gcloud("subscriptions", "pull", "reader")
    gcloud("subscriptions", "ack", "reader", f"--ack-ids={received['ackId']}")
    gcloud(
        "subscriptions", "modify-message-ack-deadline", "reader", "--ack-deadline=0", f"--ack-ids={received['ackId']}"
    )
    assert gcloud("subscriptions", "pull", "reader") == []

    gcloud("subscriptions", "update", "reader", "--ack-deadline=30")
    assert gcloud("subscriptions", "describe", "reader")["ackDeadlineSeconds"] == 30
    gcloud("subscriptions", "delete", "reader")
    assert gcloud("subscriptions", "list") == []


def test_a_refusal_of_the_api_is_printed(gcloud: Callable[..., Any]) -> None:
    gcloud("topics", "create", "refusals")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        gcloud("topics", "create", "refusals")
    assert "Resource already exists in the project (resource=refusals)" in refused.value.stderr
    with pytest.raises(subprocess.CalledProcessError) as refused:
        gcloud("subscriptions", "create", "reader-two", "--topic=refusals", "--message-filter=nonsense")
    assert "Invalid filter syntax" in refused.value.stderr
