"""The fields that the sweep's lists are cut to, compared with the official clients' types.

The local APIs answer in full whatever `fields` says, so nothing else would notice a name that Google does not know.
"""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from google.cloud import container_v1, gkehub_v1
from google.protobuf.json_format import MessageToDict

from shared.clients import fleet
from shared.clients.gke import LISTED_FIELDS, Gke

FLEET = "//gkehub.googleapis.com/projects/1/locations/europe-west1/memberships/blue"
FULL = container_v1.ListClustersResponse(
    clusters=[
        container_v1.Cluster(
            name="blue",
            location="europe-west1",
            id="4711",
            status="RUNNING",
            status_message="one zone is out of quota",
            conditions=[{"message": "nodes are unhealthy"}],
            resource_labels={"env": "prod"},
            fleet={"project": "1", "membership": FLEET},
            autopilot={"enabled": True},
            create_time="2026-11-24T09:00:00+00:00",
            endpoint="34.1.2.3",
            private_cluster_config={"private_endpoint": "10.0.0.2", "public_endpoint": "34.1.2.4"},
            control_plane_endpoints_config={
                "dns_endpoint_config": {"endpoint": "GKE-1.europe-west1.gke.goog", "allow_external_traffic": True},
                "ip_endpoints_config": {"private_endpoint": "10.0.0.3", "public_endpoint": "34.1.2.5"},
            },
            current_master_version="1.33.5-gke.1080000",
            release_channel={"channel": "REGULAR"},
            network_config={"network": "projects/p/global/networks/n", "subnetwork": "s", "datapath_provider": 2},
            workload_identity_config={"workload_pool": "team-a.svc.id.goog"},
            node_pools=[{"name": "default-pool"}],
        )
    ],
    missing_zones=["europe-west1-b"],
)


def answering(answer: dict[str, Any]) -> Any:
    raw = SimpleNamespace(read=lambda *_args, **_more: json.dumps(answer).encode())
    return SimpleNamespace(get=lambda *_args, **_more: nullcontext(SimpleNamespace(status_code=200, raw=raw)))


def listed(answer: dict[str, Any]) -> Any:
    return Gke(answering(answer), "", {"1": "my-fleet"}).list("team-a")


def cut_to(whole: dict[str, Any], inside: str) -> dict[str, Any]:
    """What is left of an object by the fields inside the parentheses."""
    cut: dict[str, Any] = {}
    for *outer, last in (path.split("/") for path in inside.split(",")):
        source, target = whole, cut
        for key in outer:
            source, target = source[key], target.setdefault(key, {})
        target[last] = source[last]
    return cut


def test_a_list_that_is_cut_to_the_fields_says_all_that_a_sweep_reads() -> None:
    full = MessageToDict(container_v1.ListClustersResponse.pb(FULL))
    inside = re.search(r"clusters\(([^)]*)\)", LISTED_FIELDS)
    assert inside
    cut = cut_to(full["clusters"][0], inside[1])
    assert set(re.sub(r"\(.*\)", "", LISTED_FIELDS).split(",")) == {"clusters", "missingZones"} == set(full)
    assert listed(full | {"clusters": [cut]}) == listed(full)
    assert listed(full).items[0].problem == "one zone is out of quota; nodes are unhealthy"
    assert listed(full).items[0].created == datetime(2026, 11, 24, 9, tzinfo=UTC)
    assert set(listed(full).items[0].addresses) == {
        *("34.1.2.3", "34.1.2.4", "34.1.2.5", "10.0.0.2", "10.0.0.3", "gke-1.europe-west1.gke.goog")
    }


MEMBERS = gkehub_v1.ListMembershipsResponse(
    resources=[
        gkehub_v1.Membership(
            name="projects/my-fleet/locations/global/memberships/edge",
            unique_id="4711",
            state={"code": "READY"},
            labels={"env": "prod"},
            endpoint={
                "gke_cluster": {"resource_link": "//container.googleapis.com/projects/p/locations/l/clusters/c"},
                "kubernetes_metadata": {"node_count": 3, "kubernetes_api_server_version": "v1.33.4"},
            },
            create_time=datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC),
            last_connection_time=datetime(2026, 11, 24, 9, 0, 0, 123456, tzinfo=UTC),
            description="not read",
        )
    ],
    unreachable=["us-east1"],
)


def test_a_list_of_memberships_that_is_cut_says_all_that_a_sweep_reads() -> None:
    full = MessageToDict(gkehub_v1.ListMembershipsResponse.pb(MEMBERS))
    fields = fleet.LISTED["fields"]
    inside = re.search(r"resources\(([^)]*)\)", fields)
    assert inside
    cut = cut_to(full["resources"][0], inside[1])
    assert set(re.sub(r"\(.*\)", "", fields).split(",")) == {"resources", "unreachable", "nextPageToken"}
    found = [
        fleet.Fleet(answering(full | {"resources": [one]}), "", {"1": "my-fleet"}).list("my-fleet")
        for one in (cut, full["resources"][0])
    ]
    assert found[0] == found[1]
    assert found[0].items[0].created == MEMBERS.resources[0].create_time
    assert found[0].items[0].last_connection == MEMBERS.resources[0].last_connection_time
