"""One suite of rules for Pub/Sub, run by the official client libraries, on the embedded broker and the Cloud SDK's emulator.

Where the emulator is known to differ, the rule is skipped on its side, with the reason beside it.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.cloud.pubsub_v1.types import BatchSettings
from google.protobuf import field_mask_pb2

from local.google.pubsub import sdk
from local.google.pubsub.broker import Broker
from local.google.pubsub.model import PushConfig, RetryPolicy, Subscription
from local.google.pubsub.rpc import serve_grpc
from tests.contract.background import BackgroundLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Deprecated, but the one way to ask "is there anything now?" without waiting.
pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag is deprecated:DeprecationWarning")

ACCOUNT = "pusher@demo.iam.gserviceaccount.com"
EMBEDDED, SDK = "embedded", "sdk-emulator"


def eventually(check: Callable[[], Any], within: float = 30.0) -> Any:
    """Return the first true answer of `check`: the one place where tests wait."""
    until = time.monotonic() + within
    while not (answer := check()):
        assert time.monotonic() < until, "what was waited for did not happen"
        time.sleep(0.02)
    return answer


@dataclass
class Request:
    """What an endpoint was sent, and when it came (monotonic)."""

    at: float
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.body["message"].get("data", ""))


@dataclass
class Endpoint:
    """A push endpoint: `answer` decides the status of each request, by all that came so far."""

    answer: Callable[[list[Request]], int] = lambda _requests: 200
    requests: list[Request] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0

    def __post_init__(self) -> None:
        endpoint, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                request = Request(time.monotonic(), {k.lower(): v for k, v in self.headers.items()}, body)
                with lock:
                    endpoint.requests.append(request)
                    endpoint.at_once += 1
                    endpoint.most_at_once = max(endpoint.most_at_once, endpoint.at_once)
                    seen = list(endpoint.requests)
                status = endpoint.answer(seen)
                with lock:
                    endpoint.at_once -= 1
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_arguments: Any) -> None:
                """A push that was given up has cut its line."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Side:
    """One implementation, reached by the official clients; `broker` is there only when it is ours."""

    kind: str
    publisher: Any
    subscriber: Any
    loop: BackgroundLoop
    broker: Broker | None
    emulator: sdk.Emulator | None
    project: str = field(default_factory=lambda: f"projects/rules-{uuid.uuid4().hex[:8]}")
    _names: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def name(self, collection: str) -> str:
        return f"{self.project}/{collection}/rule-{next(self._names)}"

    def topic(self) -> str:
        name = self.name("topics")
        self.publisher.create_topic(name=name)
        return name

    def subscription(self, topic: str, **asked: Any) -> str:
        name = self.name("subscriptions")
        self.subscriber.create_subscription(request={"name": name, "topic": topic, **asked})
        return name

    def publish(self, topic: str, data: bytes = b"{}", **attributes: str) -> str:
        return str(self.publisher.publish(topic, data, **attributes).result(20))

    def pull(self, subscription: str, count: int = 10) -> list[Any]:
        answer = self.subscriber.pull(subscription=subscription, max_messages=count, return_immediately=True)
        return list(answer.received_messages)

    def pull_one(self, subscription: str) -> Any:
        return eventually(lambda: self.pull(subscription, 1))[0]

    def acknowledge(self, subscription: str, *received: Any) -> None:
        self.subscriber.acknowledge(subscription=subscription, ack_ids=[one.ack_id for one in received])

    def refuse(self, subscription: str, *received: Any) -> None:
        self.extend(subscription, 0, *received)

    def extend(self, subscription: str, seconds: int, *received: Any) -> None:
        self.subscriber.modify_ack_deadline(
            subscription=subscription, ack_ids=[one.ack_id for one in received], ack_deadline_seconds=seconds
        )

    def skip_on_sdk(self, reason: str) -> None:
        if self.kind == SDK:
            pytest.skip(f"left out on the Cloud SDK's emulator: {reason}")


@pytest.fixture(scope="module")
def loop() -> Iterator[BackgroundLoop]:
    with BackgroundLoop() as loop:
        yield loop


@pytest.fixture(scope="module", params=[EMBEDDED, SDK])
def side(
    request: pytest.FixtureRequest, loop: BackgroundLoop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Side]:
    server: Any = None
    broker: Broker | None = None
    emulator: sdk.Emulator | None = None
    if request.param == EMBEDDED:

        async def start() -> tuple[Broker, Any, int]:
            broker = Broker(oidc=lambda account, audience: f"token.of.{account}.for.{audience}")
            return broker, *await serve_grpc(broker)

        broker, server, port = loop.run(start())
    else:
        try:
            emulator = loop.run(sdk.start(tmp_path_factory.mktemp("emulator") / "log"))
        except sdk.UnavailableError as error:
            pytest.skip(f"left out: every rule of Pub/Sub on the Cloud SDK's emulator, because {error}")
        port = emulator.port
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
        publisher = PublisherClient(batch_settings=BatchSettings(max_messages=1))
        subscriber = SubscriberClient()
    yield Side(request.param, publisher, subscriber, loop, broker, emulator)
    publisher.stop()
    publisher.transport.close()
    subscriber.close()
    if broker is not None:
        loop.run(broker.close())
        loop.run(server.stop(1))
    if emulator is not None:
        loop.run(emulator.close())


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture(scope="module")
def slow(side: Side) -> Iterator[tuple[Endpoint, threading.Event]]:
    """An endpoint that holds its first push beyond the ack deadline. It is started before the other rules and asked after."""
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


# Topics and subscriptions


@pytest.mark.usefixtures("slow")
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
def test_what_is_not_made_is_refused_aloud(side: Side, asked: dict[str, Any]) -> None:
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
        side.publisher.publish(missing, b"x").result(20)


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


# Publishing


def test_a_message_without_data_and_attributes_is_refused(side: Side) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        side.publish(side.topic(), b"")
    topic = side.topic()
    name = side.subscription(topic)
    side.publish(topic, b"", only="attributes")
    received = side.pull_one(name)
    assert (received.message.data, dict(received.message.attributes)) == (b"", {"only": "attributes"})


@pytest.mark.parametrize(
    "attributes",
    [{"k": "v" * 1025}, {"k" * 257: "v"}, {"google": "v"}, {"k": "é" * 513}, {f"k{n}": "v" for n in range(101)}],
    ids=["long value", "long key", "goog", "bytes count", "101 of them"],
)
def test_attributes_beyond_the_limits_are_refused(side: Side, attributes: dict[str, str]) -> None:
    side.skip_on_sdk("it does not check attributes")
    topic = side.topic()
    with pytest.raises(exceptions.InvalidArgument):
        side.publish(topic, b"x", **attributes)


def test_attributes_at_the_limits_pass(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic)
    attributes = {"k" * 256: "v" * 1024}
    side.publish(topic, b"x", **attributes)
    assert dict(side.pull_one(name).message.attributes) == attributes


def test_a_message_may_be_nearly_ten_megabytes_long(side: Side, endpoint: Endpoint) -> None:
    # By push, because the client library takes 4 MB at most where PUBSUB_EMULATOR_HOST is set.
    topic = side.topic()
    side.subscription(topic, push_config={"push_endpoint": endpoint.url})
    side.publish(topic, b"x" * 9_900_000)
    [request] = eventually(lambda: endpoint.requests)
    assert len(request.data) == 9_900_000


def test_a_pull_brings_no_more_than_the_client_takes(side: Side) -> None:
    side.skip_on_sdk("it answers with more than 4 MB, which the client library refuses there")
    topic = side.topic()
    name = side.subscription(topic)
    sent = {side.publish(topic, b"x" * 1_500_000) for _ in range(4)}
    found = [*side.pull(name), *side.pull(name)]
    assert {received.message.message_id for received in found} == sent


def test_every_subscription_gets_every_message_under_one_id(side: Side) -> None:
    topic = side.topic()
    names = [side.subscription(topic) for _ in range(3)]
    sent = {side.publish(topic, b"one"), side.publish(topic, b"two")}
    for name in names:
        found = {received.message.message_id: received for received in (side.pull_one(name), side.pull_one(name))}
        assert set(found) == sent


# Pulling


def test_what_is_acknowledged_does_not_come_again(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic)
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


def test_a_delivery_that_nobody_acknowledges_comes_again_after_its_deadline(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic, ack_deadline_seconds=600)
    sent = side.publish(topic)
    side.extend(name, 1, side.pull_one(name))
    assert side.pull(name) == []
    assert side.pull_one(name).message.message_id == sent


def test_the_deadline_of_a_delivery_can_be_extended(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic)
    side.publish(topic, b"first")
    side.publish(topic, b"second")
    first, second = side.pull_one(name), side.pull_one(name)
    side.extend(name, 1, first, second)
    side.extend(name, 60, first)
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
        target=lambda: answers.append(side.subscriber.pull(subscription=name, max_messages=1, timeout=30))
    )
    waiting.start()
    side.publish(topic, b"awaited")
    waiting.join(30)
    found = answers[0].received_messages or [side.pull_one(name)]
    assert found[0].message.data == b"awaited"


def test_waiting_pulls_share_the_messages(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic)
    sent = {side.publish(topic) for _ in range(20)}
    found = list(itertools.chain(*(side.pull(name, 7) for _ in range(6))))
    found += eventually(lambda: len(found) == 20 or side.pull(name)) if len(found) < 20 else []
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
    eventually(lambda: len(found) >= 100)
    stream.cancel()
    stream.result(20)
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
        eventually(partial(_at_least, found, wanted))
        stream.cancel()
        stream.result(20)
    assert found == sent


def test_a_stream_from_what_is_not_there_ends_with_the_reason(side: Side) -> None:
    stream = side.subscriber.subscribe(side.name("subscriptions"), lambda _message: None)
    with pytest.raises(exceptions.NotFound):
        stream.result(20)


# Filters


def test_a_filter_lets_through_what_it_describes_alone(side: Side) -> None:
    side.skip_on_sdk("it stores filters and ignores them")
    topic = side.topic()
    name = side.subscription(topic, filter='attributes.kind = "gke" AND NOT hasPrefix(attributes.place, "us-")')
    side.publish(topic, b"1", kind="gke", place="us-east1")
    side.publish(topic, b"2", kind="attached", place="europe-west1")
    side.publish(topic, b"3", kind="gke", place="europe-west1")
    side.publish(topic, b"4")
    assert [received.message.data for received in side.pull(name)] == [b"3"]


# Pushing


def test_a_push_is_wrapped_as_google_wraps_it(side: Side, endpoint: Endpoint) -> None:
    topic = side.topic()
    name = side.subscription(topic, push_config={"push_endpoint": endpoint.url})
    sent = side.publish(topic, b'{"cluster": "x"}', cause="test")
    [request] = eventually(lambda: endpoint.requests)
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
    [pushed] = eventually(lambda: endpoint.requests)
    assert pushed.body["message"]["orderingKey"] == "one"


def test_these_answers_acknowledge(side: Side, endpoint: Endpoint) -> None:
    # The SDK's emulator takes 202 for a refusal, unlike what Google's page on push subscriptions says.
    statuses = [102, 200, 201, 202, 204] if side.kind == EMBEDDED else [102, 200, 201, 204]
    endpoints = {status: Endpoint(partial(_always, status)) for status in statuses}
    endpoint.answer = partial(_always, 500)
    topic = side.topic()
    for one in (*endpoints.values(), endpoint):
        side.subscription(topic, push_config={"push_endpoint": one.url})
    side.publish(topic)
    # The endpoint that refuses is the clock: by its third push, every other one that had not acknowledged has had its second.
    eventually(lambda: len(endpoint.requests) >= 3)
    assert {status: len(one.requests) for status, one in endpoints.items()} == dict.fromkeys(statuses, 1)
    for one in endpoints.values():
        one.close()


def _always(status: int, _requests: list[Request]) -> int:
    return status


@pytest.mark.parametrize("status", [203, 205, 302, 400, 404, 429, 500, 503])
def test_these_answers_refuse(side: Side, endpoint: Endpoint, status: int) -> None:
    if status == 203:
        side.skip_on_sdk("it takes 203 for an acknowledgement")
    endpoint.answer = lambda requests: status if len(requests) == 1 else 200
    topic = side.topic()
    side.subscription(topic, push_config={"push_endpoint": endpoint.url})
    sent = side.publish(topic)
    eventually(lambda: len(endpoint.requests) == 2)
    assert {request.body["message"]["messageId"] for request in endpoint.requests} == {sent}


def test_a_push_tells_who_sends_it(side: Side, endpoint: Endpoint) -> None:
    side.skip_on_sdk("it sends no token")
    topic = side.topic()
    for audience in ("", "https://function.example"):
        token = {"service_account_email": ACCOUNT, "audience": audience}
        side.subscription(topic, push_config={"push_endpoint": endpoint.url, "oidc_token": token})
    side.publish(topic)
    eventually(lambda: len(endpoint.requests) == 2)
    assert {request.headers["authorization"] for request in endpoint.requests} == {
        f"Bearer token.of.{ACCOUNT}.for.{endpoint.url}",
        f"Bearer token.of.{ACCOUNT}.for.https://function.example",
    }


def test_pushes_back_off_from_the_minimum_to_the_maximum(side: Side, endpoint: Endpoint) -> None:
    endpoint.answer = lambda requests: 500 if len(requests) < 4 else 200
    topic = side.topic()
    policy = {"minimum_backoff": {"seconds": 1}, "maximum_backoff": {"seconds": 2}}
    side.subscription(topic, push_config={"push_endpoint": endpoint.url}, retry_policy=policy)
    side.publish(topic)
    eventually(lambda: len(endpoint.requests) == 4)
    times = [request.at for request in endpoint.requests]
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert min(waits) > 0.9
    assert waits[1] > waits[0] * 1.2
    assert waits[2] < waits[1] * 1.7


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
    eventually(lambda: len(endpoint.requests) == 10)
    over.set()
    eventually(lambda: len(slow.requests) == 10)
    slow.close()


def test_pushes_of_one_subscription_run_side_by_side_up_to_its_limit(side: Side, endpoint: Endpoint) -> None:
    side.skip_on_sdk("it pushes two at a time and has no setting")
    assert side.broker is not None
    together = threading.Barrier(4)

    def meet(_requests: list[Request]) -> int:
        together.wait(20)
        return 200

    endpoint.answer = meet
    topic = side.topic()
    name = side.name("subscriptions")
    asked = Subscription(name, topic, push=PushConfig(endpoint.url), push_concurrency=4)
    side.loop.call(side.broker.create_subscription, asked)
    for _ in range(12):
        side.publish(topic)
    eventually(lambda: side.broker is not None and side.broker.snapshot()[name]["acknowledged"] == 12)
    assert endpoint.most_at_once == 4


def test_without_its_endpoint_a_step_is_paused_and_loses_nothing(side: Side, endpoint: Endpoint) -> None:
    topic = side.topic()
    name = side.subscription(topic, push_config={"push_endpoint": endpoint.url})
    side.subscriber.modify_push_config(subscription=name, push_config={})
    sent = side.publish(topic)
    side.refuse(name, side.pull_one(name))
    assert endpoint.requests == []
    side.subscriber.modify_push_config(subscription=name, push_config={"push_endpoint": endpoint.url})
    [request] = eventually(lambda: endpoint.requests)
    assert request.body["message"]["messageId"] == sent


def test_an_endpoint_that_is_down_gets_its_messages_when_it_is_back(side: Side, endpoint: Endpoint) -> None:
    endpoint.close()
    topic = side.topic()
    name = side.subscription(topic, push_config={"push_endpoint": endpoint.url})
    sent = side.publish(topic)
    back = Endpoint()
    side.subscriber.modify_push_config(subscription=name, push_config={"push_endpoint": back.url})
    eventually(lambda: back.requests)
    assert {request.body["message"]["messageId"] for request in back.requests} == {sent}
    back.close()


# Dead letters


def test_a_push_that_fails_too_often_becomes_a_dead_letter(side: Side, endpoint: Endpoint) -> None:
    endpoint.answer = partial(_always, 500)
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
    eventually(lambda: len(endpoint.requests) == 3)
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
    letter = eventually(lambda: side.pull(kept) or side.pull(name))[0].message
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


# Together


def test_a_burst_is_delivered_whole(side: Side, endpoint: Endpoint) -> None:
    topics = [side.topic() for _ in range(7)]
    for topic in topics:
        side.subscription(topic, push_config={"push_endpoint": endpoint.url}, ack_deadline_seconds=60)
    count = 100 if side.kind == EMBEDDED else 20
    sent = [side.publisher.publish(topic, b"{}") for topic in topics for _ in range(count)]
    wanted = sorted(future.result(20) for future in sent)
    eventually(lambda: len(endpoint.requests) >= len(wanted))
    assert sorted(request.body["message"]["messageId"] for request in endpoint.requests) == wanted


def test_a_push_that_is_answered_too_late_comes_again(side: Side, slow: tuple[Endpoint, threading.Event]) -> None:
    endpoint, over = slow
    eventually(lambda: len(endpoint.requests) == 2)
    over.set()
    first, second = endpoint.requests
    assert first.body["message"]["messageId"] == second.body["message"]["messageId"]
    assert second.at - first.at > 9.5


def test_the_figures_tell_what_is_waiting_and_what_was_done(loop: BackgroundLoop) -> None:
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
        await asyncio.to_thread(eventually, lambda: endpoint.requests)
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
    [request] = eventually(lambda: endpoint.requests)
    assert request.body["message"]["messageId"] == sent
    assert side.subscriber.get_subscription(subscription=name).retry_policy.minimum_backoff.microseconds == 500_000


@pytest.mark.parametrize(("there", "missing"), [([], "gcloud"), (["gcloud"], "java"), (["gcloud", "java"], "emulator")])
def test_what_the_emulator_lacks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], missing: str
) -> None:
    for program in there:
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(sdk.UnavailableError, match=missing):
        sdk.command(8085)
