"""The fields that the sweep's list of clusters is cut to, held against the official client's types.

The local GKE API answers in full whatever `fields` says, so nothing else would notice a name that Google does not know.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from google.cloud import container_v1
from google.protobuf.json_format import MessageToDict

from shared.gke import LISTED_FIELDS, Gke

FLEET = "//gkehub.googleapis.com/projects/1/locations/europe-west1/memberships/blue"
FULL = container_v1.ListClustersResponse(
    clusters=[
        container_v1.Cluster(
            name="blue",
            location="europe-west1",
            id="4711",
            status="RUNNING",
            resource_labels={"env": "prod"},
            fleet={"project": "1", "membership": FLEET},
            autopilot={"enabled": True},
            endpoint="34.1.2.3",
            node_pools=[{"name": "default-pool"}],
        )
    ],
    missing_zones=["europe-west1-b"],
)


def listed(answer: dict[str, Any]) -> Any:
    response = SimpleNamespace(status_code=200, ok=True, json=lambda: answer)
    session: Any = SimpleNamespace(get=lambda *_args, **_more: response)
    return Gke(session, "", {"1": "my-fleet"}).list("team-a")


def test_a_list_that_is_cut_to_the_fields_says_all_that_a_sweep_reads() -> None:
    full = MessageToDict(container_v1.ListClustersResponse.pb(FULL))
    inside = re.search(r"clusters\(([^)]*)\)", LISTED_FIELDS)
    assert inside
    paths = [path.split("/") for path in inside[1].split(",")]
    cluster = full["clusters"][0]
    cut = {top: {down[0]: cluster[top][down[0]]} if down else cluster[top] for top, *down in paths}
    assert set(re.sub(r"\(.*\)", "", LISTED_FIELDS).split(",")) == {"clusters", "missingZones"} == set(full)
    assert listed(full | {"clusters": [cut]}) == listed(full)
