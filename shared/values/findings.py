"""Results of a comparison: requests to the steps, and findings for people.

Pure values; `differences.py` makes them and `sweep_plan.py` selects among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.values.codes import FindingCode, Limit
from shared.values.messages import OutgoingMessage, StepRequest
from shared.values.names import ClusterName, MembershipName

# `repair` and `remove` follow what the APIs say; `hold` and `drop` follow labels and settings. `check` looks at the binding of a
# cluster in which nothing differs.
Kind = Literal["repair", "remove", "hold", "drop", "check"]


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request to a step, and why. `limit` counts it; `uid` is that of the Secret that it is about."""

    kind: Kind
    code: FindingCode
    next: OutgoingMessage
    reason: str
    limit: Limit | None = None
    uid: str = ""

    @property
    def subject(self) -> str:
        """The cluster (or membership) that it is about."""
        return str(self.next.request.name)


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the role binding of a cluster in which nothing differs. A sweep of a large fleet keeps one of each cluster."""

    topic: Literal["grant-rbac", "revoke-rbac"]
    cluster: ClusterName | None
    membership: MembershipName | None

    @property
    def subject(self) -> str:
        """The cluster (or membership) that it is about."""
        return str(self.cluster or self.membership)

    @property
    def request(self) -> StepRequest:
        """The request that does it."""
        return StepRequest(self.cluster, self.membership, check=self.topic == "revoke-rbac")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a sweep reports and does not change: what, why, and the command that helps ('' if no command helps)."""

    code: FindingCode
    subject: str
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Differences:
    """What differs (`requests`), what is only reported (`findings`), and the checks of clusters where nothing differs.

    `secrets` counts the Secrets of this instance, `left` those of attached clusters that have left the fleet.
    """

    requests: tuple[PlannedRequest, ...]
    findings: tuple[Finding, ...]
    unchanged: tuple[Check, ...]
    secrets: int
    left: int
