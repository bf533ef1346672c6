"""A cluster that a message names, with what was read of it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.values.messages import StepRequest
from shared.values.model import Cluster, Gone, Membership, State


@dataclass(frozen=True, slots=True)
class Subject:
    """A cluster and the row of the table of states that it is in.

    `request` has both names where both are known. `cluster` is what GKE says; for an attached cluster it is None and
    `membership` speaks.
    """

    request: StepRequest
    state: State
    cluster: Cluster | Gone | None = None
    membership: Membership | Gone | None = None

    @property
    def name(self) -> str:
        """The name for people: the cluster's, or the membership's of an attached cluster."""
        return str(self.request.cluster or self.request.membership)
