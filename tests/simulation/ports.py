"""The product's ports on the simulated world: the reads and writes of a step."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.clients import deadline
from shared.clients.argocd_secrets import Central
from shared.decisions import rbac
from shared.values.cluster_secret import timestamp
from shared.values.errors import ConflictError, PermanentError, RefusedError, RetryableError, TakenError
from shared.values.inventory import Listed
from shared.values.model import MANAGED_BY, Cluster, Membership
from shared.values.names import ClusterName, MembershipName
from tests.simulation.kubernetes import Kubernetes, Object, copied, parsed_selector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulation.world import World


CENTRAL = ClusterName("demo-fleet", "europe-west1", "central")
NUMBERS = {"demo-fleet": "100000000001", "demo-next": "200000000002"}


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
        central = world.settings.central_membership
        self.central_url = central.gateway_url(NUMBERS[central.project], gke=True)
        self.signer = SimulatedSigner(world)
        self.central = Central(self.gateway, self.central_url, self.settings)

    def now(self) -> datetime:
        """The world's time."""
        return self.world.now

    def wait_for_gateway(self) -> None:
        """The simulated gateway has no quota."""

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

    def list(self, project: str) -> Listed[Membership]:
        """List the fleet."""
        with self.world.called("gkehub list"):
            listed = Listed(*self.world.seen_memberships())
            return replace(listed, items=[each for each in listed.items if each.name.project == project])

    def create(self, name: MembershipName, cluster: Cluster) -> Membership:
        """Register a cluster."""
        with self.world.called(f"gkehub create {name}"):
            if name in self.world.memberships:
                raise TakenError(f"{name} is taken")
            current = self.world.clusters.get(cluster.name)
            if current is None:
                raise PermanentError(f"400 INVALID_ARGUMENT {cluster.name} does not exist")
            named = any(membership.cluster == cluster.name for membership in self.world.memberships.values())
            if named and (current.membership or self.world.refuses_by_link):
                raise ConflictError(f"6: {cluster.name} is already registered", status=409)
            labels = {"managed-by": MANAGED_BY, "fleet-registrar-cluster-id": cluster.id_label}
            return self.world.registered(self.world.join(cluster.name, name, labels))

    def delete(self, name: MembershipName) -> bool:
        """Unregister a cluster."""
        with self.world.called(f"gkehub delete {name}"):
            deadline.require_fresh_read(f"deleting {name}")
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
        project = next((each for each, number in NUMBERS.items() if number in parts), self.world.settings.fleet_project)
        name = MembershipName(project, parts[-3], parts[-1])
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
            wanted = parsed_selector(selector)
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
            current = _checked(cluster.objects.get((collection, name)), patch["metadata"])
            merged = _merged(current, patch)
            if merged == current:
                return current
            changed = cluster.put(collection, merged, current["metadata"]["uid"])
            self.world.wrote(cluster, collection, current, changed)
            return changed

    def delete(self, url: str, collection: str, name: str, version: Object) -> bool:
        """Delete an object with its preconditions."""
        with self.world.called(f"gateway delete {url} {name}"):
            deadline.require_fresh_read(f"deleting {name}")
            cluster = self._cluster(url)
            if (collection, name) not in cluster.objects:
                return False
            self.world.preconditioned(version)
            current = _checked(cluster.objects[collection, name], version)
            del cluster.objects[collection, name]
            cluster.writes += 1
            self.world.wrote(cluster, collection, current, None)
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
            self.world.enqueue(topic, data, dict(attributes))

    def publish_object(self, topic: str, body: Mapping[str, Any], attributes: Mapping[str, str]) -> None:
        """Publish a JSON object."""
        self.publish(topic, json.dumps(body).encode(), attributes)


def _checked(current: Object | None, version: Object) -> Object:
    if current is None:
        raise RetryableError("404 on a write")
    for key in ("uid", "resourceVersion"):
        if key in version and version[key] != current["metadata"][key]:
            raise ConflictError(f"409 Conflict: {key}")
    return current


def _merged(current: Object, patch: Object) -> Object:
    """RFC 7396."""
    result = dict(current)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            inner = result.get(key)
            result[key] = _merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[key] = value
    return result
