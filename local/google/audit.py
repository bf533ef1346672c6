"""The entries that GKE writes into Cloud Audit Logs, as `LogEntry` JSON, the form in which a log sink sends them.

A change that is carried out leaves two entries with one operation id (started, finished); one that is refused leaves
one, without an operation. Field by field they follow recorded entries in GoogleCloudPlatform/khi
(`test/logs/gke_audit`); meanings: https://cloud.google.com/logging/docs/audit/understanding-audit-logs. Big entries are
not split here.
"""

from __future__ import annotations

import secrets
import uuid
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local.google.wire import CODES, GoogleError

Json = dict[str, Any]

SERVICE = "container.googleapis.com"
PERMISSIONS = {"CreateCluster": "container.clusters.create", "DeleteCluster": "container.clusters.delete"}
REQUESTS = {"SetLabels": "SetLabelsRequest"}


@dataclass
class AuditedCall:
    """One call of the GKE API that changes something, and the entries that it may leave.

    `request` is what was asked, without `@type`. `version` is the API's, which only the method's name contains: inside,
    recorded entries say `v1alpha1` whatever was called.
    """

    method: str
    project: str
    location: str
    cluster: str
    caller: str
    request: Json
    version: str = "v1"
    node_pool: str = ""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def permission(self) -> str:
        """The permission that the caller needs: everything except create and delete counts as an update."""
        return PERMISSIONS.get(self.method, "container.clusters.update")

    def started(self, operation: Json) -> Json:
        """The change was taken on; `operation` is the API's answer."""
        entry = self._entry("NOTICE", operation["name"], first=True)
        entry["protoPayload"] |= self._who(granted=True) | {
            "request": self._request(),
            "response": {"@type": "type.googleapis.com/google.container.v1alpha1.Operation"} | deepcopy(operation),
        }
        return entry

    def finished(self, operation: Json) -> Json:
        """The change is done, well or not. This entry says neither who nor what: only which cluster."""
        entry = self._entry("NOTICE", operation["name"], first=False)
        error = operation.get("error")
        entry["protoPayload"] |= {
            "status": {"code": error["code"], "message": error["message"]} if error else {},
            "metadata": {"operationType": operation["operationType"], "requestID": self.request_id},
        }
        return entry

    def refused(self, error: GoogleError) -> Json:
        """Nothing was done."""
        entry = self._entry("ERROR", None)
        entry["protoPayload"] |= self._who(granted=error.code != 403) | {
            "status": {"code": CODES.get(error.status, 2), "message": error.message},
            "request": self._request(),
            "response": {"@type": "type.googleapis.com/google.container.v1alpha1.Operation"},
        }
        return entry

    def at_once(self) -> Json:
        """The change was done within the call: some updates leave one good entry without an operation."""
        entry = self._entry("NOTICE", None)
        entry["protoPayload"] |= self._who(granted=True) | {"status": {}, "request": self._request()}
        return entry

    def _entry(self, severity: str, operation: str | None, *, first: bool = False) -> Json:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        # `zones/` also for regions and in spite of the API's own `locations/`: so in every recorded entry.
        name = f"projects/{self.project}/zones/{self.location}/clusters/{self.cluster}"
        labels = {"cluster_name": self.cluster, "location": self.location, "project_id": self.project}
        if self.node_pool:
            name += f"/nodePools/{self.node_pool}"
            labels["nodepool_name"] = self.node_pool
        entry: Json = {
            "insertId": secrets.token_hex(7),
            "logName": f"projects/{self.project}/logs/cloudaudit.googleapis.com%2Factivity",
            "resource": {"type": "gke_nodepool" if self.node_pool else "gke_cluster", "labels": labels},
            "timestamp": now,
            "receiveTimestamp": now,
            "severity": severity,
            "protoPayload": {
                "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
                "serviceName": SERVICE,
                "methodName": f"google.container.{self.version}.ClusterManager.{self.method}",
                "resourceName": name,
                "resourceLocation": {"currentLocations": [self.location]},
            },
        }
        if operation:
            entry["operation"] = {"id": operation, "producer": SERVICE, "first" if first else "last": True}
        return entry

    def _who(self, *, granted: bool) -> Json:
        right: Json = {"permission": self.permission, "resourceAttributes": {}}
        return {
            "authenticationInfo": {"principalEmail": self.caller},
            "authorizationInfo": [right | ({"granted": True} if granted else {})],
            "requestMetadata": {"callerIp": "127.0.0.1", "requestAttributes": {}, "destinationAttributes": {}},
        }

    def _request(self) -> Json:
        message = REQUESTS.get(self.method, f"{self.method}Request")
        return {"@type": f"type.googleapis.com/google.container.v1alpha1.{message}"} | deepcopy(self.request)


def node_pool_entries(project: str, location: str, cluster: str, caller: str, pool: str = "pool-1") -> list[Json]:
    """Noise that looks like ours and is not: a node pool is made (started and finished)."""
    parent = f"projects/{project}/locations/{location}/clusters/{cluster}"
    request = {"parent": parent, "nodePool": {"name": pool, "initialNodeCount": 1}}
    call = AuditedCall("CreateNodePool", project, location, cluster, caller, request, node_pool=pool)
    operation = {
        "name": f"operation-{int(datetime.now(UTC).timestamp() * 1000)}-{uuid.uuid4()}",
        "operationType": "CREATE_NODE_POOL",
        "status": "RUNNING",
    }
    return [call.started(operation), call.finished(operation | {"status": "DONE"})]


def event_data(entry: Json) -> Json:
    """Return what Eventarc delivers of an entry: google.events.cloud.audit.v1.LogEntryData, which knows no `@type` keys.

    The payload is a message of its own there, so it cannot have one; those of request and response get lost on the way
    (samples in googleapis/google-cloudevents, examples/binary/audit).
    """
    data = deepcopy(entry)
    payload = data["protoPayload"]
    for part in (payload, payload.get("request", {}), payload.get("response", {})):
        part.pop("@type", None)
    return data


def event_name(entry: Json) -> str:
    """Return an entry's name in short: `CreateCluster.finished projects/P/locations/L/clusters/C`."""
    payload, labels = entry["protoPayload"], entry.get("resource", {}).get("labels", {})
    cluster = payload["resourceName"]
    if {"project_id", "location", "cluster_name"} <= labels.keys():
        cluster = f"projects/{labels['project_id']}/locations/{labels['location']}/clusters/{labels['cluster_name']}"
    operation = entry.get("operation") or {}
    if operation.get("last"):
        phase = "finished"
    elif operation.get("first"):
        phase = "started"
    else:
        phase = "refused" if payload.get("status", {}).get("code") else "done"
    return f"{payload['methodName'].rpartition('.')[2]}.{phase} {cluster}"
