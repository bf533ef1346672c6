"""Dead letters as values: their fields, their groups, and the message of a replay.

Pure. Two kinds: ours carry a `reason` (shared.runtime.dispatch), Pub/Sub's own carry CloudPubSubDeadLetterSource… attributes: the
push was refused before our code ran, or has used up its attempts
(https://cloud.google.com/pubsub/docs/handling-failures#how_dead_letter_topics_work).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ops.terminal import printable
from shared.values import messages
from shared.values.codes import ErrorCode
from shared.values.errors import PermanentError
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime


# Every topic that a function answers; the subscription that pushes from it has the topic's name.
REPLAYABLE: Final = frozenset({*messages.STEPS, "sweep", messages.AUDIT_LOG_ENTRIES})
_OURS: Final = frozenset({"topic", "step", "code", "reason", "attempts", "cluster", "membership"})
# A person requests a replay: it may reverse, and if it fails again it becomes a dead letter again.
_LEFT_OUT: Final = _OURS | {"reversed", "requested-by"}
_SOURCE: Final = "CloudPubSubDeadLetterSource"
# Keys that let a step do more, or release a plan: an operator must confirm them.
CONTROL_KEYS: Final = ("leave", "drop_labels", "granted", "secret_uid", "previous", "release")
SHOWN_BYTES: Final = 2000  # of a body that is not JSON
# Letters are grouped by their reason without the beginning of the body.
_BEGINNING: Final = re.compile(r"[;:] it begins with.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message of the subscription `dead-letters`, with its attributes read."""

    message_id: str
    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    published: datetime | None = None

    @property
    def id(self) -> str:
        """A short ID for people; it does not change."""
        return hashlib.sha256(self.message_id.encode()).hexdigest()[:8]

    @property
    def is_managed(self) -> bool:
        """Whether one of our steps wrote it. A step removes Pub/Sub's attributes, so they prove a letter of Pub/Sub's."""
        pubsubs = any(key.startswith("CloudPubSub") for key in self.attributes)
        return bool(self.attributes.get("reason") and self.attributes.get("step")) and not pubsubs

    @property
    def topic(self) -> str:
        """The topic of the step that wrote it, or of Pub/Sub's subscription; '' when a replay could go to none.

        No other attribute decides: a publisher to one topic chooses the attributes of a message there.
        """
        source = self.attributes.get("step" if self.is_managed else f"{_SOURCE}Subscription", "")
        if self.is_managed and source == "route-event":  # it answers Eventarc, too, and that is no topic of ours
            source = self.attributes.get("topic", "")
            return source if source == messages.AUDIT_LOG_ENTRIES else ""
        return source if source in REPLAYABLE else ""

    @property
    def step(self) -> str:
        """The step that gave up, or that could not be reached."""
        if self.is_managed:
            return self.attributes["step"]
        source = self.attributes.get(f"{_SOURCE}Subscription", "")
        return "route-event" if source == messages.AUDIT_LOG_ENTRIES else source or "unknown"

    @property
    def reason(self) -> str:
        """Why it is here."""
        if self.is_managed:
            return self.attributes["reason"]
        if not self.attempts:
            return "unknown: neither a step nor Pub/Sub wrote this letter"
        return f"{self.step} did not answer {self.attempts} deliveries: it is down, refuses them, or its settings are wrong"

    @property
    def code(self) -> str:
        """Why it is here, for programs; '' if the function gave none."""
        return self.attributes.get("code", "") if self.is_managed else ""

    @property
    def attempts(self) -> str:
        """How often Pub/Sub has tried, '' where it is unknown."""
        return self.attributes.get("attempts" if self.is_managed else f"{_SOURCE}DeliveryCount", "")

    @property
    def control_keys(self) -> tuple[str, ...]:
        """The keys of the body that request more than a reconciliation."""
        return control_keys(self.data)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it contains: the cluster's, then the membership's."""
        body = messages.object_or_empty(self.data)
        found = (self.attributes.get(key) or body.get(key) for key in ("cluster", "membership"))
        return tuple(each for each in found if each and isinstance(each, str))

    @property
    def subject(self) -> str:
        """The cluster, or the attached cluster's membership; '' if unknown."""
        return next(iter(self.names), "")


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one cluster, one step and one reason, the oldest first."""

    letters: tuple[DeadLetter, ...]

    @property
    def first(self) -> DeadLetter:
        """The oldest."""
        return self.letters[0]

    @property
    def last(self) -> DeadLetter:
        """The youngest."""
        return self.letters[-1]


def group_letters(letters: Iterable[DeadLetter]) -> list[Group]:
    """Group the letters by cluster, step and reason, the group with the newest letter last."""
    groups: dict[tuple[str, str, str], list[DeadLetter]] = defaultdict(list)
    for letter in sorted(letters, key=_age):
        groups[letter.subject, letter.step, _BEGINNING.sub("", letter.reason)].append(letter)
    return sorted((Group(tuple(group)) for group in groups.values()), key=lambda fold: _age(fold.last))


def _age(letter: DeadLetter) -> tuple[float, str]:
    return (letter.published.timestamp() if letter.published else 0.0, letter.message_id)


def named(letters: Iterable[DeadLetter], id_: str) -> list[DeadLetter]:
    """Return the letters that a person means by an id: the short one, or Pub/Sub's whole one."""
    return [letter for letter in letters if id_ in (letter.id, letter.message_id)]


def about(letters: Iterable[DeadLetter], names: Iterable[str]) -> list[DeadLetter]:
    """Return the letters that contain one of these names."""
    selected = set(names)
    return [letter for letter in letters if selected & set(letter.names)]


def replay(letter: DeadLetter, settings: Settings, repaired: bytes | None = None) -> tuple[str, bytes, dict[str, str]]:
    """Return what a replay publishes: topic, body, attributes. Raises ReconcileError if it would fail again."""
    topic, data = letter.topic, letter.data if repaired is None else repaired
    if not topic:
        source = letter.attributes.get("topic") or letter.attributes.get(f"{_SOURCE}Subscription") or letter.step
        raise PermanentError(
            f"it came from {source!r}, which is not a topic of this registrar: request the cluster from a step instead",
            ErrorCode.INVALID_MESSAGE,
        )
    if topic in messages.STEPS:
        messages.parse(topic, data, settings)
    elif topic == "sweep":
        messages.parse_scope(data, settings)
    else:
        messages.json_object(data, "the audit entry")
    return topic, data, original(letter.attributes)


def original(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that the message had before it was given up, but for what would bind the replay."""
    return {
        key: value
        for key, value in attributes.items()
        if key not in _LEFT_OUT and not key.startswith(("CloudPubSub", "goog"))
    }


def shown(data: bytes) -> str:
    """Return a body for people: JSON in lines where it is JSON, else as Python writes bytes; controls as escapes."""
    try:
        return printable(json.dumps(json.loads(data), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        more = f" and {len(data) - SHOWN_BYTES} more bytes" if len(data) > SHOWN_BYTES else ""
        return f"{data[:SHOWN_BYTES]!r}{more}"


def control_keys(data: bytes) -> tuple[str, ...]:
    """Return the keys of a body that request more than a reconciliation."""
    body = messages.object_or_empty(data)
    return tuple(key for key in CONTROL_KEYS if key in body)
