"""Messages between the steps: bodies and attributes, parsed once and compared as values.

Pure. A body is a hint: each step reads for itself what is true.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from shared.values.cluster_event import ClusterEvent
from shared.values.codes import Decision, ErrorCode, FindingCode
from shared.values.errors import PermanentError, RetryableError
from shared.values.model import State
from shared.values.names import ClusterName, InvalidNameError, MembershipName, Name, project_id
from shared.values.objects import Object
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping


ONBOARDING: Final = ("register-membership", "grant-rbac", "write-secret")
OFFBOARDING: Final = ("remove-secret", "revoke-rbac", "unregister-membership")
Severity = Literal["INFO", "WARNING", "ERROR"]
STEPS: Final = ONBOARDING + OFFBOARDING
DEAD_LETTERS: Final = "dead-letters"
AUDIT_LOG_ENTRIES: Final = "audit-log-entries"

ATTRIBUTE_BYTES: Final = 1000  # Pub/Sub's limit is 1,024 bytes for a value
MIN_REVERSAL_AGE: Final = timedelta(seconds=60)
SWEEP_REQUEST_TTL: Final = timedelta(hours=1)
Leave = Literal["", "hold", "remove", "other-cluster"]

_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "grant-rbac": frozenset({"new", "previous"}),
    "write-secret": frozenset(
        {"granted", "drop_labels", "secret_uid", "membership_uid", "renewed", "previous", "identity"}
    ),
    "revoke-rbac": frozenset({"previous", "check"}),
    "remove-secret": frozenset({"leave", "secret_uid"}),
    "unregister-membership": frozenset({"membership_uid"}),
}


@dataclass(frozen=True, slots=True)
class StepRequest:
    """The request to a step: a cluster, a membership, or both where both are known; never neither.

    `granted` is the proof that `grant_rbac` signed. `membership_uid` and `new` (the cluster was registered just now) save
    reads, and prove nothing. `renewed`: the access had been missing; it counts with the proof only.
    """

    cluster: ClusterName | None = None
    membership: MembershipName | None = None
    granted: str = field(default="", repr=False)
    drop_labels: frozenset[str] = frozenset()
    leave: Leave = ""
    secret_uid: str = field(default="", repr=False)  # proves that the sender has read the Secret; never logged
    membership_uid: str = ""
    new: bool = False
    renewed: bool = False
    previous: str = ""  # the identity that the Secret notes as granted, if it is no longer Argo CD's
    check: bool = False  # a sweep searches for a leftover binding; none is known, so a refusal is not an error
    # The identity that `granted` is for: a hint, in case Argo CD has another one when the message arrives.
    identity: str = ""

    @property
    def name(self) -> Name:
        """The cluster; the membership where no cluster is known."""
        name = self.cluster or self.membership
        if name is None:
            raise ValueError("a request names a cluster, a membership or both")
        return name

    @property
    def names(self) -> dict[str, str]:
        """The names that it has, by their keys in a body."""
        return {key: str(name) for key, name in (("cluster", self.cluster), ("membership", self.membership)) if name}

    def from_reader_of(self, uid: str) -> StepRequest:
        """Return the request; without `leave` and `drop_labels` unless it says the uid of the Secret that exists.

        A uid has 122 random bits, and only Argo CD's namespace has it: no forger knows it who cannot read Secrets there.
        """
        return self if self.secret_uid == uid else replace(self, leave="", drop_labels=frozenset())

    def body(self) -> Object:
        """The message's body as a JSON object, without empty fields."""
        fields = {
            **self.names,
            "granted": self.granted,
            "drop_labels": sorted(self.drop_labels),
            "leave": self.leave,
            "secret_uid": self.secret_uid,
            "membership_uid": self.membership_uid,
            "new": self.new,
            "renewed": self.renewed,
            "previous": self.previous,
            "identity": self.identity,
            "check": self.check,
        }
        return {key: value for key, value in fields.items() if value}


def request_for(name: Name) -> StepRequest:
    """Return the request for one name."""
    return StepRequest(name) if isinstance(name, ClusterName) else StepRequest(membership=name)


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery. `data` are the original bytes, `published` is Pub/Sub's publish time.

    `kind` is the type of the CloudEvent that the message stands for; '' for a message of Pub/Sub. `attempt` counts
    deliveries from 1; 0 is unknown.
    """

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    published: datetime | None = None
    kind: str = ""
    attempt: int = 0

    def age(self, now: datetime) -> timedelta:
        """Time since publication; zero if unknown."""
        return now - self.published if self.published else timedelta()

    @property
    def is_from_sweep(self) -> bool:
        """Whether a sweep published the first message of the chain: then the next sweep requests it again."""
        return self.attributes.get("requested-by") == "sweep"

    def forwarded_attributes(self, step: str, topic: str) -> dict[str, str]:
        """Return the attributes of the message that `step` publishes to `topic` because of this one."""
        attributes = {
            key: self.attributes[key]
            for key in ("requested-by", "cause", "since", "traceparent", "reversed")
            if self.attributes.get(key)
        }
        if reverses(step, topic):
            attributes["reversed"] = "true"
        return {key: truncate(value) for key, value in attributes.items()}


def reverses(step: str, topic: str) -> bool:
    """Whether a chain reverses here, from onboarding to offboarding or back."""
    return (step in ONBOARDING and topic in OFFBOARDING) or (step in OFFBOARDING and topic in ONBOARDING)


def truncate(text: str, most: int = ATTRIBUTE_BYTES) -> str:
    """Return the text cut to what an attribute may hold, at a whole character; half a surrogate pair becomes `?`."""
    return text.encode(errors="replace")[:most].decode(errors="ignore")


def truncate_reason(text: str) -> str:
    """Return an error's text cut to what an attribute may hold: its commands, on lines after the first, stay whole."""
    sentence, _, commands = text.partition("\n")
    left = ATTRIBUTE_BYTES - len(f"…\n{commands}".encode(errors="replace"))
    if len(text.encode(errors="replace")) <= ATTRIBUTE_BYTES or not commands or left <= 0:
        return truncate(text)
    return truncate(f"{truncate(sentence, left)}…\n{commands}")


def json_object(data: bytes, what: str) -> Object:
    """Return the JSON object in `data`. Raises PermanentError with the reason."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PermanentError(
            f"{what} is not JSON: {error}; it begins with {data[:60]!r}", ErrorCode.INVALID_MESSAGE
        ) from error
    if not isinstance(body, dict):
        raise PermanentError(
            f"{what} is JSON but not an object; it begins with {data[:60]!r}", ErrorCode.INVALID_MESSAGE
        )
    return body


def object_or_empty(data: bytes) -> Object:
    """Return the JSON object in `data`; an empty one if that is anything else."""
    try:
        return json_object(data, "")
    except PermanentError:
        return {}


def parse(step: str, data: bytes, settings: Settings) -> StepRequest:
    """Parse the body of a message to `step` (a topic's name).

    Raises PermanentError with all the faults, or RetryableError if the only fault is a key that this version does not
    know: a newer version may have sent it, and an instance of that version may take the redelivery.
    """
    example = f'{{"cluster":"projects/{settings.fleet_project}/locations/europe-west1/clusters/blue"}}'
    body = json_object(data, f"the message to {step}")
    faults: list[str] = []
    allowed = {"cluster", "membership"} | _KEYS.get(step, frozenset())
    unknown = sorted(set(body) - allowed)
    cluster = membership = None
    try:
        if "cluster" in body:
            cluster = ClusterName.parse(body["cluster"], settings.numbers)
    except InvalidNameError as error:
        faults.append(str(error))
    try:
        if "membership" in body:
            membership = MembershipName.parse(body["membership"], settings.numbers)
            if membership.project != settings.fleet_project:
                faults.append(f"{membership} is not in our fleet, {settings.fleet_project}")
    except InvalidNameError as error:
        faults.append(str(error))
    if "cluster" not in body and "membership" not in body:
        faults.append("it names neither cluster nor membership")
    texts = {
        key: body.get(key, "")
        for key in ("granted", "secret_uid", "membership_uid", "previous", "identity")
        if key in allowed
    }
    faults += [f"{key} is not a text" for key, value in texts.items() if not isinstance(value, str)]
    flags = {key: body.get(key, False) for key in ("new", "renewed", "check") if key in allowed}
    faults += [f"{key} is neither true nor false" for key, value in flags.items() if not isinstance(value, bool)]
    drop = body.get("drop_labels", []) if "drop_labels" in allowed else []
    if not isinstance(drop, list) or not all(isinstance(key, str) for key in drop):
        faults.append("drop_labels is not a list of label keys")
    leave: Leave = ""
    match body.get("leave"):
        case "hold" | "remove" | "other-cluster" as fields:
            leave = fields
        case None:
            pass
        case _:
            faults.append("leave is neither hold, remove nor other-cluster")
    wrong = f"the message to {step} is wrong: "
    unknown_keys = f"unknown keys {', '.join(map(repr, unknown))[:200]}: {step} takes {', '.join(sorted(allowed))}"
    if faults:
        faults = [unknown_keys, *faults] if unknown else faults
        raise PermanentError(f"{wrong}{'; '.join(faults)}. Example: {example}", ErrorCode.INVALID_MESSAGE)
    if unknown:
        raise RetryableError(f"{wrong}{unknown_keys}. Example: {example}", ErrorCode.UNKNOWN_KEY)
    return StepRequest(cluster, membership, drop_labels=frozenset(drop), leave=leave, **texts, **flags)


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to publish: `topic` is a topic's name."""

    topic: str
    request: StepRequest

    def body(self) -> Object:
        """The body as a JSON object."""
        return self.request.body()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step's decision, its reason (`code` for programs, `message` for people), and the messages to publish.

    `next` goes to the steps that follow, `event` to subscribers.
    """

    decision: Decision
    code: State | FindingCode | ErrorCode
    message: str
    next: tuple[OutgoingMessage, ...] = ()
    severity: Severity = "INFO"
    event: ClusterEvent | None = None


class RivalHeldError(RetryableError):
    """Another cluster's Secret, which has the server that this cluster needs, was held: retry until it is gone.

    `held` is the outcome for subscribers; it concerns the cluster of `request`.
    """

    default = ErrorCode.SERVER_TAKEN

    def __init__(self, message: str, request: StepRequest, held: Outcome) -> None:
        super().__init__(message)
        self.request = request
        self.held = held


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of a sweep's message: everything, one project, one cluster, or the release of a blocked plan.

    `seals` name the requests of the released plan; the sweep publishes them to itself.
    """

    project: str = ""
    cluster: ClusterName | None = None
    release: str = ""
    seals: tuple[str, ...] = ()

    def includes(self, cluster: ClusterName | None, fleet_project: str) -> bool:
        """Whether the requests for a cluster are inside the scope; an attached cluster (None) belongs to the fleet project."""
        if self.cluster is not None:
            return cluster == self.cluster
        return not self.project or self.project == (cluster.project if cluster else fleet_project)


def parse_scope(data: bytes, settings: Settings) -> Scope:
    """Parse a sweep's message. Raises PermanentError, or RetryableError for an unknown key, like `parse`."""
    body = json_object(data, "the message to sweep")
    seals = body.pop("seals", [])
    known = {key: value for key, value in body.items() if key in ("project", "cluster", "release")}
    wrong = (
        'the message to sweep is wrong: it takes {}, {"project": ID}, {"cluster": NAME} or {"release": HASH};'
        f" it has {', '.join(map(repr, body))[:200]}"
    )
    sealed = (
        isinstance(seals, list) and all(isinstance(value, str) for value in seals) and ("release" in body or not seals)
    )
    if len(known) > 1 or not sealed or not all(value and isinstance(value, str) for value in known.values()):
        raise PermanentError(wrong, ErrorCode.INVALID_MESSAGE)
    if len(known) < len(body):
        raise RetryableError(wrong, ErrorCode.UNKNOWN_KEY)
    try:
        cluster = ClusterName.parse(body["cluster"], settings.numbers) if "cluster" in body else None
        project = project_id(body["project"], settings.numbers) if "project" in body else ""
    except InvalidNameError as error:
        raise PermanentError(f"the message to sweep is wrong: {error}", ErrorCode.INVALID_MESSAGE) from error
    return Scope(project, cluster, body.get("release", ""), tuple(seals))


def publish_command(topic: str, body: Mapping[str, Any], settings: Settings) -> str:
    """Return the command with which a person publishes a message."""
    message = json.dumps(body, separators=(",", ":"))
    return f"gcloud pubsub topics publish {topic} --project={settings.pubsub_project} --message='{message}'"
