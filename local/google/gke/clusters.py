"""A cluster in the GKE API: the service's defaults, and when it counts as changed."""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from datetime import UTC, datetime
from typing import Any

from local.google import labels
from local.google.gke.names import API, CLUSTER_ID, LOCATION, collection, is_zone, region
from local.google.wire import GoogleError

Json = dict[str, Any]

VERSION = "1.33.5-gke.1080000"
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


def check_new(location: str, asked: Json) -> None:
    """Refuse a new cluster as Google does: its location, id, mode or labels."""
    id_ = str(asked.get("name", ""))
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


def new_cluster(project: str, location: str, asked: Json) -> Json:
    """Return a cluster that is being created; unknown fields stay as requested."""
    created = now()
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
        "createTime": created,
        "initialClusterVersion": VERSION,
        "currentMasterVersion": VERSION,
        "currentNodeVersion": VERSION,
        "currentNodeCount": sum(int(pool.get("initialNodeCount") or 0) for pool in pools),
    }
    cluster["labelFingerprint"] = fingerprint(cluster["resourceLabels"])
    cluster["networkConfig"] = dict(cluster.get("networkConfig", {})) | {
        "network": f"projects/{project}/global/networks/{cluster['network']}",
        "subnetwork": f"projects/{project}/regions/{region(location)}/subnetworks/{cluster['subnetwork']}",
    }
    if autopilot:  # https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity: always on there
        cluster["workloadIdentityConfig"] = {"workloadPool": f"{project}.svc.id.goog"}
    touch(cluster)
    return cluster


def set_labels(cluster: Json, resource_labels: dict[str, str]) -> None:
    """Replace all labels."""
    cluster["resourceLabels"] = resource_labels
    cluster["labelFingerprint"] = fingerprint(resource_labels)
    touch(cluster)


def fingerprint(resource_labels: dict[str, str]) -> str:
    """Return the fingerprint that a change of labels must contain."""
    return hashlib.sha256(json.dumps(resource_labels, sort_keys=True).encode()).hexdigest()[:8]


def touch(cluster: Json) -> None:
    """Give the cluster a new etag: it has changed."""
    cluster["etag"] = str(uuid.uuid4())


def now() -> str:
    """Return the time as the GKE API writes it: RFC 3339, whole seconds, `+00:00`."""
    return datetime.now(UTC).isoformat(timespec="seconds")
