"""One implementation of Pub/Sub as the official clients reach it, and a push endpoint."""

from __future__ import annotations

import base64
import itertools
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.google.pubsub import sdk
    from local.google.pubsub.broker import Broker
    from tests.contract.background import BackgroundLoop


ACCOUNT = "pusher@demo.iam.gserviceaccount.com"
EMBEDDED, SDK = "embedded", "sdk-emulator"


@dataclass
class Request:
    """What an endpoint was sent, when it came, and when it was answered (monotonic)."""

    at: float
    headers: dict[str, str]
    body: dict[str, Any]
    answered: float = 0.0

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
                request.answered = time.monotonic()
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
        return str(self.publisher.publish(topic, data, **attributes).result(PATIENCE))

    def pull(self, subscription: str, count: int = 10) -> list[Any]:
        answer = self.subscriber.pull(subscription=subscription, max_messages=count, return_immediately=True)
        return list(answer.received_messages)

    def pull_one(self, subscription: str) -> Any:
        return until(lambda: self.pull(subscription, 1))[0]

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


def always(status: int, _requests: list[Request]) -> int:
    return status
