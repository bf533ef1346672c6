"""From a CloudEvent to a message, and from a message to a dead letter: nothing is lost, nothing is made up."""

from __future__ import annotations

import base64
import dataclasses
import gc
import importlib.util
import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import google.auth
import pytest

from shared.decisions import events
from shared.decisions.outcomes import access_denied
from shared.runtime import dispatch, logs
from shared.runtime.delivery import decode
from shared.runtime.lazy_imports import COLLECT_AFTER, Lighter, lighten
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import PermanentError, RefusedError
from shared.values.messages import Message, StepRequest
from shared.values.model import Membership
from shared.values.names import MembershipName
from tests.unit.given import BLUE, EDGE, NOW, SETTINGS, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

BODY = json.dumps({"cluster": str(BLUE.name)}).encode()
ERROR = PermanentError("poison", ErrorCode.INVALID_MESSAGE)


@dataclass
class Pushed:
    """A CloudEvent as functions-framework gives it."""

    data: Any
    attributes: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return {"id": "e1", **self.attributes}[name]

    def get_attributes(self) -> Mapping[str, Any]:
        return self.attributes


def message(**fields: Any) -> Message:
    given = {"data": base64.b64encode(BODY).decode(), "messageId": "m1", "publishTime": NOW.isoformat()}
    return decode(Pushed({"message": {**given, **fields}}, {"type": events.PUBSUB}))


def test_a_push_is_its_message() -> None:
    found = message(attributes={"cause": "x", "odd": 7})
    assert found == Message(BODY, {"cause": "x", "odd": "7"}, "m1", NOW)


@pytest.mark.parametrize("attributes", [None, "x", 7, ["a"]])
def test_attributes_that_are_no_map_are_none(attributes: Any) -> None:
    assert message(attributes=attributes).attributes == {}


@pytest.mark.parametrize("data", [None, 7, ["a"], {"cluster": "x"}, ""])
def test_data_that_is_no_text_is_empty(data: Any) -> None:
    assert message(data=data).data == b""


@pytest.mark.parametrize("data", ["ä", "a", "@@@@", '{"cluster": "blue"}', "YQ==YQ==YQ", "YQ!="])
def test_data_that_is_not_base64_is_kept_as_it_came(data: str) -> None:
    """So that its dead letter shows it."""
    assert message(data=data).data == data.encode()


@pytest.mark.parametrize("data", ["fn5-Pz8_", "fn5+Pz8/", "fn5+\nPz8/\n", "fn5+Pz8"])
def test_base64_of_every_form_of_proto_json_is_decoded(data: str) -> None:
    assert message(data=data).data == base64.b64decode("fn5+Pz8/")[: 6 if len(data) > 7 else 5]


def test_a_message_without_pubsubs_envelope_is_kept() -> None:
    """As with payload unwrapping: it must not end as an empty letter."""
    assert json.loads(decode(Pushed({"cluster": "blue"}, {"type": events.PUBSUB})).data) == {"cluster": "blue"}


@pytest.mark.parametrize(
    ("time", "published"),
    [
        ("2026-11-24T12:00:00Z", NOW),
        ("2026-11-24T13:00:00+01:00", NOW),
        ("2026-11-24T12:00:00", NOW),
        ("yesterday", None),
        (None, None),
        (7, None),
    ],
)
def test_a_publish_time_without_a_zone_is_in_utc(time: Any, published: datetime | None) -> None:
    assert message(publishTime=time).published == published


@pytest.mark.parametrize("kind", [{"type": events.PUBSUB}, {}])
def test_a_push_without_a_message_keeps_its_bytes(kind: dict[str, str]) -> None:
    """So that it can be dead-lettered as it came."""
    for data, kept in ((b"raw", b"raw"), ({"message": "x"}, b""), ("x", b""), ({}, b"")):
        assert decode(Pushed(data, kind)) == Message(kept, {}, "e1")


@pytest.mark.parametrize(("data", "kept"), [(b"\xff", b"\xff"), ({"a": 1}, b'{"a": 1}'), (None, b"null")])
def test_another_event_is_kept_with_its_attributes(data: Any, kept: bytes) -> None:
    attributes = {"type": events.AUDIT, "id": "e1", "subject": "s" * 300, "time": "", "dataschema": "x"}
    found = decode(Pushed(data, attributes))
    assert (found.data, found.kind, found.id) == (kept, events.AUDIT, "e1")
    assert found.attributes == {"type": events.AUDIT, "id": "e1", "subject": "s" * 200, "traceparent": ""}


class Topics:
    """Remembers what was published."""

    settings = SETTINGS

    def __init__(self) -> None:
        self.bus = self
        self.published: list[tuple[str, bytes, dict[str, str]]] = []

    def now(self) -> datetime:
        return NOW

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        self.published.append((topic, data, dict(attributes)))


def letter(name: str, given: Message) -> tuple[str, bytes, dict[str, str]]:
    topics = Topics()
    dispatch.dead_letter(name, given, ERROR, topics)  # type: ignore[arg-type]
    return topics.published[-1]


@pytest.mark.parametrize(
    ("name", "kind", "topic"),
    [
        ("write-secret", "", "write-secret"),
        ("sweep", "", "sweep"),
        ("route-event", "", "audit-log-entries"),
        ("route-event", events.AUDIT, "audit-log-entries"),
        ("route-event", f"{events.MEMBERSHIP}created", None),
    ],
)
def test_a_letter_names_the_topic_that_a_replay_goes_to(name: str, kind: str, topic: str | None) -> None:
    """docs/architecture.md#messages. No topic carries membership events."""
    sent, data, attributes = letter(name, Message(BODY, {}, kind=kind))
    assert (sent, data) == ("dead-letters", BODY)
    assert attributes.get("topic") == topic
    assert attributes.items() >= {"step": name, "code": "invalid_message", "reason": "poison"}.items()


def test_a_letter_says_nothing_that_is_not_known() -> None:
    _, _, attributes = letter("write-secret", Message(b"no JSON", {}))
    assert set(attributes) == {"topic", "step", "code", "reason"}
    _, _, attributes = letter("write-secret", Message(BODY, {}, attempt=3))
    assert (attributes["attempts"], attributes["cluster"]) == ("3", str(BLUE.name))


@pytest.mark.parametrize("number", [80, 100, 120])
def test_a_letter_has_100_attributes_at_most_and_its_own_first(number: int) -> None:
    carried = {f"k{index:03}": "x" for index in range(number)} | {"googclient": "x", "reason": "forged"}
    _, _, attributes = letter("write-secret", Message(BODY, carried))
    assert len(attributes) == min(100, number + 5)
    assert (attributes["reason"], "googclient" in attributes) == ("poison", False)


def test_a_sweeps_request_leaves_no_letter() -> None:
    topics = Topics()
    dispatch.dead_letter("write-secret", Message(BODY, {"requested-by": "sweep"}), ERROR, topics)  # type: ignore[arg-type]
    assert topics.published == []


def test_a_failed_cluster_is_heard_of_before_its_letter() -> None:
    topics = Topics()
    dispatch.dead_letter("write-secret", Message(BODY, {}), ERROR, topics)  # type: ignore[arg-type]
    assert [topic for topic, _, _ in topics.published] == ["cluster-events", "dead-letters"]


def test_the_attempt_is_unknown_without_a_request() -> None:
    assert dispatch._attempt() == 0


def test_a_line_has_only_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    for status in (503, 0):
        error = PermanentError("x", ErrorCode.UNAVAILABLE, status)
        labels = {"cause": "", "cluster": "c"}
        logs.failure("ERROR", "sweep", error, decision=Decision.RETRY, trace="odd", labels=labels)
        line = json.loads(capsys.readouterr().out)
        assert line.get("status") == (status or None)
        assert line["logging.googleapis.com/labels"] == {"step": "sweep", "cluster": "c"}
        assert "logging.googleapis.com/trace" not in line


def test_labels_name_what_a_request_names() -> None:
    assert logs.names(None) == {}
    assert logs.names(StepRequest(BLUE.name)) == {"cluster": str(BLUE.name)}
    assert logs.names(StepRequest(membership=EDGE.name)) == {"membership": str(EDGE.name)}


# Imports of a function's process (docs/decisions/0007).


@pytest.fixture
def meta_path() -> Iterator[None]:
    before, threshold = [*sys.meta_path], gc.get_threshold()
    yield
    sys.meta_path[:] = before
    gc.set_threshold(*threshold)


def test_a_finder_makes_modules_lazy_absent_or_leaves_them_alone() -> None:
    found = Lighter.find_spec("google.auth.jwt", google.auth.__path__)
    assert found is not None
    assert isinstance(found.loader, importlib.util.LazyLoader)
    assert Lighter.find_spec("json") is None
    assert Lighter.find_spec("yaml", []) is None
    with pytest.raises(ModuleNotFoundError) as raised:
        Lighter.find_spec("aiohttp")
    assert raised.value.name == "aiohttp"


def test_lighten_is_asked_first_and_once(meta_path: None) -> None:
    for _ in range(2):
        lighten()
    assert sys.meta_path[0] is Lighter
    assert sys.meta_path.count(Lighter) == 1
    assert gc.get_threshold()[0] == COLLECT_AFTER


def test_the_reason_of_a_letter_has_1000_bytes_at_most() -> None:
    topics = Topics()
    dispatch.dead_letter("sweep", Message(BODY, {}), PermanentError("ä" * 900), topics)  # type: ignore[arg-type]
    assert topics.published[-1][2]["reason"] == "ä" * 500


LONG = {
    "FLEET_PROJECT": "f" * 30,
    "CENTRAL_MEMBERSHIP": f"projects/{'f' * 30}/locations/northamerica-northeast1/memberships/{'m' * 63}",
    "ARGOCD_SERVICE_ACCOUNT": f"{'a' * 30}@{'f' * 30}.iam.gserviceaccount.com",
}


@pytest.mark.parametrize("cause", ["x" * 10, "x" * 400, "ä" * 400, "\U0001f389" * 400, "\ud800" * 400])
@pytest.mark.parametrize("project", ["f" * 30, "department.example.com:" + "f" * 30])
def test_the_command_of_a_letter_is_whole_with_the_longest_names(cause: str, project: str) -> None:
    member = Membership(MembershipName(project, "northamerica-northeast1", "e" * 63), "u", "READY")
    configured = dataclasses.replace(settings(**LONG), fleet_project=project, pubsub_project=project)
    error = access_denied(member, configured, RefusedError(f"reading x: {cause}"))
    topics = Topics()
    dispatch.dead_letter("grant-rbac", Message(BODY, {}), error, topics)  # type: ignore[arg-type]
    reason = topics.published[-1][2]["reason"]
    assert len(reason.encode()) <= 1000
    assert reason.splitlines()[1:] == str(error).splitlines()[1:]
    assert reason.startswith("attached cluster ")


def test_a_command_that_is_too_long_itself_is_cut() -> None:
    for text in ("text:\n" + "c" * 2000, "t" * 2000, "\n" + "c" * 999):
        topics = Topics()
        dispatch.dead_letter("sweep", Message(BODY, {}), PermanentError(text), topics)  # type: ignore[arg-type]
        assert topics.published[-1][2]["reason"] == text[:1000]
