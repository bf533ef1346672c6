"""A cluster that a message names, with what was read of it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.values.messages import Request
from shared.values.model import Cluster, Gone, Membership, State


@dataclass(frozen=True, slots=True)
class Subject:
    """A cluster and the row of the table of states that it is in.

    `asked` has both names where both are known. `cluster` is what GKE says; for an attached cluster it is None and
    `membership` speaks.
    """

    asked: Request
    state: State
    cluster: Cluster | Gone | None = None
    membership: Membership | Gone | None = None

    @property
    def name(self) -> str:
        """The name for people: the cluster's, or the membership's of an attached cluster."""
        return str(self.asked.cluster or self.asked.membership)
