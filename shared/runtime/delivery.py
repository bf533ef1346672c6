"""Decodes a CloudEvent into the message that a function works on."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from shared.decisions import events
from shared.values.messages import Message
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Mapping


# https://protobuf.dev/programming-guides/json/: standard or URL-safe, with or without padding.
_URL_SAFE = str.maketrans("-_", "+/")


class Event(Protocol):
    """A CloudEvent, as far as it is read here."""

    @property
    def data(self) -> Any:
        """The payload: parsed JSON, or bytes."""

    def __getitem__(self, name: str, /) -> Any: ...

    def get_attributes(self) -> Mapping[str, Any]:
        """Return the attributes of the CloudEvent by name."""


def decode(event: Event) -> Message:
    """Return the message in an event: Pub/Sub's own, or the event itself, so that it can be dead-lettered.

    Raises nothing: missing parts are empty, and the parser of the body reports them.
    """
    attributes = event.get_attributes()
    kind = str(attributes.get("type", events.PUBSUB))
    if kind == events.PUBSUB:
        return _pushed(event)
    # A membership event without a readable body is an event all the same.
    data = event.data if isinstance(event.data, bytes) else json.dumps(event.data).encode()
    names = ("id", "source", "subject", "type", "membership", "location", "time")
    kept = {name: str(attributes[name])[:200] for name in names if attributes.get(name)}
    kept["traceparent"] = str(attributes.get("traceparent", ""))
    return Message(data, kept, str(event["id"]), kind=kind)


def _pushed(event: Event) -> Message:
    """Return the Pub/Sub message of a push, raw or through Eventarc."""
    data = event.data if isinstance(event.data, dict) else {}
    message = data.get("message")
    if not isinstance(message, dict):
        return Message(_unwrapped(event.data), {}, str(event["id"]))
    given = message.get("attributes")
    attributes = {str(key): str(value) for key, value in given.items()} if isinstance(given, dict) else {}
    return Message(_bytes(message.get("data")), attributes, str(message.get("messageId", event["id"])), _time(message))


def _unwrapped(data: object) -> bytes:
    """Return what came without Pub/Sub's envelope, as it is with payload unwrapping."""
    if isinstance(data, dict):
        return json.dumps(data).encode() if data and "message" not in data else b""
    return data if isinstance(data, bytes) else b""


def _bytes(data: object) -> bytes:
    """Decode base64 in any form of proto JSON. Other text stays as it is, so that its dead letter shows it."""
    if not isinstance(data, str):
        return b""
    text = "".join(data.split()).translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:  # binascii.Error, or letters outside ASCII
        return data.encode(errors="replace")


def _time(message: Object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(message.get("publishTime")))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
