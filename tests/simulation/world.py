"""A simulated world for the real steps: GKE, the fleet, the gateway with its clusters, and Pub/Sub, as plain state.

It speaks the verbs of `shared.clients.ports`, and says no where the real APIs
would. Every call passes through `World.touch`, before and after it takes effect: there a test lets things go wrong.
"""

from __future__ import annotations

import functools
import hmac
import itertools
import json
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from functions import (
    grant_rbac,
    register_membership,
    remove_secret,
    revoke_rbac,
    sweep,
    unregister_membership,
    write_secret,
)
from shared.clients.argocd_secrets import Central
from shared.decisions import rbac
from shared.runtime import dispatch
from shared.runtime.recent_reads import RecentReads
from shared.values import settings
from shared.values.cluster_secret import timestamp
from shared.values.errors import ConflictError, PermanentError, RefusedError, RetryableError, TakenError
from shared.values.inventory import Listed
from shared.values.messages import DEAD_LETTERS, Message
from shared.values.model import MANAGED_BY, Cluster, Membership
from shared.values.names import ClusterName, MembershipName
from shared.values.selector import Selector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.values.messages import Outcome
    from shared.values.settings import Settings

Object = dict[str, Any]
T = TypeVar("T")

ENVIRONMENT = {
    "FLEET_PROJECT": "demo-fleet",
    "FLEET_PROJECT_NUMBER": "100000000001",
    "SOURCE_PROJECTS": "demo-fleet,demo-apps",
    "CENTRAL_MEMBERSHIP": "projects/demo-fleet/locations/europe-west1/memberships/central",
    "ARGOCD_SERVICE_ACCOUNT": "argocd@demo-fleet.iam.gserviceaccount.com",
}
CENTRAL = ClusterName("demo-fleet", "europe-west1", "central")
STEPS = {
    "register-membership": register_membership.run,
    "grant-rbac": grant_rbac.run,
    "write-secret": write_secret.run,
    "remove-secret": remove_secret.run,
    "revoke-rbac": revoke_rbac.run,
    "unregister-membership": unregister_membership.run,
}
ATTEMPTS = 20


_selector = functools.lru_cache(Selector.parse)


def copied(value: T) -> T:
    """Copy JSON: many times faster than `copy.deepcopy`, and half of a long simulation's time was that."""
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [copied(inner) for inner in value]  # type: ignore[return-value]
    return value


class KilledError(BaseException):
    """The process of a step is gone: nothing after this point runs."""


@dataclass
class Kubernetes:
    """One cluster's objects by (collection, name), with versions as the real API keeps them."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    admits_us: bool = True
    versions: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    writes: int = 0

    def put(self, collection: str, manifest: Object, uid: str = "") -> Object:
        """Store an object under a new version."""
        stored = copied(manifest)
        version = next(self.versions)
        stored["metadata"] |= {"uid": uid or f"uid-{version}", "resourceVersion": str(version)}
        self.objects[collection, stored["metadata"]["name"]] = stored
        self.writes += 1
        return copied(stored)

    def allows(self, spec: Object) -> bool:
        """Answer an access review by the bindings in this cluster."""
        for (collection, _), binding in self.objects.items():
            if collection != rbac.BINDINGS:
                continue
            subjects = [subject["name"] for subject in binding["subjects"]]
            impersonates = spec["resourceAttributes"].get("verb") == "impersonate"
            who = rbac.AGENT["name"] if impersonates else spec["user"]
            if who in subjects:
                return True
        return False


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
    dead: list[Message] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    refuses_by_link: bool = False  # the fleet refuses a cluster that any membership names, also an earlier namesake's
    missing_zones: bool = False
    unreachable: bool = False
    forbidden: set[str] = field(default_factory=set)
    lost_agents: set[MembershipName] = field(default_factory=set)
    bound: set[MembershipName] = field(default_factory=set)
    recent_reads: RecentReads = field(default_factory=RecentReads)
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
            self.change(name, fleet_project=self.settings.fleet_project_number, membership=membership)
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
        self.settings = replace(self.settings, selector=_selector(selector))

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

    def publish(self, topic: str, body: Object, attributes: Mapping[str, str] | None = None) -> None:
        """Publish a message as a person or an event does."""
        self.take_in(topic, json.dumps(body).encode(), dict(attributes or {}))

    def take_in(self, topic: str, data: bytes, attributes: dict[str, str]) -> None:
        """Take a published message in and queue it for its function."""
        message = Message(data, attributes, f"m{next(self.ids)}", self.now)
        if topic == DEAD_LETTERS:
            self.dead.append(message)
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
            return run(delivery.message, services, "")
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


@dataclass
class _Call:
    world: World
    call: str

    def __enter__(self) -> None:
        self.world.touch("before", self.call)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.world.touch("after", self.call)


class WorldServices:
    """The ports that a step gets, on the world. New for each delivery: nothing is remembered between two."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings = world.settings
        self.gke = SimulatedGke(world)
        self.fleet = SimulatedFleet(world)
        self.gateway = SimulatedGateway(world)
        self.bus = SimulatedBus(world)
        self.central_cluster = CENTRAL
        self.central_url = world.settings.central_membership.gateway_url(world.settings.fleet_project_number, gke=True)
        self.signer = SimulatedSigner(world)
        self.central = Central(self.gateway, self.central_url, self.settings)

    def now(self) -> datetime:
        """The world's time."""
        return self.world.now

    def sleep(self, seconds: float) -> None:
        """Nobody waits here."""


@dataclass
class SimulatedGke:
    """The verbs of shared.clients.gke."""

    world: World

    def cluster(self, name: ClusterName) -> Cluster | None:
        """Read a cluster."""
        with self.world.called(f"container get {name}"):
            return self.world.seen_cluster(name)

    def list(self, project: str) -> Listed[Cluster]:
        """List a project."""
        with self.world.called(f"container list {project}"):
            return Listed(*self.world.seen_clusters(project))

    def in_list(self, name: ClusterName) -> bool:
        """List a location."""
        with self.world.called(f"container list {name.project}/{name.location}"):
            return self.world.seen_in_list(name)


@dataclass
class SimulatedFleet:
    """The verbs of shared.clients.fleet."""

    world: World

    def membership(self, name: MembershipName) -> Membership | None:
        """Read a membership."""
        with self.world.called(f"gkehub get {name}"):
            return self.world.seen_membership(name)

    def in_list(self, name: MembershipName) -> bool:
        """List a location."""
        with self.world.called(f"gkehub list {name.project}/{name.location}"):
            return self.world.seen_in_fleet(name)

    def list(self, _project: str) -> Listed[Membership]:
        """List the fleet."""
        with self.world.called("gkehub list"):
            return Listed(*self.world.seen_memberships())

    def create(self, name: MembershipName, cluster: Cluster) -> Membership:
        """Register a cluster."""
        with self.world.called(f"gkehub create {name}"):
            if name in self.world.memberships:
                raise TakenError(f"{name} is taken")
            standing = self.world.clusters.get(cluster.name)
            if standing is None:
                raise PermanentError(f"400 INVALID_ARGUMENT {cluster.name} does not exist")
            named = any(membership.cluster == cluster.name for membership in self.world.memberships.values())
            if named and (standing.membership or self.world.refuses_by_link):
                raise ConflictError(f"6: {cluster.name} is already registered", status=409)
            labels = {"managed-by": MANAGED_BY, "fleet-registrar-cluster-id": cluster.id_label}
            return self.world.registered(self.world.join(cluster.name, name, labels))

    def delete(self, name: MembershipName) -> bool:
        """Unregister a cluster."""
        with self.world.called(f"gkehub delete {name}"):
            if name in self.world.bound:
                raise PermanentError(f"400 FAILED_PRECONDITION {name} has sub-resources")
            found = self.world.memberships.pop(name, None)
            if found:
                self.world.unregistered(found)
            if found and found.cluster in self.world.clusters and self.world.clusters[found.cluster].membership == name:
                self.world.change(found.cluster, fleet_project="", membership=None)
            return found is not None


@dataclass
class SimulatedGateway:
    """The verbs of shared.clients.gateway, on the clusters behind the memberships."""

    world: World
    identity: str = "grant-rbac@demo-fleet.iam.gserviceaccount.com"

    def _cluster(self, url: str) -> Kubernetes:
        parts = url.split("/")
        name = MembershipName(self.world.settings.fleet_project, parts[-3], parts[-1])
        found = self.world.memberships.get(name)
        gke = parts[-2] == "gkeMemberships"
        if found is None or name in self.world.lost_agents or gke != (found.cluster is not None):
            raise RetryableError(f"the gateway does not reach {name} (404)")
        if found.cluster is not None and found.cluster not in self.world.clusters:
            raise RetryableError(f"the gateway does not reach {found.cluster} (404)")
        inside = self.world.kubernetes[self.world.clusters[found.cluster].id if found.cluster else found.unique_id]
        if not inside.admits_us:
            raise RefusedError(f"the cluster refuses {self.identity}")
        return inside

    def get(self, url: str, collection: str, name: str) -> Object | None:
        """Read an object."""
        with self.world.called(f"gateway get {url} {name}"):
            return copied(self._cluster(url).objects.get((collection, name)))

    def list(self, url: str, collection: str, selector: str) -> list[Object]:
        """List objects."""
        with self.world.called(f"gateway list {url}"):
            wanted = _selector(selector)
            return [
                copied(stored)
                for (where, _), stored in self._cluster(url).objects.items()
                if where == collection and wanted.matches(stored["metadata"].get("labels") or {})
            ]

    def create(self, url: str, collection: str, manifest: Object) -> Object:
        """Create an object, or answer an access review."""
        with self.world.called(f"gateway create {url} {manifest.get('metadata', {}).get('name', manifest['kind'])}"):
            cluster = self._cluster(url)
            if collection == rbac.REVIEWS:
                return {"status": {"allowed": cluster.allows(manifest["spec"])}}
            if (collection, manifest["metadata"]["name"]) in cluster.objects:
                raise ConflictError("409 AlreadyExists")
            created = {"creationTimestamp": timestamp(self.world.now)}
            made = cluster.put(collection, {**manifest, "metadata": {**manifest["metadata"], **created}})
            self.world.wrote(cluster, collection, None, made)
            return made

    def patch(self, url: str, collection: str, name: str, patch: Object) -> Object:
        """Change an object by a merge patch with its preconditions."""
        with self.world.called(f"gateway patch {url} {name}"):
            cluster = self._cluster(url)
            self.world.preconditioned(patch["metadata"])
            standing = _checked(cluster.objects.get((collection, name)), patch["metadata"])
            merged = _merged(standing, patch)
            if merged == standing:
                return standing
            changed = cluster.put(collection, merged, standing["metadata"]["uid"])
            self.world.wrote(cluster, collection, standing, changed)
            return changed

    def delete(self, url: str, collection: str, name: str, version: Object) -> bool:
        """Delete an object with its preconditions."""
        with self.world.called(f"gateway delete {url} {name}"):
            cluster = self._cluster(url)
            if (collection, name) not in cluster.objects:
                return False
            self.world.preconditioned(version)
            standing = _checked(cluster.objects[collection, name], version)
            del cluster.objects[collection, name]
            cluster.writes += 1
            self.world.wrote(cluster, collection, standing, None)
            return True


@dataclass
class SimulatedSigner:
    """The verbs of shared.clients.grant_signer: only a step signs, with a key that no forger has. Costs no call."""

    world: World

    def sign_grant(self, audience: str) -> str:
        """Sign an audience and the time."""
        time = self.world.now.isoformat()
        return f"{time} {self._signature(audience, time)}"

    def verify_grant(self, token: str, audience: str) -> datetime | None:
        """Return the time of a proof of this audience that is younger than an hour."""
        time, _, signature = token.partition(" ")
        if not hmac.compare_digest(signature.encode(errors="replace"), self._signature(audience, time).encode()):
            return None
        signed = datetime.fromisoformat(time)
        return signed if self.world.now - signed < timedelta(hours=1) else None

    def _signature(self, audience: str, time: str) -> str:
        return hmac.new(self.world.key, f"{audience} {time}".encode(errors="replace"), "sha256").hexdigest()


@dataclass
class SimulatedBus:
    """The verbs of shared.clients.publisher."""

    world: World

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """Publish a message."""
        with self.world.called(f"pubsub publish {topic}"):
            self.world.take_in(topic, data, dict(attributes))

    def publish_object(self, topic: str, body: Mapping[str, Any], attributes: Mapping[str, str]) -> None:
        """Publish a JSON object."""
        self.publish(topic, json.dumps(body).encode(), attributes)


def _checked(standing: Object | None, version: Object) -> Object:
    if standing is None:
        raise RetryableError("404 on a write")
    for key in ("uid", "resourceVersion"):
        if key in version and version[key] != standing["metadata"][key]:
            raise ConflictError(f"409 Conflict: {key}")
    return standing


def _merged(standing: Object, patch: Object) -> Object:
    """RFC 7396."""
    result = dict(standing)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            inner = result.get(key)
            result[key] = _merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[key] = value
    return result
