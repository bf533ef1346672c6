"""A message's cluster with its observed state, and a running cluster with its membership."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.values.messages import StepRequest
from shared.values.model import Cluster, Membership, Observed, State
from shared.values.names import ClusterName, MembershipName
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Subject:
    """A cluster and its state in docs/architecture.md#state-table.

    `request` has both names where both are known. `observed` is the GKE cluster, or the membership of an attached cluster,
    or the proof that it is gone; None if it was not read.
    """

    request: StepRequest
    state: State
    observed: Observed | None = None

    @property
    def name(self) -> str:
        """The name for people: the cluster's, or the membership's of an attached cluster."""
        return str(self.request.name)


@dataclass(frozen=True, slots=True)
class GkeTarget:
    """A GKE cluster and the membership by which Argo CD reaches it."""

    cluster: Cluster
    membership: Membership

    @property
    def name(self) -> ClusterName:
        """The cluster's name for people."""
        return self.cluster.name

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels at the source."""
        return self.cluster.labels

    def server(self, settings: Settings) -> str:
        """The URL at which Argo CD reaches the cluster."""
        return settings.gateway_url(self.membership.name, gke=True)


@dataclass(frozen=True, slots=True)
class AttachedTarget:
    """An attached cluster; Google Cloud has only its membership."""

    membership: Membership

    @property
    def name(self) -> MembershipName:
        """The cluster's name for people."""
        return self.membership.name

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels at the source."""
        return self.membership.labels

    def server(self, settings: Settings) -> str:
        """The URL at which Argo CD reaches the cluster."""
        return settings.gateway_url(self.membership.name, gke=False)


Target = GkeTarget | AttachedTarget


def target_of(cluster: Cluster | None, membership: Membership) -> Target:
    """Return the target of a membership; `cluster` is None for an attached cluster."""
    return AttachedTarget(membership) if cluster is None else GkeTarget(cluster, membership)
