"""The fleet API (gkehub v1, and the beta versions that gcloud calls): memberships, with the state of every fleet.

Fields and rules follow the discovery document gkehub.v1 and google.cloud.gkehub_v1's types. Left out: features, scopes,
fleets as resources, IAM policies of memberships. Membership bindings exist as far as they keep a membership from being
deleted. Clusters that are not GKE are registered by an agent that `gcloud` installs; here `attach` does it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import time
import uuid
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google import labels
from local.google.audit import CODES
from local.google.gke import ALIVE, LOCATION, VERSION, cluster_name, full_name, region
from local.google.wire import GoogleError, google_api, json_body, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from local.google.gke import Gke
    from local.google.iam import Iam
    from local.google.platform import Projects

Json = dict[str, Any]

CONTAINER = "container.googleapis.com"
PREFIX = "//gkehub.googleapis.com/"
MEMBERSHIP_ID = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)/memberships/([^/]+)")
CLUSTER = re.compile(r"projects/([^/]+)/locations/([^/]+)/clusters/([^/]+)")
TERM = re.compile(r'(NOT\s+|-)?([\w.-]+)\s*(!=|=|:)\s*("[^"]*"|\S+)')
# What the messages have in v1: an unknown name is an error in Google's JSON, not a thing to be overlooked.
MEMBERSHIP_FIELDS = [
    "authority",
    "clusterTier",
    "createTime",
    "deleteTime",
    "description",
    "endpoint",
    "externalId",
    "labels",
    "lastConnectionTime",
    "membershipType",
    "monitoringConfig",
    "name",
    "state",
    "uniqueId",
    "updateTime",
]
ENDPOINT_FIELDS = [
    "applianceCluster",
    "edgeCluster",
    "gkeCluster",
    "googleManaged",
    "kubernetesMetadata",
    "kubernetesResource",
    "multiCloudCluster",
    "onPremCluster",
]
PATCHABLE = ("authority", "description", "externalId", "labels")


class Fleet:
    """All memberships, what happens to them, and the API in front of them (`app`).

    For tests and people (all of it may be changed at any time): `operation_seconds` — how long a change takes;
    `clear_seconds` — how long `cluster.fleet` still names a membership that is gone; `unreachable` — locations that a list
    cannot reach; `hidden_from_list`, `hidden_from_get` — names left out of an answer; `no_access` — projects in which the
    fleet's service agent may not read clusters; `removes_google_managed` — whether a membership that GKE made goes with its
    cluster (every other one stays, `clusterMissing`); `updates_cluster` — whether registering writes the audit entries of an
    UpdateCluster; `container_host` — host, and path if any, of the override of the GKE
    API that gcloud is given: it writes that into resource links.
    Methods: `attach`, `disconnect`, `reconnect`, `detach`, `refresh`, `set_state`, `fail_next`.
    """

    def __init__(
        self,
        iam: Iam,
        projects: Projects,
        gke: Gke,
        *,
        emit_membership: Callable[[str, Json], None],
        operation_seconds: float = 0.0,
        clear_seconds: float = 0.0,
        container_host: str = "",
    ) -> None:
        self.iam = iam
        self.projects = projects
        self.gke = gke
        gke.fleet = self
        self.emit_membership = emit_membership
        self.operation_seconds = operation_seconds
        self.clear_seconds = clear_seconds
        self.container_host = container_host
        self.memberships: dict[str, Json] = {}
        self.bindings: dict[str, dict[str, Json]] = {}
        self.operations: dict[str, Json] = {}
        self.unreachable: set[str] = set()
        self.hidden_from_list: set[str] = set()
        self.hidden_from_get: set[str] = set()
        self.no_access: set[str] = set()
        self.removes_google_managed = True
        self.updates_cluster = False
        self._failures: list[tuple[str, str, int, str]] = []
        self._requests: dict[tuple[str, str], str] = {}
        self._disconnected: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.app = google_api(self._routes())

    async def close(self) -> None:
        """Let go of what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What tests and people ask for

    def attach(
        self,
        name: str,
        location: str = "global",
        resource_labels: dict[str, str] | None = None,
        *,
        project: str,
        external_id: str | None = None,
    ) -> Json:
        """Make the membership of a cluster that is not GKE, as its agent does; it is READY and connected at once."""
        full = f"projects/{self.projects.id(project)}/locations/{location}/memberships/{name}"
        self._check_id(full)
        now = _now()
        membership = self._new(full, {"labels": labels.checked(resource_labels or {})})
        membership |= {
            "externalId": external_id or str(uuid.uuid4()),
            "lastConnectionTime": now,
            "state": {"code": "READY"},
            "endpoint": {"kubernetesMetadata": _kubernetes_metadata(now)},
            "authority": self._authority(full, f"https://kubernetes.default.svc/{name}"),
        }
        self.memberships[full] = membership
        self.emit_membership("created", deepcopy(membership))
        return deepcopy(membership)

    def disconnect(self, name: str, *, ago: float = 3600.0, state: str = "READY") -> None:
        """The agent is lost: since `ago` seconds nothing was heard of it. The gateway must answer 404 for it."""
        membership = self.membership(name)
        self._disconnected.add(name)
        membership["lastConnectionTime"] = _now(-ago)
        membership["state"] = {"code": state}
        self._touch(membership)

    def reconnect(self, name: str) -> None:
        """The agent is back."""
        membership = self.membership(name)
        self._disconnected.discard(name)
        membership["lastConnectionTime"] = _now()
        membership["state"] = {"code": "READY"}
        self._touch(membership)

    def set_state(self, name: str, code: str) -> None:
        """Say of a membership that it is in another state; an event tells of it."""
        membership = self.membership(name)
        membership["state"] = {"code": code}
        self._touch(membership)

    def connected(self, name: str) -> bool:
        """Whether the gateway reaches a membership: it is there, and its agent (where it has one) is connected."""
        return name in self.memberships and name not in self._disconnected

    def detach(self, name: str) -> None:
        """Take a membership away at once, whatever it is."""
        self._remove(self.membership(name))

    def refresh(self, name: str) -> None:
        """Google has looked at the cluster's versions again: `updateTime` moves, and an event tells of it."""
        membership = self.membership(name)
        membership.setdefault("endpoint", {})["kubernetesMetadata"] = _kubernetes_metadata(_now())
        self._touch(membership)

    def fail_next(
        self,
        verb: str,
        *,
        membership: str = "*",
        code: int = CODES["INTERNAL"],
        message: str = "a failure that was asked for",
    ) -> None:
        """Make the operation of the next `create` or `delete` (of a name that matches) end in an error."""
        self._failures.append((verb, membership, code, message))

    # What happens on the side of GKE

    def enrol(self, cluster: str, project: str) -> Json:
        """GKE registers a cluster that was made for a fleet; the id is the cluster's name, or another one if that is taken."""
        found = self.gke.cluster(cluster)
        _, where, id_ = _parts(CLUSTER, cluster)
        name = f"projects/{project}/locations/{region(where)}/memberships/{id_}"
        if name in self.memberships:
            name = f"{name[: len(name) - len(id_)]}{id_[:54]}-{secrets.token_hex(4)}"
        now = _now()
        membership = self._new(name, {})
        membership |= {
            "state": {"code": "READY"},
            "endpoint": {
                "gkeCluster": {"resourceLink": f"//{CONTAINER}/{cluster}"},
                "kubernetesMetadata": _kubernetes_metadata(now),
                "googleManaged": True,
            },
        }
        if "workloadIdentityConfig" in found:
            membership["authority"] = self._authority(name, f"https://{CONTAINER}/v1/{cluster}")
        self.memberships[name] = membership
        self._tell_cluster(membership, pre_registered=False)
        self.emit_membership("created", deepcopy(membership))
        return membership

    def withdraw(self, cluster: Json) -> None:
        """GKE takes a cluster out of its fleet (`--clear-fleet-project`)."""
        name = self._canonical(cluster.get("fleet", {}).get("membership", "").removeprefix(PREFIX))
        cluster.pop("fleet", None)
        if name in self.memberships:
            self._remove(self.memberships[name])

    def cluster_gone(self, cluster: Json) -> None:
        """A cluster is deleted: what GKE registered goes with it, the rest stays and says so."""
        link = f"//{CONTAINER}/{full_name(cluster)}"
        for membership in [m for m in self.memberships.values() if _link(m) == link]:
            if membership["endpoint"].get("googleManaged") and self.removes_google_managed:
                self._remove(membership)
            else:
                membership["endpoint"]["gkeCluster"]["clusterMissing"] = True
                self._touch(membership)

    # What the API does, also for callers in this process

    def membership(self, name: str) -> Json:
        """Return the membership as it is, not a copy; 404 if it is not there."""
        if name not in self.memberships:
            raise GoogleError(404, f"Resource '{name}' was not found")
        return self.memberships[name]

    def create(self, name: str, asked: Json, *, request_id: str = "", version: str = "v1") -> Json:
        """Start to register; return the operation. What is known to be wrong only later stands in the operation."""
        if request_id and (name, request_id) in self._requests:
            return deepcopy(self.operations[self._requests[name, request_id]])
        self._check_id(name)
        _check_fields(asked)
        membership = self._new(name, {key: deepcopy(asked[key]) for key in (*PATCHABLE, "endpoint") if key in asked})
        membership["labels"] = labels.checked(membership.get("labels", {}))
        link = self._check_cluster(membership)
        operation = self._begin(name, "create", version)
        if request_id:
            self._requests[name, request_id] = operation["name"]
        taken = self._registered_as(link) if link else None
        if taken:
            cluster = link.removeprefix(f"//{CONTAINER}/")
            message = (
                f"failed to create membership: intend to register cluster {cluster} with resource {PREFIX}{name}, but the "
                f"cluster is already registered with resource {taken}"
            )
            self._later(self.operation_seconds, lambda: self._end(operation, error=(CODES["ALREADY_EXISTS"], message)))
            return deepcopy(operation)
        self.memberships[name] = membership

        def finish() -> None:
            if self.memberships.get(name) is not membership:
                self._end(operation, error=(CODES["ABORTED"], f"'{name}' was taken away meanwhile"))
                return
            failure = self._failure("create", name)
            if failure:
                del self.memberships[name]
                self._end(operation, error=failure)
                return
            membership["state"] = {"code": "READY"}
            now = membership["updateTime"] = _now()
            if link:
                membership["endpoint"]["kubernetesMetadata"] = _kubernetes_metadata(now)
                self._tell_cluster(membership, pre_registered=True)
            self._end(operation, response=membership)
            self.emit_membership("created", deepcopy(membership))

        self._later(self.operation_seconds, finish)
        return deepcopy(operation)

    def delete(self, name: str, *, force: bool = False, request_id: str = "", version: str = "v1") -> Json:
        """Start to take a membership out of the fleet; return the operation."""
        if request_id and (name, request_id) in self._requests:
            return deepcopy(self.operations[self._requests[name, request_id]])
        membership = self._changeable(name)
        if self.bindings.get(name) and not force:
            message = f"Resource '{name}' has nested resources. Set force to true to delete them too."
            raise GoogleError(400, message, "FAILED_PRECONDITION")
        if (
            membership.get("endpoint", {}).get("googleManaged")
            and _link(membership).split("/", 3)[3] in self.gke.clusters
        ):
            message = f"Membership '{name}' is managed by GKE. Unregister the cluster through the GKE API."
            raise GoogleError(400, message, "FAILED_PRECONDITION")
        membership["state"] = {"code": "DELETING"}
        operation = self._begin(name, "delete", version)
        if request_id:
            self._requests[name, request_id] = operation["name"]

        def finish() -> None:
            failure = self._failure("delete", name)
            if failure:
                membership["state"] = {"code": "READY"}
                self._end(operation, error=failure)
                return
            self._remove(membership)
            self._end(operation)

        self._later(self.operation_seconds, finish)
        return deepcopy(operation)

    def patch(self, name: str, asked: Json, paths: list[str], *, version: str = "v1") -> Json:
        """Start to change a membership; a path that is named is replaced as a whole."""
        membership = self._changeable(name)
        _check_fields(asked)
        if not paths:
            raise GoogleError(400, "update_mask is required.")
        for path in paths:
            if path not in PATCHABLE:
                raise GoogleError(400, f'Field "{path}" in update_mask is immutable or unknown.')
        new = {path: deepcopy(asked[path]) for path in paths if path in asked}
        if "labels" in paths:
            new["labels"] = labels.checked(new.get("labels", {}))
        if "authority" in new:
            self._check_issuer(membership, new)
        membership["state"] = {"code": "UPDATING"}
        operation = self._begin(name, "update", version)

        def finish() -> None:
            for path in paths:
                membership.pop(path, None)
            membership.update(new)
            membership["state"] = {"code": "READY"}
            self._touch(membership)
            self._end(operation, response=membership)

        self._later(self.operation_seconds, finish)
        return deepcopy(operation)

    def lists(self, project: str, location: str, *, where: str = "", size: int = 0, token: str = "") -> Json:
        """Return the answer to a list; `-` stands for all locations, size 0 for all there are."""
        wanted = _filter(where)
        found = [
            self._told(membership)
            for name, membership in sorted(self.memberships.items())
            if name.startswith(f"projects/{project}/")
            and location in ("-", name.split("/")[3])
            and name.split("/")[3] not in self.unreachable
            and name not in self.hidden_from_list
            and wanted(membership)
        ]
        try:
            start = int(token or 0)
        except ValueError as error:
            raise GoogleError(400, "Invalid page token.") from error
        page = found[start : start + size] if size else found[start:]
        answer: Json = {"resources": page} if page else {}
        if start + len(page) < len(found):
            answer["nextPageToken"] = str(start + len(page))
        lost = sorted(place for place in self.unreachable if location in ("-", place))
        return answer | ({"unreachable": lost} if lost else {})

    # Inside

    def _new(self, name: str, asked: Json) -> Json:
        now = _now()
        membership = asked | {
            "name": name,
            "state": {"code": "CREATING"},
            "createTime": now,
            "updateTime": now,
            "uniqueId": str(uuid.uuid4()),
        }
        issuer = membership.get("authority", {}).get("issuer")
        if issuer:
            membership["authority"] = self._authority(name, issuer) | membership["authority"]
        return membership

    def _authority(self, name: str, issuer: str) -> Json:
        return {
            "issuer": issuer,
            "workloadIdentityPool": f"{name.split('/')[1]}.svc.id.goog",
            "identityProvider": f"https://gkehub.googleapis.com/{name}",
        }

    def _check_id(self, name: str) -> None:
        _, location, id_ = _parts(NAME, name)
        if location != "global" and (not LOCATION.fullmatch(location) or region(location) != location):
            raise GoogleError(400, f"Location {location} is not found or access is unauthorized.")
        if not MEMBERSHIP_ID.fullmatch(id_):
            raise GoogleError(
                400, f'membership_id "{id_}" must match [a-z0-9]([-a-z0-9]*[a-z0-9])? and have at most 63 characters'
            )
        if name in self.memberships:
            raise GoogleError(409, f"Resource '{name}' already exists")

    def _check_cluster(self, membership: Json) -> str:
        """Make the resource link canonical, check that it names a living cluster, return it; "" if it is not GKE."""
        gke_cluster = membership.get("endpoint", {}).get("gkeCluster")
        if gke_cluster is None:
            return ""
        asked = str(gke_cluster.get("resourceLink", ""))
        name = next((asked[len(p) :] for p in self._link_prefixes() if asked.startswith(p)), "")
        match = CLUSTER.fullmatch(name)
        if match is None:
            raise GoogleError(
                400, f'InvalidValueError for field endpoint.gke_cluster.resource_link: invalid value "{asked}"'
            )
        project, location, id_ = match.groups()
        if project in self.no_access:
            raise GoogleError(
                403, f"hub default service account does not have access to the GKE cluster project for {asked}"
            )
        name = cluster_name(self.projects.id(project), location, id_)
        membership["endpoint"] = {"gkeCluster": {"resourceLink": f"//{CONTAINER}/{name}"}}
        self._check_issuer(membership, membership)
        cluster = self.gke.clusters.get(name)
        if cluster is None:
            raise GoogleError(404, f"GKE cluster {name} was not found")
        if cluster["status"] not in ALIVE:
            raise GoogleError(400, f"GKE cluster {name} is {cluster['status']}", "FAILED_PRECONDITION")
        if "authority" in membership and not cluster.get("workloadIdentityConfig"):
            message = f"Workload Identity is not enabled on GKE cluster {name}"
            raise GoogleError(400, message, "FAILED_PRECONDITION")
        return f"//{CONTAINER}/{name}"

    def _link_prefixes(self) -> list[str]:
        """The beginnings of a resource link: the real one, and gcloud's.

        gcloud puts the host of its endpoint override of the GKE API into links and issuers (command_lib/container/fleet/
        memberships/gke_util.py, ConstructGKEClusterResourceLinkAndURI). What is stored and told is always the real one.
        """
        return [f"//{host.strip('/')}/" for host in (CONTAINER, self.container_host) if host]

    def _check_issuer(self, membership: Json, asked: Json) -> None:
        issuer = asked.get("authority", {}).get("issuer")
        link = _link(membership)
        if not issuer or not link:
            return
        name = link.removeprefix(f"//{CONTAINER}/")
        scheme, _, rest = issuer.partition(":")
        if scheme not in ("https", "http") or not any(rest == f"{prefix}v1/{name}" for prefix in self._link_prefixes()):
            raise GoogleError(400, f'InvalidValueError for field authority.issuer: invalid value "{issuer}"')
        asked["authority"] = self._authority(membership["name"], f"https://{CONTAINER}/v1/{name}")

    def _registered_as(self, link: str) -> str:
        """Return the membership that a cluster has, in whatever fleet, as a full resource name; "" if none."""
        for name, membership in self.memberships.items():
            if _link(membership) == link:
                return f"{PREFIX}{name}"
        cluster = self.gke.clusters.get(link.removeprefix(f"//{CONTAINER}/"), {})
        return str(cluster.get("fleet", {}).get("membership", ""))

    def _canonical(self, name: str) -> str:
        match = NAME.fullmatch(name)
        return f"projects/{self.projects.id(match[1])}/locations/{match[2]}/memberships/{match[3]}" if match else name

    def _tell_cluster(self, membership: Json, *, pre_registered: bool) -> None:
        """Fill `cluster.fleet`, which names the fleet's project by number."""
        cluster = self.gke.clusters.get(_link(membership).removeprefix(f"//{CONTAINER}/"))
        if cluster is None:
            return
        project, location, id_ = _parts(NAME, membership["name"])
        number = self.projects.number(project)
        cluster["fleet"] = {
            "project": number,
            "membership": f"{PREFIX}projects/{number}/locations/{location}/memberships/{id_}",
        } | ({"preRegistered": True} if pre_registered else {})
        if self.updates_cluster:
            agent = f"service-{number}@gcp-sa-gkehub.iam.gserviceaccount.com"
            self.gke.tell_update(full_name(cluster), agent, {"desiredFleet": {"project": project}})

    def _remove(self, membership: Json) -> None:
        name = membership["name"]
        link = _link(membership)
        if self.memberships.get(name) is not membership:
            return  # somebody else was faster: its cluster's end, or a person
        del self.memberships[name]
        self.bindings.pop(name, None)
        self._disconnected.discard(name)
        self.emit_membership("deleted", deepcopy(membership))
        if not link:
            return
        cluster = self.gke.clusters.get(link.removeprefix(f"//{CONTAINER}/"))

        def clear() -> None:
            # A later registration of the same cluster is not to be cleared by an earlier one's end.
            told = (cluster or {}).get("fleet", {}).get("membership", "")
            if (
                cluster is not None
                and self._canonical(told.removeprefix(PREFIX)) == name
                and name not in self.memberships
            ):
                del cluster["fleet"]

        if self.clear_seconds:
            self._later(self.clear_seconds, clear)
        else:
            clear()

    def _changeable(self, name: str) -> Json:
        membership = self.membership(name)
        if membership["state"]["code"] not in ("READY", "SERVICE_UPDATING"):
            raise GoogleError(409, f"unable to queue the operation: '{name}' has one in progress", "ABORTED")
        return membership

    def _touch(self, membership: Json) -> None:
        membership["updateTime"] = _now()
        self.emit_membership("updated", deepcopy(membership))

    def _failure(self, verb: str, name: str) -> tuple[int, str] | None:
        for failure in self._failures:
            if failure[0] == verb and fnmatchcase(name, failure[1]):
                self._failures.remove(failure)
                return failure[2], failure[3]
        return None

    def _begin(self, target: str, verb: str, version: str) -> Json:
        parent = target.partition("/memberships/")[0]
        name = f"{parent}/operations/operation-{int(time.time() * 1000)}-{uuid.uuid4()}"
        metadata = {
            "@type": f"type.googleapis.com/google.cloud.gkehub.{version}.OperationMetadata",
            "createTime": _now(),
            "target": target,
            "verb": verb,
            "cancelRequested": False,
            "apiVersion": version,
        }
        operation = self.operations[name] = {"name": name, "metadata": metadata, "done": False}
        return operation

    def _end(self, operation: Json, *, response: Json | None = None, error: tuple[int, str] | None = None) -> None:
        version = operation["metadata"]["apiVersion"]
        operation["metadata"]["endTime"] = _now()
        operation["done"] = True
        if error is not None:
            operation["error"] = {"code": error[0], "message": error[1]}
        elif response is not None:
            operation["response"] = {
                "@type": f"type.googleapis.com/google.cloud.gkehub.{version}.Membership"
            } | deepcopy(response)
        else:
            operation["response"] = {"@type": "type.googleapis.com/google.protobuf.Empty"}

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        async def run() -> None:
            await asyncio.sleep(seconds)
            work()

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _told(self, membership: Json) -> Json:
        """Return a membership as the API tells it: an agent that is connected was heard of just now."""
        if "lastConnectionTime" not in membership or membership["name"] in self._disconnected:
            return membership
        return membership | {"lastConnectionTime": _now()}

    # The wire

    def _routes(self) -> list[Route]:
        base = "/{version}/projects/{project}/locations/{location}"
        one = base + "/memberships/{membership}"
        return [
            Route(base + "/operations/{operation}", self._get_operation),
            Route(base + "/operations", self._list_operations),
            Route(one + "/bindings/{binding}", self._delete_binding, methods=["DELETE"]),
            Route(one + "/bindings", self._create_binding, methods=["POST"]),
            Route(one + "/bindings", self._list_bindings),
            Route(base + "/memberships", self._create, methods=["POST"]),
            Route(base + "/memberships", self._list),
            Route(one, self._get),
            Route(one, self._patch, methods=["PATCH"]),
            Route(one, self._delete, methods=["DELETE"]),
        ]

    def _place(self, request: Request, permission: str) -> tuple[str, str, str]:
        """Return project id, location and version of an allowed call."""
        version = request.path_params["version"]
        if version not in ("v1", "v1beta", "v1beta1", "v1alpha"):
            raise GoogleError(404, f"no such version of the API: {version}")
        project = self.projects.id(request.path_params["project"])
        require(request, self.iam, permission, project)
        return project, request.path_params["location"], version

    def _named(self, request: Request, permission: str) -> tuple[str, str]:
        project, location, version = self._place(request, permission)
        return f"projects/{project}/locations/{location}/memberships/{request.path_params['membership']}", version

    async def _create(self, request: Request) -> JSONResponse:
        project, location, version = self._place(request, "gkehub.memberships.create")
        name = f"projects/{project}/locations/{location}/memberships/{request.query_params.get('membershipId', '')}"
        request_id = _request_id(request)
        return JSONResponse(self.create(name, await json_body(request), request_id=request_id, version=version))

    async def _get(self, request: Request) -> JSONResponse:
        name, _ = self._named(request, "gkehub.memberships.get")
        if name in self.hidden_from_get:
            raise GoogleError(404, f"Resource '{name}' was not found")
        told = self._told(self.membership(name))
        # With an endpoint override, these two commands compare the link with one that has the override's host in it.
        command = re.search(r"command/\S+memberships\.(un)?register\b", request.headers.get("user-agent", ""))
        if command and _link(told) and self.container_host:
            host, link = self.container_host.strip("/"), _link(told)
            told = deepcopy(told)
            told["endpoint"]["gkeCluster"]["resourceLink"] = link.replace(f"//{CONTAINER}/", f"//{host}/", 1)
        return JSONResponse(told)

    async def _list(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request, "gkehub.memberships.list")
        asked = request.query_params
        try:
            size = int(asked.get("pageSize", "0"))
        except ValueError as error:
            raise GoogleError(400, "Invalid value at 'page_size' (TYPE_INT32).") from error
        where, token = asked.get("filter", ""), asked.get("pageToken", "")
        return JSONResponse(self.lists(project, location, where=where, size=size, token=token))

    async def _patch(self, request: Request) -> JSONResponse:
        name, version = self._named(request, "gkehub.memberships.update")
        paths = [_camel(path) for path in request.query_params.get("updateMask", "").split(",") if path]
        return JSONResponse(self.patch(name, await json_body(request), paths, version=version))

    async def _delete(self, request: Request) -> JSONResponse:
        name, version = self._named(request, "gkehub.memberships.delete")
        force = request.query_params.get("force", "").lower() == "true"
        return JSONResponse(self.delete(name, force=force, request_id=_request_id(request), version=version))

    async def _create_binding(self, request: Request) -> JSONResponse:
        name, version = self._named(request, "gkehub.membershipbindings.create")
        self.membership(name)
        id_ = request.query_params.get("membershipBindingId", "")
        body = await json_body(request)
        full = f"{name}/bindings/{id_}"
        if not MEMBERSHIP_ID.fullmatch(id_) or not isinstance(body.get("scope"), str):
            raise GoogleError(400, "a binding needs a valid membership_binding_id and a scope")
        if id_ in self.bindings.get(name, {}):
            raise GoogleError(409, f"Resource '{full}' already exists")
        now = _now()
        binding = {
            "name": full,
            "scope": body["scope"],
            "uid": str(uuid.uuid4()),
            "createTime": now,
            "updateTime": now,
            "state": {"code": "READY"},
        }
        self.bindings.setdefault(name, {})[id_] = binding
        operation = self._begin(full, "create", version)
        self._end(operation, response=binding)
        operation["response"]["@type"] = f"type.googleapis.com/google.cloud.gkehub.{version}.MembershipBinding"
        return JSONResponse(operation)

    async def _list_bindings(self, request: Request) -> JSONResponse:
        name, _ = self._named(request, "gkehub.membershipbindings.list")
        found = list(self.bindings.get(name, {}).values())
        return JSONResponse({"membershipBindings": found} if found else {})

    async def _delete_binding(self, request: Request) -> JSONResponse:
        name, version = self._named(request, "gkehub.membershipbindings.delete")
        id_ = request.path_params["binding"]
        if self.bindings.get(name, {}).pop(id_, None) is None:
            raise GoogleError(404, f"Resource '{name}/bindings/{id_}' was not found")
        operation = self._begin(f"{name}/bindings/{id_}", "delete", version)
        self._end(operation)
        return JSONResponse(operation)

    async def _get_operation(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request, "gkehub.operations.get")
        name = f"projects/{project}/locations/{location}/operations/{request.path_params['operation']}"
        if name not in self.operations:
            raise GoogleError(404, f"Resource '{name}' was not found")
        return JSONResponse(self.operations[name])

    async def _list_operations(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request, "gkehub.operations.list")
        start = f"projects/{project}/locations/"
        found = [
            operation
            for name, operation in self.operations.items()
            if name.startswith(start) and location in ("-", name.split("/")[3])
        ]
        return JSONResponse({"operations": found} if found else {})


def generate_credentials_routes(
    fleet: Fleet, gateway_url: Callable[[Json], str], *, ca_pem: str = "", hook: str = "gke-gcloud-auth-plugin"
) -> list[Route]:
    """Return the routes of the gateway's own method, for `gcloud container fleet memberships get-credentials`.

    `gateway_url(membership)` is the URL of the member's Kubernetes API; `ca_pem`, if given, is written into the kubeconfig
    (the real gateway needs none). https://cloud.google.com/kubernetes-engine/fleet-management/docs/reference/connectgateway
    """

    async def generate(request: Request) -> JSONResponse:
        project = fleet.projects.id(request.path_params["project"])
        require(request, fleet.iam, "gkehub.gateway.generateCredentials", project)
        location, id_ = request.path_params["location"], request.path_params["membership"]
        membership = fleet.membership(f"projects/{project}/locations/{location}/memberships/{id_}")
        url = gateway_url(deepcopy(membership))
        context = f"connectgateway_{project}_{location}_{id_}"
        cluster = {"server": url}
        if ca_pem:
            cluster["certificate-authority-data"] = base64.b64encode(ca_pem.encode()).decode()
        plugin = {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": hook,
            "provideClusterInfo": True,
            "interactiveMode": "IfAvailable",
        }
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": context, "user": {"exec": plugin}}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "current-context": context,
        }
        # JSON is YAML
        text = base64.b64encode(json.dumps(kubeconfig).encode()).decode()
        return JSONResponse({"kubeconfig": text, "endpoint": url})

    return [
        Route(
            "/{version}/projects/{project}/locations/{location}/memberships/{membership}:generateCredentials", generate
        )
    ]


def _parts(pattern: re.Pattern[str], name: str) -> tuple[str, str, str]:
    match = pattern.fullmatch(name)
    if match is None:
        raise GoogleError(400, f'Invalid resource name "{name}".')
    return match[1], match[2], match[3]


def _link(membership: Json) -> str:
    return str(membership.get("endpoint", {}).get("gkeCluster", {}).get("resourceLink", ""))


def _kubernetes_metadata(now: str) -> Json:
    return {
        "kubernetesApiServerVersion": f"v{VERSION}",
        "nodeCount": 1,
        "vcpuCount": 2,
        "memoryMb": 8192,
        "updateTime": now,
    }


def _check_fields(asked: Json) -> None:
    endpoint = asked.get("endpoint", {})
    unknown = [f"\"{key}\" at 'membership'" for key in asked if key not in MEMBERSHIP_FIELDS]
    unknown += [f"\"{key}\" at 'membership.endpoint'" for key in endpoint if key not in ENDPOINT_FIELDS]
    if unknown:
        raise GoogleError(400, f"Invalid JSON payload received. Unknown name {unknown[0]}: Cannot find field.")


def _request_id(request: Request) -> str:
    """Return the caller's id of a request, by which a retry is known: a UUID, and not the zero one (gkehub.v1)."""
    given = request.query_params.get("requestId", "")
    if given:
        try:
            valid = uuid.UUID(given).int != 0
        except ValueError:
            valid = False
        if not valid:
            raise GoogleError(400, f'request_id "{given}" is not a valid UUID')
    return given


def _camel(path: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), path)


def _filter(text: str) -> Callable[[Json], bool]:
    """Understand `labels.k = v`, `state = READY`, `name : x*` and the resource link, joined by AND (gkehub.v1, list)."""
    terms = []
    for part in re.split(r"\s+AND\s+", text.strip()) if text.strip() else []:
        match = TERM.fullmatch(part.strip())
        if match is None:
            raise GoogleError(400, f'Invalid filter "{text}".')
        not_, path, operator, value = match.groups()
        terms.append((bool(not_) != (operator == "!="), path, value.strip('"')))

    def holds(membership: Json, path: str, value: str) -> bool:
        if path == "state":
            return bool(membership["state"]["code"] == value)
        if path == "name":
            return fnmatchcase(membership["name"], value) or fnmatchcase(membership["name"].rpartition("/")[2], value)
        found: Any = membership
        for key in path.split(".", 1) if path.startswith("labels.") else path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return found is not None and fnmatchcase(str(found), value)

    return lambda membership: all(holds(membership, path, value) != inverted for inverted, path, value in terms)


def _now(seconds: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
