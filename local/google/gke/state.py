"""The state of all GKE clusters of all projects, without the wire (api.py has it).

Fields and rules follow the discovery document container.v1 and google.cloud.container_v1's types. A cluster's Kubernetes
API is not here: the composition makes and drops it when `on_cluster_running` and `on_cluster_gone` are called. Left out:
nodes, upgrades, networks and every other part of a cluster that nobody here reads (what was asked for is kept and shown).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Protocol

from local.google import labels
from local.google.audit import AuditedCall
from local.google.failures import Failure, Failures
from local.google.gke.clusters import ALIVE, OUTPUT_ONLY, STATUSES, check_new, new_cluster, now, set_labels, touch
from local.google.gke.names import NAME, cluster_name, full_name
from local.google.gke.operations import Operations
from local.google.tasks import call_hook
from local.google.wire import CODES, GoogleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.google.platform import Projects

Json = dict[str, Any]

PERSON = "you@example.com"
METHODS = {"create": "CreateCluster", "delete": "DeleteCluster", "update": "UpdateCluster", "labels": "SetLabels"}

Authorize = Callable[[AuditedCall], None]  # notes who calls, and refuses with 401 or 403


class FleetSide(Protocol):
    """What GKE asks of the fleet, which knows the clusters."""

    def enrol(self, cluster: str, project: str) -> Json: ...

    def withdraw(self, cluster: Json) -> None: ...

    def cluster_gone(self, cluster: Json) -> None: ...


class Gke:
    """All clusters, and what happens to them.

    For tests and people (all of it may be changed at any time):
    `seconds` — how long a change takes: keys `create`, `delete`, `update`, `enrol`, and `"create projects/…"` for one
    cluster. `missing_zones` — project id → zones or regions that a list cannot reach. `hidden_from_list`,
    `hidden_from_get` — full names left out of an answer. `stale` — full name → the cluster as get and list tell it
    instead of the truth. `labels_without_operation` — SetLabels leaves one audit entry, without an operation, as some do.
    Methods: `fail_next`, `finish`, `set_status`, `shut_project`.
    """

    def __init__(
        self,
        projects: Projects,
        *,
        emit_audit: Callable[[Json], None],
        create_seconds: float = 0.0,
        delete_seconds: float = 0.0,
        update_seconds: float = 0.0,
        on_cluster_running: Callable[[Json], Awaitable[None] | None] | None = None,
        on_cluster_gone: Callable[[Json], Awaitable[None] | None] | None = None,
        kubernetes_endpoint: Callable[[str], tuple[str, str]] | None = None,
    ) -> None:
        """`kubernetes_endpoint` is asked when a cluster gets RUNNING, after `on_cluster_running`, with the full name."""
        self.projects = projects
        self.emit_audit = emit_audit
        self.seconds = {"create": create_seconds, "delete": delete_seconds, "update": update_seconds, "enrol": 0.0}
        self.on_cluster_running = on_cluster_running
        self.on_cluster_gone = on_cluster_gone
        self.kubernetes_endpoint = kubernetes_endpoint
        self.fleet: FleetSide | None = None  # set by the fleet itself, which must know the clusters
        self.clusters: dict[str, Json] = {}
        self._operations = Operations(projects, emit_audit)
        self.failures = Failures()
        self.missing_zones: dict[str, set[str]] = {}
        self.hidden_from_list: set[str] = set()
        self.hidden_from_get: set[str] = set()
        self.stale: dict[str, Json] = {}
        self.labels_without_operation = False

    async def cancel(self) -> None:
        """Cancel running work."""
        await self._operations.tasks.close()

    @property
    def operations(self) -> dict[str, Json]:
        """All operations by full name."""
        return self._operations.all

    # What tests and people ask for

    def fail_next(
        self, what: str, *, cluster: str = "*", message: str = "a failure that was asked for", status: str = "ERROR"
    ) -> None:
        """Make the next `create` or `delete` (of a cluster whose full name matches) end in an operation's error.

        The cluster is then in `status`: ERROR after a create; after a delete it may also be RUNNING or DEGRADED again.
        """
        if what not in METHODS:
            raise ValueError(f"{what!r} is not one of {', '.join(METHODS)}")
        self.failures.add(Failure(METHODS[what], cluster, message, CODES["INTERNAL"], status))

    async def set_status(self, name: str, status: str, message: str = "") -> None:
        """Set a cluster's status, without an event. A cluster that runs for the first time gets its Kubernetes API."""
        if status not in STATUSES:
            raise ValueError(f"status {status!r} is not one of {', '.join(STATUSES)}")
        cluster = self.cluster(name)
        if status in ALIVE and "endpoint" not in cluster:
            await self._serve(cluster)
        cluster["status"] = status
        cluster.pop("statusMessage", None)
        if message:
            cluster["statusMessage"] = message
        touch(cluster)

    def finish(self, name: str) -> None:
        """End the operation that runs on a cluster now, however long it was to take."""
        self._operations.end(name)

    def shut_project(self, project: str) -> None:
        """From now on every call about this project answers 403, as for a deleted project."""
        self.projects.shut.add(self.projects.id(project))

    # What the API does, also for callers in this process; `authorize` checks the sender of a call

    def cluster(self, name: str) -> Json:
        """Return the cluster itself, not a copy; 404 if it does not exist."""
        if name not in self.clusters:
            raise GoogleError(404, f"Not found: {name}.")
        return self.clusters[name]

    def create(
        self,
        project: str,
        location: str,
        cluster: Json,
        *,
        caller: str = PERSON,
        version: str = "v1",
        authorize: Authorize | None = None,
        seconds: float | None = None,
    ) -> Json:
        """Start to make a cluster; return the operation."""
        asked = {key: deepcopy(value) for key, value in cluster.items() if key not in OUTPUT_ONLY}
        parent = f"projects/{project}/locations/{location}"
        id_ = str(asked.get("name", ""))
        call = AuditedCall(
            "CreateCluster", project, location, id_, caller, {"cluster": deepcopy(asked), "parent": parent}, version
        )
        name = cluster_name(project, location, id_)
        with self._audited(call, authorize):
            check_new(location, asked)
            host = asked.get("fleet", {}).get("project")
            if host:
                self._fleet_project(host)
                asked["fleet"] = {"project": host}
            else:
                asked.pop("fleet", None)
            if name in self.clusters:
                raise GoogleError(409, f"Already exists: {name}.")
            made = self.clusters[name] = new_cluster(project, location, asked)
            operation = self._operations.begin(call, "CREATE_CLUSTER")

        async def finish() -> str | None:
            message = self._failed(call)
            if message is None:
                try:
                    await self._serve(made)
                except Exception as error:  # whatever keeps its Kubernetes API from starting is the cluster's failure
                    message = f"{type(error).__name__}: {error}"
            made["status"] = "RUNNING" if message is None else "ERROR"
            for pool in made["nodePools"]:
                pool["status"] = made["status"]
            if message is not None:
                made["statusMessage"] = message
            touch(made)
            if message is None and host:
                await self._enrol(name, host)
            return message

        self._operations.finish_later(
            call, operation, self._duration("create", name) if seconds is None else seconds, finish
        )
        return deepcopy(operation)

    def delete(
        self,
        name: str,
        *,
        caller: str = PERSON,
        version: str = "v1",
        authorize: Authorize | None = None,
        seconds: float | None = None,
    ) -> Json:
        """Start to delete a cluster; return the operation."""
        call = self._call("DeleteCluster", name, caller, {"name": name}, version)
        with self._audited(call, authorize):
            cluster = self._changeable(name)
            cluster["status"] = "STOPPING"
            touch(cluster)
            operation = self._operations.begin(call, "DELETE_CLUSTER")

        async def finish() -> str | None:
            failure = self._failure(call)
            if failure is not None:
                cluster["status"] = failure.status
                cluster["statusMessage"] = failure.message
                touch(cluster)
                return failure.message
            del self.clusters[name]
            if self.fleet is not None:
                self.fleet.cluster_gone(cluster)
            await call_hook(self.on_cluster_gone, cluster)
            return None

        self._operations.finish_later(
            call, operation, self._duration("delete", name) if seconds is None else seconds, finish
        )
        return deepcopy(operation)

    def set_labels(
        self,
        name: str,
        resource_labels: Json,
        fingerprint: str | None = None,
        *,
        caller: str = PERSON,
        version: str = "v1",
        authorize: Authorize | None = None,
    ) -> Json:
        """Replace all labels, as `gcloud container clusters update --update-labels` does.

        None as fingerprint stands for the current one.
        """
        asked = {"name": name, "resourceLabels": resource_labels, "labelFingerprint": fingerprint or ""}
        call = self._call("SetLabels", name, caller, asked, version)
        with self._audited(call, authorize):
            cluster = self._changeable(name)
            new = labels.checked(resource_labels)
            if fingerprint is not None and fingerprint != cluster["labelFingerprint"]:
                raise GoogleError(400, "Labels could not be set due to fingerprint mismatch.", "FAILED_PRECONDITION")
            if self.labels_without_operation:
                set_labels(cluster, new)
                self.emit_audit(call.at_once())
                operation = self._operations.new(call, "SET_LABELS")
                operation.update(status="DONE", endTime=now())
                return deepcopy(operation)
            operation = self._operations.begin(call, "SET_LABELS")

        async def finish() -> str | None:
            message = self._failed(call)
            if message is None:
                set_labels(cluster, new)
            return message

        self._operations.finish_later(call, operation, self._duration("update", name), finish)
        return deepcopy(operation)

    def update(
        self,
        name: str,
        update: Json,
        *,
        caller: str = PERSON,
        version: str = "v1",
        authorize: Authorize | None = None,
    ) -> Json:
        """Change a cluster. `desiredFleet` registers or unregisters it; every other change only takes time."""
        call = self._call("UpdateCluster", name, caller, {"name": name, "update": deepcopy(update)}, version)
        with self._audited(call, authorize):
            cluster = self._changeable(name)
            if not update:
                raise GoogleError(400, "Must specify a field to update.")
            desired = update.get("desiredFleet")
            host = (desired or {}).get("project", "")
            if host:
                self._fleet_project(host)
                if cluster.get("fleet", {}).get("membership"):
                    raise GoogleError(400, f"Cluster {name} is already registered to a fleet.", "FAILED_PRECONDITION")
            cluster["status"] = "RECONCILING"
            touch(cluster)
            operation = self._operations.begin(call, "UPDATE_CLUSTER")

        async def finish() -> str | None:
            message = self._failed(call)
            cluster["status"] = "RUNNING"
            touch(cluster)
            if message is None and host:
                await self._enrol(name, host)
            elif message is None and desired is not None and self.fleet is not None:
                self.fleet.withdraw(cluster)
            return message

        self._operations.finish_later(call, operation, self._duration("update", name), finish)
        return deepcopy(operation)

    # Inside

    def _call(self, method: str, name: str, caller: str, request: Json, version: str) -> AuditedCall:
        match = NAME.fullmatch(name)
        if match is None:
            raise GoogleError(400, f'Invalid cluster name "{name}".')
        return AuditedCall(method, match[1], match[2], match[3], caller, request, version)

    @contextmanager
    def _audited(self, call: AuditedCall, authorize: Authorize | None) -> Iterator[None]:
        """Check the permission; a refusal writes its audit entry."""
        try:
            if authorize is not None:
                authorize(call)
            yield
        except GoogleError as error:
            if error.code != 401:  # without an identity there is nobody to write an entry about
                self.emit_audit(call.refused(error))
            raise

    async def _serve(self, cluster: Json) -> None:
        """Start a cluster's Kubernetes API, and set its endpoint."""
        await call_hook(self.on_cluster_running, cluster)
        if self.kubernetes_endpoint is not None:
            cluster["endpoint"], authority = self.kubernetes_endpoint(full_name(cluster))
            cluster["masterAuth"] = {"clusterCaCertificate": base64.b64encode(authority.encode()).decode()}

    def _changeable(self, name: str) -> Json:
        """Return a cluster that nothing else is happening to: GKE runs one operation on a cluster at a time."""
        cluster = self.cluster(name)
        busy = self._operations.busy.get(name)
        if busy is not None:
            message = f"Cluster is running incompatible operation {busy['name']}."
            raise GoogleError(400, message, "FAILED_PRECONDITION")
        if cluster["status"] in ("PROVISIONING", "STOPPING"):
            raise GoogleError(400, f"Cluster {name} is {cluster['status']}.", "FAILED_PRECONDITION")
        return cluster

    def _duration(self, what: str, name: str) -> float:
        return self.seconds.get(f"{what} {name}", self.seconds[what])

    def _failure(self, call: AuditedCall) -> Failure | None:
        return self.failures.take(call.method, cluster_name(call.project, call.location, call.cluster))

    def _failed(self, call: AuditedCall) -> str | None:
        return getattr(self._failure(call), "message", None)

    def _fleet_project(self, project: str) -> str:
        try:
            return self.projects.id(project)
        except GoogleError as error:
            raise GoogleError(400, f"Fleet host project {project} does not exist or cannot be used.") from error

    async def _enrol(self, name: str, host: str) -> None:
        """Register the cluster with the fleet; the cluster's operation does not wait for it."""
        seconds = self._duration("enrol", name)

        async def run() -> None:
            await asyncio.sleep(seconds)
            if self.fleet is not None and name in self.clusters:
                self.fleet.enrol(name, self.projects.id(host))

        if seconds:
            self._operations.tasks.start(run())
        else:
            await run()

    def log_update(self, name: str, caller: str, update: Json) -> None:
        """Write the entries of an UpdateCluster that Google itself made and that is already done."""
        call = self._call("UpdateCluster", name, caller, {"name": name, "update": update}, "v1")
        self._operations.at_once(call, "UPDATE_CLUSTER")

    def lists(self, project: str, location: str) -> Json:
        """Return the answer to a list; `-` stands for all locations."""
        missing = sorted(
            zone
            for zone in self.missing_zones.get(project, ())
            if location in ("-", zone) or zone.startswith(f"{location}-")
        )

        def reachable(where: str) -> bool:
            return not any(
                where == zone or zone.startswith(f"{where}-") or where.startswith(f"{zone}-") for zone in missing
            )

        truth = {name: cluster for name, cluster in self.clusters.items() if name not in self.hidden_from_list}
        found = [
            cluster
            for name, cluster in sorted((truth | self.stale).items())
            if name.startswith(f"projects/{project}/")
            and location in ("-", cluster["location"])
            and reachable(cluster["location"])
        ]
        answer: Json = {"clusters": found} if found else {}
        return answer | ({"missingZones": missing} if missing else {})
