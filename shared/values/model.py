"""Clusters and memberships as values, and the states of docs/architecture.md#states.

Pure. The clients of the APIs translate their answers into these; decisions see nothing else.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.values.names import ClusterName, MembershipName
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


MANAGED_BY: Final = "fleet-registrar"
AGENT_LOST_AFTER: Final = timedelta(minutes=30)
# The states of the APIs (discovery documents of container v1 and gkehub v1).
_CLUSTER_ALIVE = frozenset({"RUNNING", "RECONCILING", "DEGRADED"})
_MEMBERSHIP_ALIVE = frozenset({"READY", "UPDATING", "SERVICE_UPDATING"})


class Gone(enum.Enum):
    """The proof that an object does not exist (docs/architecture.md#proof-of-deletion). Never created from an error."""

    GONE = "gone"


GONE: Final = Gone.GONE


class State(enum.StrEnum):
    """The states of docs/architecture.md#states. The values are codes."""

    SELECTED = "selected"
    UNSELECTED = "unselected"
    PROVISIONING = "provisioning"
    UNKNOWN = "unknown"
    DELETING = "deleting"
    DELETED = "deleted"
    NOT_SOURCE = "not_source"
    OTHER_FLEET = "other_fleet"
    CENTRAL = "central"

    @property
    def text(self) -> str:
        """The state in words."""
        return _STATE_TEXTS.get(self, self.value)


_STATE_TEXTS: Final[Mapping[State, str]] = {
    State.SELECTED: "running and selected",
    State.UNSELECTED: "running and not selected",
    State.UNKNOWN: "in an unknown state",
    State.NOT_SOURCE: "not in a source project",
    State.OTHER_FLEET: "selected, but in another fleet",
    State.CENTRAL: "the central cluster",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A GKE cluster as its API describes it. `fleet_project` is an id or a number, empty when it is in no fleet.

    `addresses` are the hosts of its API server, in lower case: public, private and DNS endpoint.
    `version` is that of the control plane, whole (`1.33.5-gke.1080000`). '' means that the API does not say it.
    """

    name: ClusterName
    id: str
    status: str
    labels: Mapping[str, str] = field(default_factory=dict)
    fleet_project: str = ""
    membership: MembershipName | None = None
    autopilot: bool = False
    addresses: Collection[str] = ()
    version: str = ""
    channel: str = ""
    network: str = ""
    subnetwork: str = ""
    workload_pool: str = ""
    endpoint: str = ""
    created: datetime | None = None
    problem: str = ""  # what GKE says is wrong with it

    @property
    def id_label(self) -> str:
        """The cluster's `id` in our membership's label: a Google label has at most 63 characters."""
        return self.id[:40]


@dataclass(frozen=True, slots=True)
class Membership:
    """A fleet membership. `cluster` is the GKE cluster that its `resourceLink` names, None for an attached cluster."""

    name: MembershipName
    unique_id: str
    state: str
    labels: Mapping[str, str] = field(default_factory=dict)
    cluster: ClusterName | None = None
    last_connection: datetime | None = None
    version: str = ""  # of the Kubernetes API server, as the fleet's agent reports it
    created: datetime | None = None

    @property
    def cluster_id(self) -> str:
        """The id of the cluster that we made this membership for; '' when it is not ours."""
        if self.labels.get("managed-by") != MANAGED_BY:
            return ""
        return self.labels.get("fleet-registrar-cluster-id", "")

    def is_of_earlier(self, cluster: Cluster) -> bool:
        """Whether we made it for an earlier cluster of that name. False if either id is unknown."""
        made_for = self.cluster_id
        return bool(made_for and cluster.id) and made_for != cluster.id_label

    def is_stale(self, cluster: Cluster) -> bool:
        """Whether others made it for an earlier cluster of that name: it is older than the cluster, which does not name it."""
        if self.cluster_id or cluster.membership == self.name or self.created is None or cluster.created is None:
            return False
        return self.created < cluster.created

    def is_still(self, now: Membership | None) -> bool:
        """True if `now` is the same membership (same `unique_id`), not a re-created one. False if either ID is unknown."""
        return now is not None and bool(now.unique_id) and now.unique_id == self.unique_id

    @property
    def is_usable(self) -> bool:
        """Whether the gateway can be expected to know it."""
        return self.state in _MEMBERSHIP_ALIVE

    def agent_lost(self, now: datetime) -> bool:
        """Whether an attached cluster's agent is lost: not READY, or no connection for 30 minutes."""
        silent = self.last_connection is not None and now - self.last_connection > AGENT_LOST_AFTER
        return self.cluster is None and (self.state != "READY" or silent)


# What a read says of a name: the object, or the proof that it does not exist.
Observed = Cluster | Membership | Gone


def state_of(observed: Observed, settings: Settings, central: ClusterName | None) -> State:
    """Return the row of the table that a GKE cluster is in, or an attached cluster, of which the membership was read."""
    if isinstance(observed, Membership):
        return state_of_attached(observed, settings)
    return state_of_cluster(observed, settings, central)


def state_of_cluster(cluster: Cluster | Gone, settings: Settings, central: ClusterName | None) -> State:
    """Return the row of the table that a GKE cluster is in. `central` is the central cluster, if it is a GKE cluster."""
    if isinstance(cluster, Gone):
        return State.DELETED
    if cluster.name == central or cluster.membership == settings.central_membership:
        return State.CENTRAL
    if cluster.status == "STOPPING":
        return State.DELETING
    if cluster.status == "PROVISIONING":
        return State.PROVISIONING
    if cluster.status not in _CLUSTER_ALIVE:
        return State.UNKNOWN
    if cluster.name.project not in settings.source_projects or not settings.selector.matches(cluster.labels):
        return State.UNSELECTED
    if cluster.fleet_project not in ("", settings.fleet_project, settings.fleet_project_number):
        return State.OTHER_FLEET
    return State.SELECTED


def state_of_attached(membership: Membership | Gone, settings: Settings) -> State:
    """Return the state of an attached cluster, from its membership."""
    if isinstance(membership, Gone):
        return State.DELETED
    if membership.name == settings.central_membership:
        return State.CENTRAL
    if membership.state == "DELETING":
        return State.DELETING
    if membership.state == "CREATING":
        return State.PROVISIONING
    if not membership.is_usable:
        return State.UNKNOWN
    return State.SELECTED if settings.selector.matches(membership.labels) else State.UNSELECTED
