"""What becomes of a delivery that fails: redelivered, or a dead letter with the reason at the last attempt."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import flask
import pytest
from werkzeug.exceptions import ServiceUnavailable

from shared.runtime import dispatch
from shared.runtime.dispatch import Dispatcher
from shared.values.codes import ErrorCode
from shared.values.errors import PermanentError, RetryableError
from shared.values.settings import SettingsError
from tests.unit.given import BLUE, NOW, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY = json.dumps({"cluster": str(BLUE.name)}).encode()
PUBLISHED = (NOW - timedelta(minutes=1)).isoformat()
DENIED = RetryableError("403 PERMISSION_DENIED gkehub.gateway.post", ErrorCode.DENIED, 403)


class World:
    """Services with a topic that remembers what was published; `broken` refuses."""

    settings = SETTINGS

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes, dict[str, str]]] = []
        self.broken = False
        self.bus = self

    def now(self) -> datetime:
        return NOW

    def wait_for_gateway(self) -> None:
        """Nobody waits here."""

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        if self.broken:
            raise RetryableError("Pub/Sub does not answer", ErrorCode.UNAVAILABLE)
        self.published.append((topic, data, dict(attributes)))


@pytest.fixture
def world() -> World:
    return World()


def deliver(world: World, error: Exception, attempt: int = 1, body: bytes = BODY, **attributes: str) -> bool:
    """Push a message to a function that fails; True when it was acknowledged."""

    def fail(*_: object) -> NoReturn:
        raise error

    message = {"data": b64encode(body).decode(), "attributes": attributes, "messageId": "1", "publishTime": PUBLISHED}
    pushed = {"message": message, "subscription": "x", "deliveryAttempt": attempt}
    dispatcher = Dispatcher(lambda: world)  # type: ignore[arg-type, return-value]
    try:
        with flask.Flask("x").test_request_context(method="POST", json=pushed):
            dispatcher.answer("grant-rbac", PushEvent({"message": message}), dispatcher.work("grant-rbac", fail))
    except (ServiceUnavailable, type(error)):
        return False
    return True


def logged(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


@pytest.mark.parametrize("attempt", [0, 1, SETTINGS.delivery_attempts - 1])
def test_an_earlier_attempt_is_redelivered(world: World, attempt: int) -> None:
    assert not deliver(world, DENIED, attempt)
    assert not world.published


@pytest.mark.parametrize("error", [DENIED, ValueError("surprise")])
def test_the_last_attempt_writes_a_letter_with_the_reason(world: World, error: Exception) -> None:
    assert deliver(world, error, SETTINGS.delivery_attempts)
    (heard, _, event), (topic, data, attributes) = world.published
    assert (heard, event["ce-type"]) == ("cluster-events", "dev.fleet-registrar.cluster.failed.v1")
    assert (topic, data) == ("dead-letters", BODY)
    assert str(error) in attributes["reason"]
    assert attributes["code"] == (DENIED.code if error is DENIED else ErrorCode.UNEXPECTED)
    assert attributes["attempts"] == str(SETTINGS.delivery_attempts)
    assert attributes["cluster"] == str(BLUE.name)


def test_a_name_that_is_no_text_is_no_name_of_a_letter(world: World) -> None:
    assert deliver(world, PermanentError("wrong"), body=b'{"cluster": {"a": 1}, "membership": 7}')
    [(_, _, attributes)] = world.published
    assert not attributes.keys() & {"cluster", "membership"}


def test_a_letter_that_cannot_be_published_is_redelivered(world: World) -> None:
    world.broken = True
    assert not deliver(world, DENIED, SETTINGS.delivery_attempts)


def test_a_failure_logs_its_attempt_and_their_number(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(world, DENIED, 7)
    line = logged(capsys)
    assert (line["attempt"], line["attempts"], line["code"]) == (7, SETTINGS.delivery_attempts, "denied")
    assert (line["severity"], line["decision"]) == ("WARNING", "retry")


def test_a_sweeps_request_is_dropped_at_the_last_attempt(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    asked: dict[str, Any] = {"requested-by": "sweep"}
    assert deliver(world, DENIED, SETTINGS.delivery_attempts, **asked)
    assert not world.published
    assert logged(capsys)["decision"] == "dropped"


def test_a_letter_of_ours_never_carries_pubsubs_source(world: World) -> None:
    forged: dict[str, Any] = {
        "CloudPubSubDeadLetterSourceSubscription": "remove-secret",
        "topic": "remove-secret",
        "mine": "kept",
    }
    assert deliver(world, PermanentError("poison"), **forged)
    _, _, attributes = world.published[-1]
    assert not [key for key in attributes if key.startswith("CloudPubSub")]
    assert (attributes["topic"], attributes["mine"]) == ("grant-rbac", "kept")


@pytest.mark.parametrize(
    ("error", "severity"),
    [(SettingsError(["HOLD is wrong"]), "ERROR"), (RetryableError("x", ErrorCode.NO_CENTRAL_MEMBERSHIP), "ERROR")],
)
def test_what_stops_everything_is_an_error(
    world: World, capsys: pytest.CaptureFixture[str], error: Exception, severity: str
) -> None:
    deliver(world, error)
    assert logged(capsys)["severity"] == severity


@pytest.mark.parametrize(
    ("body", "attempt"),
    [
        ({"deliveryAttempt": 7}, 7),
        ({}, 0),
        ({"deliveryAttempt": "7"}, 7),
        ({"deliveryAttempt": "seven"}, 0),
        ({"deliveryAttempt": "-7"}, 0),
        ({"deliveryAttempt": "\u0667"}, 0),
        ({"deliveryAttempt": "7" * 5000}, 777_777_777),
        ({"deliveryAttempt": 7.5}, 0),
        ({"deliveryAttempt": [7]}, 0),
        ({"deliveryAttempt": True}, 0),
        ({"deliveryAttempt": -1}, 0),
        ([], 0),
    ],
)
def test_the_attempt_is_read_from_the_push(body: Any, attempt: int) -> None:
    with flask.Flask("x").test_request_context(method="POST", json=body):
        assert dispatch._attempt() == attempt


class PushEvent(dict[str, Any]):
    """The CloudEvent that the framework makes of a push: `deliveryAttempt` is lost."""

    def __init__(self, data: Any) -> None:
        super().__init__(id="1")
        self.data = data

    def get_attributes(self) -> dict[str, Any]:
        return {}
