"""A membership in the fleet API: names, fields, and the service's defaults."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from local.google.gke.clusters import VERSION
from local.google.gke.names import LOCATION, region
from local.google.wire import GoogleError

Json = dict[str, Any]

CONTAINER = "container.googleapis.com"
PREFIX = "//gkehub.googleapis.com/"
MEMBERSHIP_ID = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)/memberships/([^/]+)")
CLUSTER = re.compile(r"projects/([^/]+)/locations/([^/]+)/clusters/([^/]+)")
PATCHABLE = ("authority", "description", "externalId", "labels")


def parts(pattern: re.Pattern[str], name: str) -> tuple[str, str, str]:
    """Split a full name, or refuse it with 400."""
    match = pattern.fullmatch(name)
    if match is None:
        raise GoogleError(400, f'Invalid resource name "{name}".')
    return match[1], match[2], match[3]


def resource_link(membership: Json) -> str:
    """Return the link to the membership's GKE cluster; "" if it has none."""
    return str(membership.get("endpoint", {}).get("gkeCluster", {}).get("resourceLink", ""))


def kubernetes_metadata(now: str) -> Json:
    """Return the fleet's facts about the cluster of a membership."""
    return {
        "kubernetesApiServerVersion": f"v{VERSION}",
        "nodeCount": 1,
        "vcpuCount": 2,
        "memoryMb": 8192,
        "updateTime": now,
    }


def new_membership(name: str, asked: Json) -> Json:
    """Return a membership that is being created."""
    now = timestamp()
    membership = asked | {
        "name": name,
        "state": {"code": "CREATING"},
        "createTime": now,
        "updateTime": now,
        "uniqueId": str(uuid.uuid4()),
    }
    issuer = membership.get("authority", {}).get("issuer")
    if issuer:
        membership["authority"] = authority(name, issuer) | membership["authority"]
    return membership


def authority(name: str, issuer: str) -> Json:
    """Return the workload identity of a membership."""
    return {
        "issuer": issuer,
        "workloadIdentityPool": f"{name.split('/')[1]}.svc.id.goog",
        "identityProvider": f"https://gkehub.googleapis.com/{name}",
    }


def check_id(name: str) -> None:
    """Refuse a new membership's location or id as Google does."""
    _, location, id_ = parts(NAME, name)
    if location != "global" and (not LOCATION.fullmatch(location) or region(location) != location):
        raise GoogleError(400, f"Location {location} is not found or access is unauthorized.")
    if not MEMBERSHIP_ID.fullmatch(id_):
        raise GoogleError(
            400, f'membership_id "{id_}" must match [a-z0-9]([-a-z0-9]*[a-z0-9])? and have at most 63 characters'
        )


def link_prefixes(container_host: str) -> list[str]:
    """Return the beginnings of a resource link: the real one, and gcloud's.

    gcloud puts the host of its endpoint override of the GKE API into links and issuers (command_lib/container/fleet/
    memberships/gke_util.py, ConstructGKEClusterResourceLinkAndURI). The stored one is always the real one.
    """
    return [f"//{host.strip('/')}/" for host in (CONTAINER, container_host) if host]


def check_issuer(membership: Json, asked: Json, container_host: str) -> None:
    """Refuse an issuer that is not the cluster's; fill in the workload identity."""
    issuer = asked.get("authority", {}).get("issuer")
    link = resource_link(membership)
    if not issuer or not link:
        return
    name = link.removeprefix(f"//{CONTAINER}/")
    scheme, _, rest = issuer.partition(":")
    if scheme not in ("https", "http") or not any(
        rest == f"{prefix}v1/{name}" for prefix in link_prefixes(container_host)
    ):
        raise GoogleError(400, f'InvalidValueError for field authority.issuer: invalid value "{issuer}"')
    asked["authority"] = authority(membership["name"], f"https://{CONTAINER}/v1/{name}")


def timestamp(seconds: float = 0.0) -> str:
    """Return the time, or that many seconds later, as the fleet API writes it: RFC 3339, UTC, `Z`."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
