"""A delivery in progress, and the CloudEvent of a push."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.decisions import events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.values.messages import Message
    from shared.values.model import Cluster, Membership
    from shared.values.names import ClusterName, MembershipName
    from shared.values.settings import Settings
    from tests.simulation.noise import Noise


@dataclass(slots=True)
class Context:
    """One delivery that is being worked on, and the answers that it has had: the ledger judges its writes by that."""

    topic: str
    message: Message
    attempt: int
    started: float
    settings: Settings
    body: Mapping[str, Any]
    clusters: dict[ClusterName, Cluster | None] = field(default_factory=dict)
    memberships: dict[MembershipName, Membership | None] = field(default_factory=dict)
    last_call: str = ""
    last_read: float = 0.0
    noise: Noise | None = None
    stale: float = 0.0
    denied: bool = False
    overdue: bool = False
    most_secrets: int = 0
    blocked: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)


class Event:
    """A CloudEvent, as far as the functions look at one."""

    def __init__(self, data: Any, attributes: dict[str, str]) -> None:
        self.data = data
        self._attributes = attributes

    def __getitem__(self, key: str) -> str:
        return self._attributes[key]

    def get_attributes(self) -> dict[str, str]:
        """The attributes."""
        return self._attributes


def body_of(data: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(data)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def push_event(message: Message) -> Event:
    """What the framework makes of a push."""
    inside = {
        "data": base64.b64encode(message.data).decode(),
        "attributes": dict(message.attributes),
        "messageId": message.id,
        "publishTime": message.published.isoformat() if message.published else None,
    }
    return Event({"message": inside}, {"type": events.PUBSUB, "id": message.id, "source": "//pubsub.googleapis.com/"})
