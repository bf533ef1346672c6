"""Reads the current state of the cluster that a message names (docs/architecture.md#proof-of-deletion)."""

from __future__ import annotations

from dataclasses import replace

from shared.clients.ports import Services
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.messages import StepRequest
from shared.values.model import GONE, Cluster, Gone, Membership, State, state_of_attached, state_of_cluster
from shared.values.names import ClusterName, MembershipName, Name
from shared.values.target import AttachedTarget, GkeTarget, Subject, Target


def read_cluster(name: ClusterName, services: Services) -> Cluster | Gone:
    """Read a GKE cluster. Gone: GKE answers 404 *and* a complete list of its location lacks it."""
    return services.gke.cluster(name) or _gone("GKE", name, is_listed=services.gke.in_list(name))


def read_membership(name: MembershipName, services: Services) -> Membership | Gone:
    """Read a membership. Gone: the fleet answers 404 *and* a complete list of its location lacks it."""
    return services.fleet.membership(name) or _gone("the fleet", name, is_listed=services.fleet.in_list(name))


def _gone(api: str, name: Name, *, is_listed: bool) -> Gone:
    if is_listed:
        text = f"{api} answers 404 for {name}, and lists it: two answers that contradict each other"
        raise RetryableError(text, ErrorCode.CONTRADICTION)
    return GONE


def read_subject(request: StepRequest, services: Services, *, has_secret: bool = False) -> Subject:
    """Read the cluster and the membership of a message. A cluster outside the source projects is read only if it has a Secret of ours.

    A membership whose endpoint is a GKE cluster leads to that cluster.
    """
    settings = services.settings
    name = request.name
    if name == settings.central_membership:
        return Subject(request, State.CENTRAL)
    if isinstance(name, MembershipName):
        membership = read_membership(name, services)
        if isinstance(membership, Gone) or membership.cluster is None:
            return Subject(request, state_of_attached(membership, settings), membership)
        name = membership.cluster
        request = replace(request, cluster=name)
    if name.project not in settings.source_projects and not has_secret:
        return Subject(request, State.NOT_SOURCE)
    if name == services.central_cluster:
        return Subject(request, State.CENTRAL)
    cluster = read_cluster(name, services)
    return Subject(request, state_of_cluster(cluster, settings, services.central_cluster), cluster)


def find_membership(cluster: Cluster, hint: MembershipName | None, services: Services) -> Membership | None:
    """Return the cluster's membership in our fleet: the one that the cluster names, the hint, or our own id. None if it has none.

    Absence is confirmed with a complete list, because the caller then skips the RBAC cleanup.
    Raises RetryableError when cluster and membership do not name each other.
    """
    fleet = services.settings.fleet_project
    candidates = (cluster.membership, hint, cluster.name.membership(fleet))
    for name in dict.fromkeys(name for name in candidates if name is not None and name.project == fleet):
        found = read_membership(name, services)
        if isinstance(found, Gone):
            continue
        if found.cluster == cluster.name and not found.is_of_earlier(cluster) and not found.is_stale(cluster):
            return found
        if name == cluster.membership:
            whose = found.cluster if found.cluster != cluster.name else "an earlier cluster of that name"
            raise RetryableError(
                f"{cluster.name} says that its membership is {name}, which names {whose or 'no GKE cluster'}",
                ErrorCode.MEMBERSHIP_MISMATCH,
            )
    return None


def read_target(observed: Cluster | Membership, hint: MembershipName | None, services: Services) -> Target:
    """Return a running cluster with its membership. Raises RetryableError if that is missing or not ready."""
    if isinstance(observed, Membership):
        return AttachedTarget(observed)
    return GkeTarget(observed, membership_of(observed, hint, services))


def membership_of(cluster: Cluster, hint: MembershipName | None, services: Services) -> Membership:
    """Return the cluster's membership, ready for use. Raises RetryableError if it is missing or not ready."""
    found = find_membership(cluster, hint, services)
    if found is None:
        raise RetryableError(
            f"{cluster.name} has no membership in our fleet yet: register-membership makes it",
            ErrorCode.MEMBERSHIP_MISSING,
        )
    if not found.is_usable:
        raise RetryableError(
            f"{found.name} of {cluster.name} is {found.state}: not ready yet", ErrorCode.MEMBERSHIP_NOT_READY
        )
    return found
