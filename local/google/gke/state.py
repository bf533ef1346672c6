"""The GKE API (container v1, and the beta versions that gcloud calls) with the state of all clusters of all projects.

Fields and rules follow the discovery document container.v1 and google.cloud.container_v1's types. A cluster's Kubernetes
API is not here: the composition makes and drops it when `on_cluster_running` and `on_cluster_gone` are called. Left out:
nodes, upgrades, networks and every other part of a cluster that nobody here reads (what was asked for is kept and shown).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import inspect
import json
import re
import secrets
import time
import uuid
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google import labels
from local.google.audit import CODES, AuditedCall
from local.google.wire import GoogleError, google_api, json_body, require

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.requests import Request

    from local.google.fleet import Fleet
    from local.google.iam import Iam
    from local.google.platform import Projects

Json = dict[str, Any]

API = "https://container.googleapis.com/v1"
PERSON = "you@example.com"
VERSION = "1.33.5-gke.1080000"
LOCATION = re.compile(r"[a-z]+-[a-z]+\d+(-[a-z])?")
CLUSTER_ID = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
NAME = re.compile(r"projects/([^/]+)/(?:locations|zones)/([^/]+)/clusters/([^/]+)")
ALIVE = ("RUNNING", "RECONCILING", "DEGRADED")
STATUSES = (*ALIVE, "PROVISIONING", "STOPPING", "ERROR")
# What the service fills in: nothing that a caller sends there counts.
OUTPUT_ONLY = [
    "conditions",
    "createTime",
    "currentMasterVersion",
    "currentNodeCount",
    "currentNodeVersion",
    "endpoint",
    "etag",
    "expireTime",
    "id",
    "labelFingerprint",
    "location",
    "selfLink",
    "status",
    "statusMessage",
    "zone",
]


def is_zone(location: str) -> bool:
    """Whether a location is a zone and not a region."""
    return location.count("-") == 2


def region(location: str) -> str:
    """Return the region that a zone or region lies in."""
    return location.rpartition("-")[0] if is_zone(location) else location


def collection(location: str) -> str:
    """Return the path element that GKE's links use: a zonal cluster's say `zones`."""
    return "zones" if is_zone(location) else "locations"


def cluster_name(project: str, location: str, cluster: str) -> str:
    """Return the full name by which everything here knows a cluster."""
    return f"projects/{project}/locations/{location}/clusters/{cluster}"


def full_name(cluster: Json) -> str:
    """Return a cluster's full name, which only its link tells (and that says `zones` of zonal clusters)."""
    return str(cluster["selfLink"]).removeprefix(f"{API}/").replace("/zones/", "/locations/")


@dataclass
class Failure:
    """A change that will end badly: of the first cluster that `cluster` (a shell pattern on the full name) matches."""

    method: str
    cluster: str
    message: str
    status: str


class Gke:
    """All clusters, what happens to them, and the API in front of them (`app`).

    For tests and people (all of it may be changed at any time):
    `seconds` — how long a change takes: keys `create`, `delete`, `update`, `enrol`, and `"create projects/…"` for one
    cluster. `missing_zones` — project id → zones or regions that a list cannot reach. `hidden_from_list`,
    `hidden_from_get` — full names left out of an answer. `stale` — full name → the cluster as get and list tell it
    instead of the truth. `labels_without_operation` — SetLabels leaves one audit entry, without an operation, as some do.
    Methods: `fail_next`, `set_status`, `shut_project`.
    """

    def __init__(
        self,
        iam: Iam,
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
        self.iam = iam
        self.projects = projects
        self.emit_audit = emit_audit
        self.seconds = {"create": create_seconds, "delete": delete_seconds, "update": update_seconds, "enrol": 0.0}
        self.on_cluster_running = on_cluster_running
        self.on_cluster_gone = on_cluster_gone
        self.kubernetes_endpoint = kubernetes_endpoint
        self.fleet: Fleet | None = None  # set by the fleet itself, which must know the clusters
        self.clusters: dict[str, Json] = {}
        self.operations: dict[str, Json] = {}
        self.failures: list[Failure] = []
        self.missing_zones: dict[str, set[str]] = {}
        self.hidden_from_list: set[str] = set()
        self.hidden_from_get: set[str] = set()
        self.stale: dict[str, Json] = {}
        self.labels_without_operation = False
        self._busy: dict[str, Json] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.app = google_api(self._routes())

    async def close(self) -> None:
        """Let go of what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What tests and people ask for

    def fail_next(
        self, what: str, *, cluster: str = "*", message: str = "a failure that was asked for", status: str = "ERROR"
    ) -> None:
        """Make the next `create` or `delete` (of a cluster whose full name matches) end in an operation's error.

        The cluster is then in `status`: ERROR after a create; after a delete it may also be RUNNING or DEGRADED again.
        """
        methods = {
            "create": "CreateCluster",
            "delete": "DeleteCluster",
            "update": "UpdateCluster",
            "labels": "SetLabels",
        }
        self.failures.append(Failure(methods[what], cluster, message, status))

    def set_status(self, name: str, status: str, message: str = "") -> None:
        """Say of a cluster that it is in another status. No event tells of it."""
        if status not in STATUSES:
            raise ValueError(f"status {status!r} is none of {', '.join(STATUSES)}")
        cluster = self.cluster(name)
        cluster["status"] = status
        cluster.pop("statusMessage", None)
        if message:
            cluster["statusMessage"] = message
        _touch(cluster)

    def shut_project(self, project: str) -> None:
        """From now on every call about this project answers 403, as for a deleted project."""
        self.projects.shut.add(self.projects.id(project))

    # What the API does, also for callers in this process; `request` is the call whose sender must be allowed to do it

    def cluster(self, name: str) -> Json:
        """Return the cluster as it is, not a copy; 404 if it is not there."""
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
        request: Request | None = None,
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
        with self._audited(call, request):
            if not LOCATION.fullmatch(location):
                raise GoogleError(400, f'Location "{location}" does not exist.')
            if not CLUSTER_ID.fullmatch(id_):
                raise GoogleError(
                    400,
                    f'Invalid value for field "cluster.name": "{id_}". Must be a match of regex '
                    "'(?:[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?)' (only alphanumerics and '-' allowed, must start with a "
                    "letter and end with an alphanumeric, and must be no longer than 40 characters).",
                )
            if asked.get("autopilot", {}).get("enabled") and is_zone(location):
                raise GoogleError(400, "Autopilot clusters must be regional clusters.")
            labels.checked(asked.get("resourceLabels", {}))
            host = asked.get("fleet", {}).get("project")
            if host:
                self._fleet_project(host)
                asked["fleet"] = {"project": host}
            else:
                asked.pop("fleet", None)
            if name in self.clusters:
                raise GoogleError(409, f"Already exists: {name}.")
            made = self.clusters[name] = self._new(project, location, asked)
            operation = self._begin(call, "CREATE_CLUSTER")

        async def finish() -> str | None:
            message = self._failed(call)
            if message is None:
                try:
                    await _settled(self.on_cluster_running, made)
                    if self.kubernetes_endpoint is not None:
                        made["endpoint"], authority = self.kubernetes_endpoint(name)
                        made["masterAuth"] = {"clusterCaCertificate": base64.b64encode(authority.encode()).decode()}
                except Exception as error:  # whatever keeps its Kubernetes API from starting is the cluster's failure
                    message = f"{type(error).__name__}: {error}"
            made["status"] = "RUNNING" if message is None else "ERROR"
            for pool in made["nodePools"]:
                pool["status"] = made["status"]
            if message is not None:
                made["statusMessage"] = message
            _touch(made)
            if message is None and host:
                await self._enrol(name, host)
            return message

        self._finish_later(call, operation, self._duration("create", name) if seconds is None else seconds, finish)
        return deepcopy(operation)

    def delete(
        self,
        name: str,
        *,
        caller: str = PERSON,
        version: str = "v1",
        request: Request | None = None,
        seconds: float | None = None,
    ) -> Json:
        """Start to delete a cluster; return the operation."""
        call = self._call("DeleteCluster", name, caller, {"name": name}, version)
        with self._audited(call, request):
            cluster = self._changeable(name)
            cluster["status"] = "STOPPING"
            _touch(cluster)
            operation = self._begin(call, "DELETE_CLUSTER")

        async def finish() -> str | None:
            failure = self._failure(call)
            if failure is not None:
                cluster["status"] = failure.status
                cluster["statusMessage"] = failure.message
                _touch(cluster)
                return failure.message
            del self.clusters[name]
            if self.fleet is not None:
                self.fleet.cluster_gone(cluster)
            await _settled(self.on_cluster_gone, cluster)
            return None

        self._finish_later(call, operation, self._duration("delete", name) if seconds is None else seconds, finish)
        return deepcopy(operation)

    def set_labels(
        self,
        name: str,
        resource_labels: Json,
        fingerprint: str | None = None,
        *,
        caller: str = PERSON,
        version: str = "v1",
        request: Request | None = None,
    ) -> Json:
        """Replace all labels (`gcloud --update-labels` replaces them too); None as fingerprint stands for the current one."""
        asked = {"name": name, "resourceLabels": resource_labels, "labelFingerprint": fingerprint or ""}
        call = self._call("SetLabels", name, caller, asked, version)
        with self._audited(call, request):
            cluster = self._changeable(name)
            new = labels.checked(resource_labels)
            if fingerprint is not None and fingerprint != cluster["labelFingerprint"]:
                raise GoogleError(412, "Labels could not be set due to fingerprint mismatch.")
            if self.labels_without_operation:
                _set_labels(cluster, new)
                self.emit_audit(call.at_once())
                operation = self._operation(call, "SET_LABELS")
                operation.update(status="DONE", endTime=_now())
                return deepcopy(operation)
            operation = self._begin(call, "SET_LABELS")

        async def finish() -> str | None:
            message = self._failed(call)
            if message is None:
                _set_labels(cluster, new)
            return message

        self._finish_later(call, operation, self._duration("update", name), finish)
        return deepcopy(operation)

    def update(
        self,
        name: str,
        update: Json,
        *,
        caller: str = PERSON,
        version: str = "v1",
        request: Request | None = None,
    ) -> Json:
        """Change a cluster. `desiredFleet` lets it enter or leave a fleet; every other change takes time and does nothing."""
        call = self._call("UpdateCluster", name, caller, {"name": name, "update": deepcopy(update)}, version)
        with self._audited(call, request):
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
            _touch(cluster)
            operation = self._begin(call, "UPDATE_CLUSTER")

        async def finish() -> str | None:
            message = self._failed(call)
            cluster["status"] = "RUNNING"
            _touch(cluster)
            if message is None and host:
                await self._enrol(name, host)
            elif message is None and desired is not None and self.fleet is not None:
                self.fleet.withdraw(cluster)
            return message

        self._finish_later(call, operation, self._duration("update", name), finish)
        return deepcopy(operation)

    # Inside

    def _new(self, project: str, location: str, asked: Json) -> Json:
        now = _now()
        id_ = asked["name"]
        autopilot = bool(asked.get("autopilot", {}).get("enabled"))
        pools = asked.get("nodePools") or [
            {"name": "default-pool", "initialNodeCount": asked.get("initialNodeCount") or 1, "config": {}}
        ]
        link = f"{API}/projects/{project}/{collection(location)}/{location}/clusters/{id_}"
        for pool in pools:
            pool.setdefault("config", {})
            pool |= {"status": "PROVISIONING", "version": VERSION, "selfLink": f"{link}/nodePools/{pool['name']}"}
        cluster: Json = {
            "network": "default",
            "subnetwork": "default",
            "locations": [location] if is_zone(location) else [f"{location}-{zone}" for zone in "bcd"],
            "loggingService": "logging.googleapis.com/kubernetes",
            "monitoringService": "monitoring.googleapis.com/kubernetes",
            "releaseChannel": {"channel": "REGULAR"},
        }
        cluster |= asked
        cluster |= {
            "nodePools": pools,
            "autopilot": {"enabled": True} if autopilot else {},
            "resourceLabels": dict(asked.get("resourceLabels", {})),
            "id": secrets.token_hex(32),
            "selfLink": link,
            "location": location,
            "zone": location,
            "status": "PROVISIONING",
            "createTime": now,
            "initialClusterVersion": VERSION,
            "currentMasterVersion": VERSION,
            "currentNodeVersion": VERSION,
            "currentNodeCount": sum(int(pool.get("initialNodeCount") or 0) for pool in pools),
        }
        cluster["labelFingerprint"] = _fingerprint(cluster["resourceLabels"])
        if autopilot:  # https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity: always on there
            cluster["workloadIdentityConfig"] = {"workloadPool": f"{project}.svc.id.goog"}
        _touch(cluster)
        return cluster

    def _call(self, method: str, name: str, caller: str, request: Json, version: str) -> AuditedCall:
        match = NAME.fullmatch(name)
        if match is None:
            raise GoogleError(400, f'Invalid cluster name "{name}".')
        return AuditedCall(method, match[1], match[2], match[3], caller, request, version)

    @contextmanager
    def _audited(self, call: AuditedCall, request: Request | None) -> Iterator[None]:
        """Check the permission, and let a refusal leave its entry."""
        if request is not None:
            call.caller = request.scope.get("identity") or ""
        try:
            if request is not None:
                require(request, self.iam, call.permission, call.project)
            yield
        except GoogleError as error:
            if error.code != 401:  # without an identity there is nobody to write an entry about
                self.emit_audit(call.refused(error))
            raise

    def _changeable(self, name: str) -> Json:
        """Return a cluster that nothing else is happening to: GKE runs one operation on a cluster at a time."""
        cluster = self.cluster(name)
        if name in self._busy:
            message = f"Cluster is running incompatible operation {self._busy[name]['name']}."
            raise GoogleError(400, message, "FAILED_PRECONDITION")
        if cluster["status"] in ("PROVISIONING", "STOPPING"):
            raise GoogleError(400, f"Cluster {name} is {cluster['status']}.", "FAILED_PRECONDITION")
        return cluster

    def _operation(self, call: AuditedCall, kind: str) -> Json:
        # Links carry the project's number where everything else has the id.
        base = f"{API}/projects/{self.projects.number(call.project)}/{collection(call.location)}/{call.location}"
        operation = {
            "name": f"operation-{int(time.time() * 1000)}-{uuid.uuid4()}",
            "zone": call.location,
            "location": call.location,
            "operationType": kind,
            "status": "RUNNING",
            "targetLink": f"{base}/clusters/{call.cluster}",
            "startTime": _now(),
        }
        operation["selfLink"] = f"{base}/operations/{operation['name']}"
        self.operations[f"projects/{call.project}/locations/{call.location}/operations/{operation['name']}"] = operation
        return operation

    def _begin(self, call: AuditedCall, kind: str) -> Json:
        operation = self._busy[cluster_name(call.project, call.location, call.cluster)] = self._operation(call, kind)
        self.emit_audit(call.started(operation))
        return operation

    def _finish_later(
        self, call: AuditedCall, operation: Json, seconds: float, finish: Callable[[], Awaitable[str | None]]
    ) -> None:
        """After `seconds` do the rest; what `finish` returns is the operation's error."""

        async def run() -> None:
            await asyncio.sleep(seconds)
            message = await finish()
            if message is not None:
                operation["statusMessage"] = message
                operation["error"] = {"code": CODES["INTERNAL"], "message": message}
            operation.update(status="DONE", endTime=_now())
            self._busy.pop(cluster_name(call.project, call.location, call.cluster), None)
            self.emit_audit(call.finished(operation))

        self._start(run())

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _duration(self, what: str, name: str) -> float:
        return self.seconds.get(f"{what} {name}", self.seconds[what])

    def _failure(self, call: AuditedCall) -> Failure | None:
        name = cluster_name(call.project, call.location, call.cluster)
        for failure in self.failures:
            if failure.method == call.method and fnmatchcase(name, failure.cluster):
                self.failures.remove(failure)
                return failure
        return None

    def _failed(self, call: AuditedCall) -> str | None:
        failure = self._failure(call)
        return None if failure is None else failure.message

    def _fleet_project(self, project: str) -> str:
        try:
            return self.projects.id(project)
        except GoogleError as error:
            raise GoogleError(400, f"Fleet host project {project} does not exist or cannot be used.") from error

    async def _enrol(self, name: str, host: str) -> None:
        """Let the fleet take the cluster in; where that takes time, the cluster's operation does not wait for it."""
        seconds = self._duration("enrol", name)

        async def run() -> None:
            await asyncio.sleep(seconds)
            if self.fleet is not None and name in self.clusters:
                self.fleet.enrol(name, self.projects.id(host))

        if seconds:
            self._start(run())
        else:
            await run()

    def tell_update(self, name: str, caller: str, update: Json) -> None:
        """Write the entries of an UpdateCluster that Google itself made and that is already done."""
        call = self._call("UpdateCluster", name, caller, {"name": name, "update": update}, "v1")
        operation = self._operation(call, "UPDATE_CLUSTER")
        self.emit_audit(call.started(operation))
        operation.update(status="DONE", endTime=_now())
        self.emit_audit(call.finished(operation))

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

    # The wire

    def _routes(self) -> list[Route]:
        routes = []
        # `zones/` is the older form of every path (container.v1, projects.zones), which clients still send.
        for kind in ("locations", "zones"):
            base = "/{version}/projects/{project}/" + kind + "/{location}"
            one = base + "/clusters/{cluster}"
            routes += [
                Route(base + "/serverConfig", self._server_config),
                Route(base + "/serverconfig", self._server_config),
                Route(base + "/operations/{operation}", self._get_operation),
                Route(base + "/operations", self._list_operations),
                Route(base + "/clusters", self._create, methods=["POST"]),
                Route(base + "/clusters", self._list),
                Route(one + "/nodePools", self._node_pools),
                Route(one + "/resourceLabels", self._set_labels, methods=["POST"]),
                Route(one + ":setResourceLabels", self._set_labels, methods=["POST"]),
                Route(one, self._get),
                Route(one, self._update, methods=["PUT"]),
                Route(one, self._delete, methods=["DELETE"]),
            ]
        return routes

    def _place(self, request: Request) -> tuple[str, str, str]:
        """Return project id, location and version; a project that is not there or shut is refused here."""
        version = request.path_params["version"]
        if version not in ("v1", "v1beta1", "v1alpha1"):
            raise GoogleError(404, f"no such version of the API: {version}")
        return self.projects.id(request.path_params["project"]), request.path_params["location"], version

    def _named(self, request: Request) -> tuple[str, str]:
        project, location, version = self._place(request)
        return cluster_name(project, location, request.path_params["cluster"]), version

    async def _create(self, request: Request) -> JSONResponse:
        project, location, version = self._place(request)
        body = await json_body(request)
        cluster = body.get("cluster")
        if not isinstance(cluster, dict):
            raise GoogleError(400, "Must specify a cluster.")
        return JSONResponse(self.create(project, location, cluster, version=version, request=request))

    async def _delete(self, request: Request) -> JSONResponse:
        name, version = self._named(request)
        return JSONResponse(self.delete(name, version=version, request=request))

    async def _set_labels(self, request: Request) -> JSONResponse:
        name, version = self._named(request)
        body = await json_body(request)
        asked, fingerprint = body.get("resourceLabels", {}), body.get("labelFingerprint", "")
        return JSONResponse(self.set_labels(name, asked, fingerprint, version=version, request=request))

    async def _update(self, request: Request) -> JSONResponse:
        name, version = self._named(request)
        update = (await json_body(request)).get("update", {})
        return JSONResponse(self.update(name, update, version=version, request=request))

    async def _get(self, request: Request) -> JSONResponse:
        name, _ = self._named(request)
        require(request, self.iam, "container.clusters.get", name.split("/")[1])
        if name in self.stale:
            return JSONResponse(self.stale[name])
        if name in self.hidden_from_get:
            raise GoogleError(404, f"Not found: {name}.")
        return JSONResponse(self.cluster(name))

    async def _list(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request)
        require(request, self.iam, "container.clusters.list", project)
        return JSONResponse(self.lists(project, location))

    async def _node_pools(self, request: Request) -> JSONResponse:
        name, _ = self._named(request)
        require(request, self.iam, "container.clusters.get", name.split("/")[1])
        return JSONResponse({"nodePools": self.cluster(name)["nodePools"]})

    async def _server_config(self, request: Request) -> JSONResponse:
        project, _, _ = self._place(request)
        require(request, self.iam, "container.clusters.list", project)
        channel = {"channel": "REGULAR", "defaultVersion": VERSION, "validVersions": [VERSION]}
        return JSONResponse(
            {
                "channels": [channel],
                "defaultClusterVersion": VERSION,
                "defaultImageType": "COS_CONTAINERD",
                "validImageTypes": ["COS_CONTAINERD", "UBUNTU_CONTAINERD"],
                "validMasterVersions": [VERSION],
                "validNodeVersions": [VERSION],
            }
        )

    async def _get_operation(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request)
        require(request, self.iam, "container.operations.get", project)
        name = f"projects/{project}/locations/{location}/operations/{request.path_params['operation']}"
        if name not in self.operations:
            raise GoogleError(404, f"Not found: {name}.")
        return JSONResponse(self.operations[name])

    async def _list_operations(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request)
        require(request, self.iam, "container.operations.list", project)
        found = [
            operation
            for name, operation in self.operations.items()
            if name.startswith(f"projects/{project}/") and location in ("-", operation["location"])
        ]
        return JSONResponse({"operations": found} if found else {})


async def _settled(hook: Callable[[Json], Awaitable[None] | None] | None, cluster: Json) -> None:
    """Call a hook, which may be a plain function or a coroutine."""
    result = hook(deepcopy(cluster)) if hook is not None else None
    if inspect.isawaitable(result):
        await result


def _set_labels(cluster: Json, resource_labels: dict[str, str]) -> None:
    cluster["resourceLabels"] = resource_labels
    cluster["labelFingerprint"] = _fingerprint(resource_labels)
    _touch(cluster)


def _fingerprint(resource_labels: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(resource_labels, sort_keys=True).encode()).hexdigest()[:8]


def _touch(cluster: Json) -> None:
    """Give the cluster a new etag: it has changed."""
    cluster["etag"] = str(uuid.uuid4())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
