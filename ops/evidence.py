"""All that was read about one cluster, as a value; what could not be read says so. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ops.activity import Activity
from ops.adoption import known
from ops.authors import Change
from ops.letters import DeadLetter
from ops.survey import Snapshot, secrets_of
from shared.values.cluster_secret import ClusterSecret
from shared.values.model import Cluster, Gone, Membership, Observed, State, state_of
from shared.values.names import ClusterName, MembershipName, Name
from shared.values.selector import Requirement
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Access:
    """Our objects inside the cluster, a line each. `works` is None where that is unknown; `problem` is a code of ops.remedies."""

    works: bool | None = None
    lines: tuple[str, ...] = ()
    problem: str = ""
    object: str = ""  # the name of the object with the problem


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read. `unread` says why the cluster, or the membership of an attached one, could not be read."""

    name: Name
    settings: Settings
    seen: Snapshot
    cluster: Cluster | Gone | None = None
    membership: Membership | Gone | None = None
    unread: str = ""
    membership_unread: str = ""
    access: Access = field(default_factory=Access)
    occupant: ClusterSecret | None = None  # any Secret of the name that ours would have
    letters: tuple[DeadLetter, ...] = ()
    letters_unread: str = ""
    activity: Activity = field(default_factory=Activity)
    changes: tuple[Change, ...] = ()

    @property
    def observed(self) -> Observed | None:
        """The cluster, or the membership of an attached one; None when it could not be read."""
        return self.cluster if isinstance(self.name, ClusterName) else self.membership

    @property
    def state(self) -> State | None:
        """The row of the table of states that it is in; None when it could not be read."""
        return None if self.observed is None else state_of(self.observed, self.settings, self.seen.central)

    @property
    def traces(self) -> dict[str, bool | None]:
        """The places where a cluster leaves a trace, each with whether its name is there; None if it could not be read."""
        seen, unread = self.seen, self.seen.fleet_unread or self.membership_unread
        members = self.present or any(one.cluster == self.name for one in seen.inventory.memberships.values())
        return {
            "membership": None if unread else bool(members),
            "Secret of ours": None if seen.secrets_unread else bool(self.secrets),
            "dead letter": None if self.letters_unread else bool(self.letters),
            "log entry of the last day": None if self.activity.unread else bool(self.activity.entries or self.changes),
        }

    @property
    def is_unheard_of(self) -> bool:
        """Whether no cluster has this name, and nothing that was read names an earlier one."""
        return self.state is State.DELETED and not any(self.traces.values())

    @property
    def secrets(self) -> list[ClusterSecret]:
        """Our Secrets for it."""
        return secrets_of(self.name, self.seen.inventory)

    @property
    def present(self) -> Membership | None:
        """Its membership, if it has one."""
        return self.membership if isinstance(self.membership, Membership) else None

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels that the selector is asked about."""
        source = self.cluster if isinstance(self.cluster, Cluster) else self.present
        return source.labels if source else {}

    @property
    def own_membership(self) -> MembershipName:
        """The membership that we would create for it, or its own where it is attached."""
        name = self.name
        return name.membership(self.settings.fleet_project) if isinstance(name, ClusterName) else name

    @property
    def unmanaged_membership(self) -> Membership | None:
        """A membership that blocks ours: under the id that we would use, or of an earlier cluster of this name."""
        present = self.present
        if isinstance(self.cluster, Cluster) and present is not None and present.is_stale(self.cluster):
            return present
        found = self.seen.inventory.memberships.get(self.own_membership)
        if found is None or not isinstance(self.name, ClusterName) or found.cluster == self.name or found.cluster_id:
            return None
        return found

    @property
    def is_source(self) -> bool:
        """Whether its project is a source project; attached clusters have none."""
        return not isinstance(self.name, ClusterName) or self.name.project in self.settings.source_projects

    @property
    def failing(self) -> list[Requirement]:
        """The requirements of the selector that its labels do not meet."""
        return [one for one in self.settings.selector.requirements if not one.matches(self.labels)]

    @property
    def unlisted_occupant(self) -> ClusterSecret | None:
        """A Secret under our name that is in no list of cluster Secrets."""
        found, inventory = self.occupant, self.seen.inventory
        listed = {secret.name for secret in (*inventory.secrets, *inventory.unmanaged)}
        return found if found is not None and found.name not in listed else None

    @property
    def unmanaged_secrets(self) -> list[ClusterSecret]:
        """Secrets of others for this cluster, or such as Argo CD would take for this cluster's."""
        membership, name, server = self.present, self.name.secret_name, ""
        if membership is not None:
            server = self.settings.gateway_url(membership.name, gke=membership.cluster is not None)
        names = {name} | {secret.data.get("name", name) for secret in self.secrets}
        same = known(self.seen, self.settings).get(self.name, [])
        return [
            other
            for other in self.seen.inventory.unmanaged
            if other in same or any(other.clashes_with(each, server) for each in names)
        ]
