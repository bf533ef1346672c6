"""The state of all fleets: their memberships, without the wire (api.py has it).

Fields and rules follow the discovery document gkehub.v1 and google.cloud.gkehub_v1's types. Left out: features, scopes,
fleets as resources, IAM policies of memberships. Membership bindings exist as far as they keep a membership from being
deleted. Clusters that are not GKE are registered by an agent that `gcloud` installs; here `attach` does it.
"""

from __future__ import annotations

import secrets
import uuid
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from local.google import labels
from local.google.failures import Failure, Failures
from local.google.fleet import filters
from local.google.fleet.clusters import check_cluster, registered_as, update_fleet_of_cluster
from local.google.fleet.memberships import (
    CLUSTER,
    CONTAINER,
    NAME,
    PATCHABLE,
    PREFIX,
    authority,
    check_id,
    check_issuer,
    kubernetes_metadata,
    new_membership,
    parts,
    resource_link,
    timestamp,
)
from local.google.fleet.operations import Operations
from local.google.gke.names import full_name, region
from local.google.tasks import Tasks
from local.google.wire import CODES, GoogleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.google.gke.state import Gke
    from local.google.platform import Projects

Json = dict[str, Any]


class Fleet:
    """All memberships, and what happens to them.

    For tests and people (all of it may be changed at any time): `operation_seconds` — how long a change takes;
    `clear_seconds` — how long `cluster.fleet` still names a membership that is gone; `unreachable` — locations that a list
    cannot reach; `hidden_from_list`, `hidden_from_get` — names left out of an answer; `no_access` — projects in which the
    fleet's service agent may not read clusters; `removes_google_managed` — whether a membership that GKE made goes with its
    cluster (every other one stays, `clusterMissing`); `updates_cluster` — whether registering writes the audit entries of an
    UpdateCluster; `container_host` — host and path of the GKE API's override, which gcloud writes into resource links.
    Methods: `attach`, `disconnect`, `reconnect`, `detach`, `refresh`, `set_state`, `fail_next`, `finish`.
    """

    def __init__(
        self,
        projects: Projects,
        gke: Gke,
        *,
        emit_membership: Callable[[str, Json], None],
        operation_seconds: float = 0.0,
        clear_seconds: float = 0.0,
        container_host: str = "",
    ) -> None:
        self.projects = projects
        self.gke = gke
        gke.fleet = self
        self.emit_membership = emit_membership
        self.operation_seconds = operation_seconds
        self.clear_seconds = clear_seconds
        self.container_host = container_host
        self.memberships: dict[str, Json] = {}
        self.bindings: dict[str, dict[str, Json]] = {}
        self.changes = Operations()
        self.unreachable: set[str] = set()
        self.hidden_from_list: set[str] = set()
        self.hidden_from_get: set[str] = set()
        self.no_access: set[str] = set()
        self.removes_google_managed = True
        self.updates_cluster = False
        self._failures = Failures()
        self._disconnected: set[str] = set()
        self._tasks = Tasks()

    async def cancel(self) -> None:
        """Cancel running work."""
        await self._tasks.close()

    @property
    def operations(self) -> dict[str, Json]:
        """All operations by full name."""
        return self.changes.all

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
        self._check_new(full)
        now = timestamp()
        membership = new_membership(full, {"labels": labels.checked(resource_labels or {})})
        membership |= {
            "externalId": external_id or str(uuid.uuid4()),
            "lastConnectionTime": now,
            "state": {"code": "READY"},
            "endpoint": {"kubernetesMetadata": kubernetes_metadata(now)},
            "authority": authority(full, f"https://kubernetes.default.svc/{name}"),
        }
        self.memberships[full] = membership
        self.emit_membership("created", deepcopy(membership))
        return deepcopy(membership)

    def finish(self) -> None:
        """End now what takes `operation_seconds` or `clear_seconds`."""
        self._tasks.end_waits()

    def disconnect(self, name: str, *, ago: float = 3600.0, state: str = "READY") -> None:
        """Disconnect the agent; its last connection was `ago` seconds ago. The gateway must answer 404 for it."""
        membership = self.membership(name)
        self._disconnected.add(name)
        membership["lastConnectionTime"] = timestamp(-ago)
        membership["state"] = {"code": state}
        self._touch(membership)

    def reconnect(self, name: str) -> None:
        """The agent is back."""
        membership = self.membership(name)
        self._disconnected.discard(name)
        membership["lastConnectionTime"] = timestamp()
        membership["state"] = {"code": "READY"}
        self._touch(membership)

    def set_state(self, name: str, code: str) -> None:
        """Set the state of a membership, with an event."""
        membership = self.membership(name)
        membership["state"] = {"code": code}
        self._touch(membership)

    def connected(self, name: str) -> bool:
        """True if the gateway reaches a membership: it exists, and its agent, if any, is connected."""
        return name in self.memberships and name not in self._disconnected

    def detach(self, name: str) -> None:
        """Take a membership away at once, whatever it is."""
        self._remove(self.membership(name))

    def refresh(self, name: str) -> None:
        """Google has read the cluster's versions again: `updateTime` moves, and an event follows."""
        membership = self.membership(name)
        membership.setdefault("endpoint", {})["kubernetesMetadata"] = kubernetes_metadata(timestamp())
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
        self._failures.add(Failure(verb, membership, message, code))

    # What happens on the side of GKE

    def enrol(self, cluster: str, project: str) -> Json:
        """GKE registers a cluster that was made for a fleet; the id is the cluster's name, or another one if that is taken."""
        found = self.gke.cluster(cluster)
        _, where, id_ = parts(CLUSTER, cluster)
        name = f"projects/{project}/locations/{region(where)}/memberships/{id_}"
        if name in self.memberships:
            name = f"{name[: len(name) - len(id_)]}{id_[:54]}-{secrets.token_hex(4)}"
        now = timestamp()
        membership = new_membership(name, {})
        membership |= {
            "state": {"code": "READY"},
            "endpoint": {
                "gkeCluster": {"resourceLink": f"//{CONTAINER}/{cluster}"},
                "kubernetesMetadata": kubernetes_metadata(now),
                "googleManaged": True,
            },
        }
        if "workloadIdentityConfig" in found:
            membership["authority"] = authority(name, f"https://{CONTAINER}/v1/{cluster}")
        self.memberships[name] = membership
        update_fleet_of_cluster(membership, self, pre_registered=False)
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
        for membership in [m for m in self.memberships.values() if resource_link(m) == link]:
            if membership["endpoint"].get("googleManaged") and self.removes_google_managed:
                self._remove(membership)
            else:
                membership["endpoint"]["gkeCluster"]["clusterMissing"] = True
                self._touch(membership)

    # What the API does, also for callers in this process

    def membership(self, name: str) -> Json:
        """Return the membership itself, not a copy; 404 if it does not exist."""
        if name not in self.memberships:
            raise GoogleError(404, f"Resource '{name}' was not found")
        return self.memberships[name]

    def create(self, name: str, asked: Json, *, request_id: str = "", version: str = "v1") -> Json:
        """Start to register; return the operation. An error that is found later is in the operation."""
        earlier = self.changes.of_request(name, request_id)
        if earlier is not None:
            return deepcopy(earlier)
        self._check_new(name)
        membership = new_membership(
            name, {key: deepcopy(asked[key]) for key in (*PATCHABLE, "endpoint") if key in asked}
        )
        membership["labels"] = labels.checked(membership.get("labels", {}))
        link = check_cluster(membership, self)
        operation = self.changes.begin(name, "create", version, request_id)
        taken = registered_as(link, self) if link else None
        if taken:
            cluster = link.removeprefix(f"//{CONTAINER}/")
            message = (
                f"failed to create membership: intend to register cluster {cluster} with resource {PREFIX}{name}, but the "
                f"cluster is already registered with resource {taken}"
            )
            self._tasks.later(
                self.operation_seconds, lambda: self.changes.end(operation, error=(CODES["ALREADY_EXISTS"], message))
            )
            return deepcopy(operation)
        self.memberships[name] = membership

        def finish() -> None:
            if self.memberships.get(name) is not membership:
                self.changes.end(operation, error=(CODES["ABORTED"], f"'{name}' was taken away meanwhile"))
                return
            failure = self._failures.take("create", name)
            if failure:
                del self.memberships[name]
                self.changes.end(operation, error=(failure.code, failure.message))
                return
            membership["state"] = {"code": "READY"}
            now = membership["updateTime"] = timestamp()
            if link:
                membership["endpoint"]["kubernetesMetadata"] = kubernetes_metadata(now)
                update_fleet_of_cluster(membership, self, pre_registered=True)
            self.changes.end(operation, response=membership)
            self.emit_membership("created", deepcopy(membership))

        self._tasks.later(self.operation_seconds, finish)
        return deepcopy(operation)

    def delete(self, name: str, *, force: bool = False, request_id: str = "", version: str = "v1") -> Json:
        """Start to take a membership out of the fleet; return the operation."""
        earlier = self.changes.of_request(name, request_id)
        if earlier is not None:
            return deepcopy(earlier)
        membership = self._changeable(name)
        if self.bindings.get(name) and not force:
            message = f"Resource '{name}' has nested resources. Set force to true to delete them too."
            raise GoogleError(400, message, "FAILED_PRECONDITION")
        if (
            membership.get("endpoint", {}).get("googleManaged")
            and resource_link(membership).split("/", 3)[3] in self.gke.clusters
        ):
            message = f"Membership '{name}' is managed by GKE. Unregister the cluster through the GKE API."
            raise GoogleError(400, message, "FAILED_PRECONDITION")
        membership["state"] = {"code": "DELETING"}
        operation = self.changes.begin(name, "delete", version, request_id)

        def finish() -> None:
            failure = self._failures.take("delete", name)
            if failure:
                membership["state"] = {"code": "READY"}
                self.changes.end(operation, error=(failure.code, failure.message))
                return
            self._remove(membership)
            self.changes.end(operation)

        self._tasks.later(self.operation_seconds, finish)
        return deepcopy(operation)

    def patch(self, name: str, asked: Json, paths: list[str], *, version: str = "v1") -> Json:
        """Start to change a membership; a path that is named is replaced as a whole."""
        membership = self._changeable(name)
        if not paths:
            raise GoogleError(400, "update_mask is required.")
        for path in paths:
            if path not in PATCHABLE:
                raise GoogleError(400, f'Field "{path}" in update_mask is immutable or unknown.')
        new = {path: deepcopy(asked[path]) for path in paths if path in asked}
        if "labels" in paths:
            new["labels"] = labels.checked(new.get("labels", {}))
        if "authority" in new:
            check_issuer(membership, new, self.container_host)
        membership["state"] = {"code": "UPDATING"}
        operation = self.changes.begin(name, "update", version)

        def finish() -> None:
            for path in paths:
                membership.pop(path, None)
            membership.update(new)
            membership["state"] = {"code": "READY"}
            self._touch(membership)
            self.changes.end(operation, response=membership)

        self._tasks.later(self.operation_seconds, finish)
        return deepcopy(operation)

    def lists(self, project: str, location: str, *, where: str = "", size: int = 0, token: str = "") -> Json:
        """Return the answer to a list; `-` stands for all locations, size 0 for all there are."""
        wanted = filters.parse(where)
        found = [
            self.as_answer(membership)
            for name, membership in sorted(self.memberships.items())
            if name.startswith(f"projects/{project}/")
            and location in ("-", name.split("/")[3])
            and name.split("/")[3] not in self.unreachable
            and name not in self.hidden_from_list
            and wanted(membership)
        ]
        answer = filters.page(found, size, token)
        lost = sorted(place for place in self.unreachable if location in ("-", place))
        return answer | ({"unreachable": lost} if lost else {})

    # Inside

    def _check_new(self, name: str) -> None:
        check_id(name)
        if name in self.memberships:
            raise GoogleError(409, f"Resource '{name}' already exists")

    def _canonical(self, name: str) -> str:
        match = NAME.fullmatch(name)
        return f"projects/{self.projects.id(match[1])}/locations/{match[2]}/memberships/{match[3]}" if match else name

    def _remove(self, membership: Json) -> None:
        name = membership["name"]
        link = resource_link(membership)
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
            own_name = (cluster or {}).get("fleet", {}).get("membership", "")
            if (
                cluster is not None
                and self._canonical(own_name.removeprefix(PREFIX)) == name
                and name not in self.memberships
            ):
                del cluster["fleet"]

        if self.clear_seconds:
            self._tasks.later(self.clear_seconds, clear)
        else:
            clear()

    def _changeable(self, name: str) -> Json:
        membership = self.membership(name)
        if membership["state"]["code"] not in ("READY", "SERVICE_UPDATING"):
            raise GoogleError(409, f"unable to queue the operation: '{name}' has one in progress", "ABORTED")
        return membership

    def _touch(self, membership: Json) -> None:
        membership["updateTime"] = timestamp()
        self.emit_membership("updated", deepcopy(membership))

    def as_answer(self, membership: Json) -> Json:
        """Return a membership for an answer: a connected agent has the current time."""
        if "lastConnectionTime" not in membership or membership["name"] in self._disconnected:
            return membership
        return membership | {"lastConnectionTime": timestamp()}
