"""The three APIs that a sweep lists, with a fleet of any size behind them: real sizes of answers and of pages, on loopback.

A process of its own, so that its work is not counted as the sweep's. It remembers nothing but which pages were asked for.
Left out: TLS, credentials, distance.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from local.kubernetes.patches import merge
from local.listener import Listener
from shared.decisions import secret_plan
from shared.values import settings
from shared.values.cluster_secret import ClusterSecret
from shared.values.model import MANAGED_BY, Cluster, Membership
from shared.values.names import ClusterName, MembershipName
from shared.values.target import target_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from shared.values.settings import Settings

Json = dict[str, Any]

PROJECTS = tuple(f"team-{number:03}" for number in range(100))
REGIONS = ("europe-west1", "europe-west4", "us-central1", "us-east1", "asia-northeast1")
ENVIRONMENT = {
    "FLEET_PROJECT": "demo-fleet",
    "FLEET_PROJECT_NUMBER": "100000000001",
    "SOURCE_PROJECTS": ",".join(PROJECTS),
    "CENTRAL_MEMBERSHIP": "projects/demo-fleet/locations/europe-west1/memberships/central",
    "ARGOCD_SERVICE_ACCOUNT": "argocd@demo-fleet.iam.gserviceaccount.com",
}
WRITTEN = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
# What GKE tells beside the few fields that a sweep needs (container v1, Cluster): about 9 kB for each cluster.
AUTHORITY = base64.b64encode(bytes(random.Random(7).randbytes(1150))).decode()
SCOPES = [f"https://www.googleapis.com/auth/{name}" for name in ("devstorage.read_only", "logging.write", "monitoring")]
NODES: Json = {
    "machineType": "e2-standard-4",
    "diskSizeGb": 100,
    "oauthScopes": SCOPES,
    "metadata": {"disable-legacy-endpoints": "true"},
    "imageType": "COS_CONTAINERD",
    "serviceAccount": "nodes@team-000.iam.gserviceaccount.com",
    "diskType": "pd-balanced",
    "shieldedInstanceConfig": {"enableSecureBoot": True, "enableIntegrityMonitoring": True},
    "workloadMetadataConfig": {"mode": "GKE_METADATA"},
    "resourceLabels": {"goog-gke-node-pool-provisioning-model": "on-demand"},
    "windowsNodeConfig": {},
    "loggingConfig": {},
}
POOL: Json = {
    "name": "pool",
    "config": NODES,
    "initialNodeCount": 1,
    "autoscaling": {"enabled": True, "minNodeCount": 1, "maxNodeCount": 9, "locationPolicy": "BALANCED"},
    "management": {"autoUpgrade": True, "autoRepair": True},
    "maxPodsConstraint": {"maxPodsPerNode": "110"},
    "podIpv4CidrSize": 24,
    "locations": ["europe-west1-b", "europe-west1-c", "europe-west1-d"],
    "networkConfig": {"podRange": "pods", "podIpv4CidrBlock": "10.4.0.0/14", "podIpv4RangeUtilization": 0.01},
    "selfLink": "https://container.googleapis.com/v1/projects/team-000/locations/europe-west1/clusters/c/nodePools/pool",
    "version": "1.34.1-gke.1829001",
    "instanceGroupUrls": [
        f"https://www.googleapis.com/compute/v1/projects/team-000/zones/europe-west1-{zone}/instanceGroupManagers/gke-{zone}"
        for zone in "bcd"
    ],
    "status": "RUNNING",
    "upgradeSettings": {"maxSurge": 1, "strategy": "SURGE"},
    "etag": "5f0a2d52-58b8-4f2b-9c5b-4f5ffb3a2b8e",
}
REST: Json = {
    "nodeConfig": NODES,
    "masterAuth": {"clientCertificateConfig": {}, "clusterCaCertificate": AUTHORITY},
    "loggingService": "logging.googleapis.com/kubernetes",
    "monitoringService": "monitoring.googleapis.com/kubernetes",
    "network": "default",
    "clusterIpv4Cidr": "10.4.0.0/14",
    "addonsConfig": {
        f"{name}Config": {"enabled": True}
        for name in (
            "dnsCache",
            "gcePersistentDiskCsiDriver",
            "gcpFilestoreCsiDriver",
            "gcsFuseCsiDriver",
            "configConnector",
        )
    },
    "subnetwork": "default",
    "nodePools": [{**POOL, "name": name} for name in ("default-pool", "batch")],
    "locations": POOL["locations"],
    "labelFingerprint": "a9dc16a7",
    "legacyAbac": {},
    "ipAllocationPolicy": {"useIpAliases": True, "clusterIpv4CidrBlock": "10.4.0.0/14", "stackType": "IPV4"},
    "masterAuthorizedNetworksConfig": {"gcpPublicCidrsAccessEnabled": True},
    "maintenancePolicy": {"resourceVersion": "e3b0c442"},
    "databaseEncryption": {"state": "DECRYPTED", "currentState": "CURRENT_STATE_DECRYPTED"},
    "shieldedNodes": {"enabled": True},
    "notificationConfig": {"pubsub": {}},
    "loggingConfig": {"componentConfig": {"enableComponents": ["SYSTEM_COMPONENTS", "WORKLOADS"]}},
    "monitoringConfig": {"componentConfig": {"enableComponents": ["SYSTEM_COMPONENTS", "STORAGE", "HPA", "POD"]}},
    "securityPostureConfig": {"mode": "BASIC", "vulnerabilityMode": "VULNERABILITY_DISABLED"},
    "initialClusterVersion": "1.33.5-gke.1080000",
    "currentNodeVersion": "1.34.1-gke.1829001",
    "currentNodeCount": 6,
}
TAIL = json.dumps(REST, indent=2)[1:]
VERSION = "1.34.1-gke.1829001"


class Fleet:
    """The clusters, what the fleet and Argo CD's list say of them, and every answer that a sweep may ask for.

    One in a hundred differs where `drift` is asked for: by turns its Secret is missing, or a label has changed since.
    """

    def __init__(self, clusters: int, url: str, *, drift: bool) -> None:
        self.settings = settings.load(ENVIRONMENT | {"CLOUDSDK_API_ENDPOINT_OVERRIDES_CONNECTGATEWAY": f"{url}/"})
        self.asked: list[str] = []
        self.clusters: dict[str, list[Json]] = {project: [] for project in PROJECTS}
        # Whole, and (True) what is left of each by the fields that a sweep asks for.
        self.memberships: dict[bool, list[bytes]] = {False: [], True: []}
        self._add_membership(self.settings.central_membership, None, {})
        self.secrets: list[bytes] = []
        for number in range(clusters):
            name = ClusterName(PROJECTS[number % len(PROJECTS)], REGIONS[number % 7 % len(REGIONS)], f"c{number:06}")
            self._add(name, number, lacks=drift and number % 200 == 0, changed=drift and number % 200 == 100)

    def _add(self, name: ClusterName, number: int, *, lacks: bool, changed: bool) -> None:
        membership = name.membership(self.settings.fleet_project)
        id_ = f"{number:08x}" * 8
        labels = {"env": "prod", "tier": "web", "team": f"team-{number % 17}", "wave": str(number % 3)}
        address = f"34.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        cluster = Cluster(
            name,
            id_,
            "RUNNING",
            labels,
            self.settings.fleet_project_number,
            membership,
            version=VERSION,
            channel="REGULAR",
            network=f"projects/{name.project}/global/networks/default",
            subnetwork=f"projects/{name.project}/regions/{name.region}/subnetworks/default",
            workload_pool=f"{name.project}.svc.id.goog",
            endpoint=address,
        )
        marks = {"managed-by": MANAGED_BY, "fleet-registrar-cluster-id": cluster.id_label}
        member = Membership(membership, f"00000000-0000-4000-8000-{number:012}", "READY", marks, name)
        link = f"//gkehub.googleapis.com/projects/{self.settings.fleet_project_number}/locations/{membership.location}"
        self.clusters[name.project].append(
            {
                "name": name.cluster,
                "location": name.location,
                "id": id_,
                "status": "RUNNING",
                "resourceLabels": labels | ({"env": "dev"} if changed else {}),
                "fleet": {
                    "project": self.settings.fleet_project_number,
                    "membership": f"{link}/memberships/{membership.membership}",
                    "preRegistered": True,
                },
                "currentMasterVersion": cluster.version,
                "releaseChannel": {"channel": cluster.channel},
                "networkConfig": {"network": cluster.network, "subnetwork": cluster.subnetwork},
                "workloadIdentityConfig": {"workloadPool": cluster.workload_pool},
                "endpoint": address,
                "privateClusterConfig": {"privateEndpoint": f"10.{address[3:]}", "publicEndpoint": address},
                "controlPlaneEndpointsConfig": {
                    "ipEndpointsConfig": {"privateEndpoint": f"10.{address[3:]}", "publicEndpoint": address}
                },
                "createTime": "2026-03-24T10:04:00+00:00",
            }
        )
        self._add_membership(membership, name, marks, member.unique_id)
        if not lacks:
            self.secrets.append(_secret(cluster, member, self.settings, number))

    def _add_membership(
        self, name: MembershipName, cluster: ClusterName | None, labels: dict[str, str], uid: str = "0"
    ) -> None:
        link = cluster or ClusterName(self.settings.fleet_project, name.location, "central")
        listed = {
            "name": str(name),
            "labels": labels,
            "endpoint": {
                "gkeCluster": {"resourceLink": link.link},
                "kubernetesMetadata": {
                    "kubernetesApiServerVersion": f"v{VERSION}",
                    "nodeCount": 6,
                    "vcpuCount": 24,
                    "memoryMb": 96000,
                    "updateTime": "2026-11-24T08:04:00.123456789Z",
                },
            },
            "state": {"code": "READY"},
            "createTime": "2026-03-24T10:09:00.123456789Z",
            "updateTime": "2026-11-24T08:04:00.123456789Z",
            "uniqueId": uid,
            "authority": {
                "issuer": f"https://container.googleapis.com/v1/{link}",
                "workloadIdentityPool": "demo-fleet.svc.id.goog",
                "identityProvider": f"https://gkehub.googleapis.com/{name}",
            },
            "monitoringConfig": {
                "projectId": link.project,
                "location": link.location,
                "cluster": link.cluster,
                "kubernetesMetricsPrefix": "kubernetes.io/anthos",
                "clusterHash": uid,
            },
            "clusterTier": "STANDARD",
        }
        version = {"kubernetesApiServerVersion": f"v{VERSION}"}
        cut = {
            **{key: listed[key] for key in ("name", "uniqueId", "state", "labels", "createTime")},
            "endpoint": {"gkeCluster": {"resourceLink": link.link}, "kubernetesMetadata": version},
        }
        self.memberships[False].append(json.dumps(listed, indent=2).encode())
        self.memberships[True].append(json.dumps(cut, indent=2).encode())

    def answer(self, path: str, query: dict[str, list[str]]) -> bytes:
        """The body for one GET."""
        parts = path.strip("/").split("/")
        if parts[-1] == "clusters":
            chosen = _chosen(query.get("fields", [""])[0])
            return b'{"clusters": [' + b",".join(_cluster(each, chosen) for each in self.clusters[parts[2]]) + b"]}"
        if parts[-1] == "memberships":
            found = self.memberships["fields" in query]
            size = int(query.get("pageSize", ["0"])[0]) or len(found)  # unset: all (gkehub v1)
            page, following = _page(found, size, query.get("pageToken", [""])[0])
            return b'{"resources": [' + page + b'], "nextPageToken": "' + following.encode() + b'"}'
        if parts[-1] == "secrets":
            foreign = "!=" in query["labelSelector"][0]
            limit = int(query["limit"][0])
            page, following = _page([] if foreign else self.secrets, limit, query.get("continue", [""])[0])
            meta = json.dumps({"resourceVersion": "1", **({"continue": following} if following else {})}).encode()
            return b'{"kind": "SecretList", "apiVersion": "v1", "metadata": ' + meta + b', "items": [' + page + b"]}"
        return self.memberships[False][0] if "memberships" in parts else b"{}"  # other APIs have nothing here

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer as an ASGI application; `/asked` tells what was asked for, and forgets it."""
        if scope["type"] != "http":
            return
        query = scope["query_string"].decode()
        if scope["path"] == "/asked":
            body, self.asked = json.dumps(self.asked).encode(), []
        else:
            self.asked.append(f"{scope['path']}?{query}")
            body = self.answer(scope["path"], parse_qs(query))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _chosen(fields: str) -> frozenset[str] | None:
    """The fields of a cluster that a partial response is asked for; None: all of them."""
    inside = re.search(r"clusters\((.*?)\)", fields)
    return frozenset(part.partition("/")[0] for part in inside[1].split(",")) if inside else None


def _cluster(cluster: Json, chosen: frozenset[str] | None) -> bytes:
    if chosen is None:
        return (json.dumps(cluster)[:-1] + "," + TAIL).encode()
    return json.dumps({key: value for key, value in cluster.items() if key in chosen}).encode()


def _page(items: list[bytes], size: int, token: str) -> tuple[bytes, str]:
    start = int(token or 0)
    return b",".join(items[start : start + size]), str(start + size) if start + size < len(items) else ""


def _secret(cluster: Cluster, membership: Membership, settings: Settings, number: int) -> bytes:
    """The very Secret that `write_secret` would have made, as a Kubernetes API gives it: with `managedFields`."""
    target = target_of(cluster, membership)
    made = secret_plan.new_secret(target, settings, WRITTEN)
    made["metadata"] |= {
        "uid": f"00000000-0000-4000-9000-{number:012}",
        "resourceVersion": str(1000 + number),
        "creationTimestamp": "2026-11-24T09:00:00Z",
    }
    first = ClusterSecret.read(made)
    second = secret_plan.plan(first, target, settings, granted=True, drop=frozenset(), now=WRITTEN).patch
    assert second is not None
    made = merge(made, second)
    meta = made["metadata"]
    fields: Json = {f"f:{kind}": {f"f:{key}": {} for key in meta[kind]} for kind in ("labels", "annotations")}
    meta |= {
        "managedFields": [
            {
                "manager": "OpenAPI-Generator",
                "operation": "Update",
                "apiVersion": "v1",
                "time": "2026-11-24T09:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": fields, "f:data": {f"f:{key}": {} for key in made["data"]}, "f:type": {}},
            }
        ],
    }
    return json.dumps(made, separators=(",", ":")).encode()


async def _serve(clusters: int, *, drift: bool) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await fleet(scope, receive, send)

    listener = Listener(answer)
    fleet = Fleet(clusters, listener.url, drift=drift)
    await listener.start()
    print(listener.url, flush=True)  # noqa: T201 - the parent waits for it
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the parent lets go
    await listener.stop()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("clusters", type=int)
    parser.add_argument("--drift", action="store_true")
    options = parser.parse_args()
    asyncio.run(_serve(options.clusters, drift=options.drift))


if __name__ == "__main__":
    main()
