"""A simulated world for the real steps: GKE, the fleet, the gateway with its clusters, and Pub/Sub, as plain state.

It speaks the verbs of `shared.clients.ports`, and says no where the real APIs
would. Every call passes through `World.touch`, before and after it takes effect: there a test lets things go wrong.
"""

from __future__ import annotations

import itertools
import json
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from functions import (
    grant_rbac,
    register_membership,
    remove_secret,
    revoke_rbac,
    sweep,
    unregister_membership,
    write_secret,
)
from shared.clients import deadline
from shared.runtime import dispatch
from shared.runtime.recent_deletions import RecentDeletions
from shared.runtime.recent_reads import RecentReads
from shared.values import settings
from shared.values.cluster_event import CLUSTER_EVENTS
from shared.values.errors import PermanentError, RetryableError
from shared.values.messages import DEAD_LETTERS, Message
from shared.values.model import Cluster, Membership
from shared.values.names import ClusterName, MembershipName
from tests.simulation.kubernetes import Kubernetes, Object, parsed_selector
from tests.simulation.ports import CENTRAL, NUMBERS, WorldServices
from tests.unit.given import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.values.messages import Outcome
    from shared.values.settings import Settings


STEPS = {
    "register-membership": register_membership.run,
    "grant-rbac": grant_rbac.run,
    "write-secret": write_secret.run,
    "remove-secret": remove_secret.run,
    "revoke-rbac": revoke_rbac.run,
    "unregister-membership": unregister_membership.run,
}
ATTEMPTS = 20


class KilledError(BaseException):
    """The process of a step is gone: nothing after this point runs."""


@dataclass
class Delivery:
    """A message on its way to a topic's function."""

    topic: str
    message: Message
    attempt: int = 1


@dataclass
class World:
    """Everything outside the steps. `touch(phase, call)` is asked at each call; phase is `before` or `after`."""

    settings: Settings = field(default_factory=lambda: settings.load(ENVIRONMENT))
    now: datetime = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    clusters: dict[ClusterName, Cluster] = field(default_factory=dict)
    memberships: dict[MembershipName, Membership] = field(default_factory=dict)
    kubernetes: dict[str, Kubernetes] = field(default_factory=dict)
    queue: list[Delivery] = field(default_factory=list)
    published: list[tuple[str, Object, dict[str, str]]] = field(default_factory=list)
    events: list[Message] = field(default_factory=list)  # what subscribers of `cluster-events` get
    dead: list[Message] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    refuses_by_link: bool = False  # the fleet refuses a cluster that any membership names, also an earlier namesake's
    missing_zones: bool = False
    unreachable: bool = False
    forbidden: set[str] = field(default_factory=set)
    lost_agents: set[MembershipName] = field(default_factory=set)
    bound: set[MembershipName] = field(default_factory=set)
    recent_reads: RecentReads = field(default_factory=RecentReads)
    recent_deletions: RecentDeletions = field(default_factory=RecentDeletions)
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    touch: Callable[[str, str], None] = lambda _phase, _call: None
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.create(CENTRAL)
        self.join(CENTRAL, self.settings.central_membership)

    # What people do to the world.

    def create(self, name: ClusterName, labels: Mapping[str, str] | None = None, status: str = "RUNNING") -> Cluster:
        """Create a cluster, a new one each time."""
        id_ = f"{next(self.ids):04d}-cluster-with-an-id-of-more-than-forty-characters"
        self.clusters[name] = Cluster(name, id_, status, dict(labels or {}), created=self.now)
        self.kubernetes[id_] = Kubernetes()
        return self.clusters[name]

    def change(self, name: ClusterName, **fields: Any) -> None:
        """Change a cluster's status, labels or fleet."""
        self.clusters[name] = replace(self.clusters[name], **fields)

    def delete(self, name: ClusterName) -> None:
        """The cluster is gone; its membership stays behind, as GKE leaves those that were registered."""
        del self.clusters[name]

    def join(
        self, name: ClusterName, membership: MembershipName, labels: Mapping[str, str] | None = None
    ) -> Membership:
        """Register a cluster in the fleet, as a person, GKE or a step does."""
        made = Membership(membership, f"uid-{next(self.ids)}", "READY", dict(labels or {}), name, created=self.now)
        self.memberships[membership] = made
        if name in self.clusters:
            number = NUMBERS.get(membership.project, self.settings.fleet_project_number)
            self.change(name, fleet_project=number, membership=membership)
        return made

    def unregister(self, name: ClusterName) -> None:
        """Unregister a running cluster, as a person does."""
        membership = self.clusters[name].membership
        assert membership is not None, f"{name} has no membership"
        del self.memberships[membership]
        self.change(name, fleet_project="", membership=None)

    def change_membership(self, name: MembershipName | None, **fields: Any) -> None:
        """Change a membership's state or labels."""
        assert name is not None, "no membership"
        self.memberships[name] = replace(self.memberships[name], **fields)

    def attach(self, membership: MembershipName, labels: Mapping[str, str] | None = None) -> Membership:
        """Attach a cluster that is not GKE."""
        made = Membership(membership, f"uid-{next(self.ids)}", "READY", dict(labels or {}), last_connection=self.now)
        self.memberships[membership] = made
        self.kubernetes.setdefault(made.unique_id, Kubernetes())
        return made

    def select(self, selector: str) -> None:
        """Change CLUSTER_SELECTOR."""
        self.settings = replace(self.settings, selector=parsed_selector(selector))

    @property
    def central(self) -> Kubernetes:
        """The central cluster's objects."""
        return self.kubernetes[self.clusters[CENTRAL].id]

    def secrets(self) -> dict[str, Object]:
        """The Secrets in Argo CD's namespace, by name."""
        return {
            name: stored
            for (collection, name), stored in self.central.objects.items()
            if collection.endswith("/secrets")
        }

    def leave(self, name: ClusterName | MembershipName, leave: str) -> Object:
        """The body of a sweep's request to hold or remove a Secret: it names the Secret by its uid."""
        kind = "cluster" if isinstance(name, ClusterName) else "membership"
        uids = [
            secret["metadata"]["uid"]
            for secret in self.secrets().values()
            if secret["metadata"].get("annotations", {}).get(f"fleet-registrar/{kind}") == str(name)
        ]
        return {kind: str(name), "leave": leave, **({"secret_uid": uids[0]} if uids else {})}

    def inside(self, name: ClusterName) -> Kubernetes:
        """A GKE cluster's objects."""
        return self.kubernetes[self.clusters[name].id]

    # Pub/Sub.

    @property
    def heard(self) -> list[str]:
        """What subscribers of `cluster-events` heard: `onboarded`, `held`, …"""
        return [event.attributes["ce-type"].split(".")[-2] for event in self.events]

    def publish(self, topic: str, body: Object, attributes: Mapping[str, str] | None = None) -> None:
        """Publish a message as a person or an event does."""
        self.enqueue(topic, json.dumps(body).encode(), dict(attributes or {}))

    def enqueue(self, topic: str, data: bytes, attributes: dict[str, str]) -> None:
        """Take a published message in and queue it for its function."""
        message = Message(data, attributes, f"m{next(self.ids)}", self.now)
        if topic == DEAD_LETTERS:
            self.dead.append(message)
            return
        if topic == CLUSTER_EVENTS:
            self.events.append(message)
            return
        self.published.append((topic, json.loads(data), attributes))
        if topic in STEPS or topic == "sweep":
            self.queue.append(Delivery(topic, message))

    def deliver(self, delivery: Delivery) -> Outcome | None:
        """Give one delivery to its step: acknowledged, given up, or put back."""
        services = WorldServices(self)
        try:
            if delivery.topic == "sweep":
                sweep.run(delivery.message, services, "")
                return None
            run = dispatch.step(delivery.topic, STEPS[delivery.topic], self.recent_reads)
            return run(replace(delivery.message, attempt=delivery.attempt), services, "")
        except PermanentError as error:
            try:
                dispatch.dead_letter(delivery.topic, delivery.message, error, services)
            except (RetryableError, KilledError) as interrupted:
                self.again(delivery, str(interrupted))
        except (RetryableError, KilledError) as error:
            self.again(delivery, str(error))
        return None

    def again(self, delivery: Delivery, reason: str) -> None:
        """Deliver again, or dead-letter after the attempts as Pub/Sub does."""
        if delivery.attempt >= ATTEMPTS:
            self.dead.append(replace(delivery.message, attributes={**delivery.message.attributes, "last": reason}))
            return
        self.queue.append(replace(delivery, attempt=delivery.attempt + 1))

    def sweep(self, **scope: str) -> None:
        """Publish a sweep and carry its requests out."""
        self.publish("sweep", dict(scope))
        self.settle()

    def settle(self, rounds: int = 500) -> None:
        """Deliver until nothing is on its way; time passes a little with each delivery."""
        for _ in range(rounds):
            if not self.queue:
                return
            self.now += timedelta(seconds=1)
            self.deliver(self.queue.pop(0))
        raise AssertionError(f"not quiet after {rounds} deliveries: {self.queue[:3]}")

    # What the APIs answer. A random simulation lets them be late and incomplete.

    def seen_cluster(self, name: ClusterName) -> Cluster | None:
        """Answer a GET of a cluster."""
        return self.clusters.get(name)

    def seen_clusters(self, project: str) -> tuple[list[Cluster], frozenset[str]]:
        """Answer a list of a project's clusters."""
        if project in self.forbidden:
            raise RetryableError(f"403 projects/{project}")
        found = [cluster for name, cluster in self.clusters.items() if name.project == project]
        if not self.missing_zones:
            return found, frozenset()
        return [], frozenset(cluster.name.location for cluster in found)

    def seen_in_list(self, name: ClusterName) -> bool:
        """Answer a list of a location."""
        if self.missing_zones:
            raise RetryableError(f"the list lacks zones: whether {name} is gone is not known")
        return name in self.clusters

    def seen_membership(self, name: MembershipName) -> Membership | None:
        """Answer a GET of a membership."""
        return self.memberships.get(name)

    def seen_memberships(self) -> tuple[list[Membership], frozenset[str]]:
        """Answer a list of the fleet."""
        if not self.unreachable:
            return [*self.memberships.values()], frozenset()
        return [], frozenset(name.location for name in self.memberships)

    def seen_in_fleet(self, name: MembershipName) -> bool:
        """Answer a list of a location of the fleet."""
        if self.unreachable:
            raise RetryableError(f"the list is not complete: whether {name} is gone is not known")
        return name in self.memberships

    # What a step has changed. A random simulation checks it, there and then.

    def wrote(self, cluster: Kubernetes, collection: str, before: Object | None, after: Object | None) -> None:
        """A step has created, changed or deleted an object."""

    def preconditioned(self, version: Object) -> None:
        """A step asks for a change of the very object, in the very version, that is named here."""

    def registered(self, made: Membership) -> Membership:
        """A step has made a membership; return it as it is when the operation is done."""
        return made

    def unregistered(self, found: Membership) -> None:
        """A step has deleted a membership."""

    # What the ports ask.

    def called(self, call: str) -> _Call:
        """Note a call and let things go wrong before and after it."""
        self.calls.append(call)
        return _Call(self, call)


def is_read(call: str) -> bool:
    """Return whether a call changes nothing."""
    return call.split()[1] in ("get", "list")


@dataclass
class _Call:
    world: World
    call: str

    def __enter__(self) -> None:
        self.world.touch("before", self.call)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            if is_read(self.call):
                deadline.note_read()
            self.world.touch("after", self.call)
