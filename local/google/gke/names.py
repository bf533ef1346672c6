"""Names of projects, locations and clusters, as the GKE API writes and reads them."""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]

API = "https://container.googleapis.com/v1"
LOCATION = re.compile(r"[a-z]+-[a-z]+\d+(-[a-z])?")
CLUSTER_ID = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
NAME = re.compile(r"projects/([^/]+)/(?:locations|zones)/([^/]+)/clusters/([^/]+)")


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
    """Return a cluster's full name from its `selfLink`, which has `zones` for zonal clusters."""
    return str(cluster["selfLink"]).removeprefix(f"{API}/").replace("/zones/", "/locations/")
