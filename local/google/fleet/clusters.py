"""The fleet's questions to GKE: whether a cluster can be registered, and the cluster's `fleet` field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from local.google.fleet.memberships import (
    CLUSTER,
    CONTAINER,
    NAME,
    PREFIX,
    check_issuer,
    link_prefixes,
    parts,
    resource_link,
)
from local.google.gke.clusters import ALIVE
from local.google.gke.names import cluster_name, full_name
from local.google.wire import GoogleError

if TYPE_CHECKING:
    from local.google.gke.state import Gke
    from local.google.platform import Projects

Json = dict[str, Any]


class Asking(Protocol):
    """The part of the fleet that these functions use."""

    gke: Gke
    projects: Projects
    memberships: dict[str, Json]
    no_access: set[str]
    container_host: str
    updates_cluster: bool


def check_cluster(membership: Json, fleet: Asking) -> str:
    """Make the resource link canonical, check that it names a living cluster, return it; "" if it is not GKE."""
    gke_cluster = membership.get("endpoint", {}).get("gkeCluster")
    if gke_cluster is None:
        return ""
    asked = str(gke_cluster.get("resourceLink", ""))
    name = next((asked[len(p) :] for p in link_prefixes(fleet.container_host) if asked.startswith(p)), "")
    match = CLUSTER.fullmatch(name)
    if match is None:
        raise GoogleError(
            400, f'InvalidValueError for field endpoint.gke_cluster.resource_link: invalid value "{asked}"'
        )
    project, location, id_ = match.groups()
    if project in fleet.no_access:
        raise GoogleError(
            403, f"hub default service account does not have access to the GKE cluster project for {asked}"
        )
    name = cluster_name(fleet.projects.id(project), location, id_)
    membership["endpoint"] = {"gkeCluster": {"resourceLink": f"//{CONTAINER}/{name}"}}
    check_issuer(membership, membership, fleet.container_host)
    cluster = fleet.gke.clusters.get(name)
    if cluster is None:
        raise GoogleError(404, f"GKE cluster {name} was not found")
    if cluster["status"] not in ALIVE:
        raise GoogleError(400, f"GKE cluster {name} is {cluster['status']}", "FAILED_PRECONDITION")
    if "authority" in membership and not cluster.get("workloadIdentityConfig"):
        message = f"Workload Identity is not enabled on GKE cluster {name}"
        raise GoogleError(400, message, "FAILED_PRECONDITION")
    return f"//{CONTAINER}/{name}"


def registered_as(link: str, fleet: Asking) -> str:
    """Return the membership that a cluster has, in whatever fleet, as a full resource name; "" if none."""
    for name, membership in fleet.memberships.items():
        if resource_link(membership) == link:
            return f"{PREFIX}{name}"
    cluster = fleet.gke.clusters.get(link.removeprefix(f"//{CONTAINER}/"), {})
    return str(cluster.get("fleet", {}).get("membership", ""))


def update_fleet_of_cluster(membership: Json, fleet: Asking, *, pre_registered: bool) -> None:
    """Fill `cluster.fleet`, which names the fleet's project by number."""
    cluster = fleet.gke.clusters.get(resource_link(membership).removeprefix(f"//{CONTAINER}/"))
    if cluster is None:
        return
    project, location, id_ = parts(NAME, membership["name"])
    number = fleet.projects.number(project)
    cluster["fleet"] = {
        "project": number,
        "membership": f"{PREFIX}projects/{number}/locations/{location}/memberships/{id_}",
    } | ({"preRegistered": True} if pre_registered else {})
    if fleet.updates_cluster:
        agent = f"service-{number}@gcp-sa-gkehub.iam.gserviceaccount.com"
        fleet.gke.log_update(full_name(cluster), agent, {"desiredFleet": {"project": project}})
