"""The example's function, run by functions-framework, posts events to a local HTTP server."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from functions_framework import create_app

from shared.values.cluster_event import EventType
from shared.values.messages import Message
from shared.values.names import ClusterName
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from flask.testing import FlaskClient

FUNCTION = Path(__file__).parents[2] / "infra/terraform/modules/chat-webhook/function"
BLUE = ClusterName("demo-apps", "europe-west1", "blue")


class Chat:
    """A webhook, and what was posted to it."""

    def __init__(self) -> None:
        self.posted: list[Any] = []
        self.status = 200
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                chat.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(chat.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?key=the-secret-key"


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    found = Chat()
    monkeypatch.setenv("WEBHOOK_URL", found.url)
    monkeypatch.setenv("EVENTS", "failed,limited,offboarded,onboarded")
    thread = Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture(scope="module")
def function() -> FlaskClient:
    app: Flask = create_app("post", str(FUNCTION / "main.py"), "cloudevent")  # type: ignore[no-untyped-call]
    return app.test_client()


def deliver(function: FlaskClient, message: Message) -> int:
    """Deliver as Eventarc does; return the HTTP status."""
    headers = {"ce-id": "1", "ce-source": "//pubsub", "ce-specversion": "1.0"}
    headers["ce-type"] = "google.cloud.pubsub.topic.v1.messagePublished"
    body = {"message": {"attributes": dict(message.attributes), "data": base64.b64encode(message.data).decode()}}
    return function.post("/", json=body, headers=headers).status_code


def event(kind: str, subject: str = str(BLUE), **data: Any) -> Message:
    return Message(json.dumps(data).encode(), {"ce-type": kind, "ce-subject": subject})


def test_the_events_of_a_life_are_posted_one_line_each(chat: Chat, function: FlaskClient) -> None:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)}, {"since": world.now.isoformat()})
    world.settle()
    world.delete(BLUE)
    world.publish("remove-secret", {"cluster": str(BLUE)})
    world.sweep()
    for message in world.events:
        assert deliver(function, message) == 200
    lines = [posted["text"] for posted in chat.posted]
    assert [line.split(" ")[:2] for line in lines] == [["blue", "onboarded"], ["blue", "offboarded:"]]
    assert re.match(r"blue onboarded \(\d+ s\): created the Secret", lines[0])


def test_a_limit_says_how_many_clusters(chat: Chat, function: FlaskClient) -> None:
    assert deliver(function, event(EventType.LIMITED, "", limit="leaving", clusters=13, allowed=3)) == 200
    assert chat.posted[0]["text"].startswith("sweep limited: 13 clusters")


def test_names_and_reasons_cannot_format_or_mention(chat: Chat, function: FlaskClient) -> None:
    hostile = "<!channel> @all *bold* `x` \x1b[2J\n\N{RIGHT-TO-LEFT OVERRIDE} <https://evil.example|ok>"
    assert deliver(function, event(EventType.FAILED, f"projects/p/{hostile}", reason=hostile * 100)) == 200
    line = chat.posted[0]["text"]
    assert line.isprintable()
    assert not set("<>@`*") & set(line)
    assert len(line) <= 1000


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the packages log."""
    found = io.StringIO()
    handler = logging.StreamHandler(found)
    logging.getLogger().addHandler(handler)
    yield found
    logging.getLogger().removeHandler(handler)


def test_an_event_that_the_webhook_refuses_is_redelivered(
    chat: Chat, function: FlaskClient, logged: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    chat.status = 503
    refused = event(EventType.FAILED, reason="x")
    assert deliver(function, refused) == 500
    assert "Traceback" in logged.getvalue()
    assert "the-secret-key" not in logged.getvalue() + "".join(capfd.readouterr())
    chat.status = 200
    assert deliver(function, refused) == 200
