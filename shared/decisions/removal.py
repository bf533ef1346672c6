"""Decides what happens to the Secret of a cluster that is not selected, for `remove_secret` and the sweep.

Pure. `decide` says what `remove_secret` does with a request; `next_removal` finds the request with which it would act
now, by calling `decide`. The sweep publishes exactly that request, so the two cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.decisions import secret_plan
from shared.decisions.steps import Action
from shared.values.cluster_secret import CLUSTER_ID, MEMBERSHIP_UID, ClusterSecret, Reason
from shared.values.messages import Leave
from shared.values.model import Cluster, Membership, Observed, State

if TYPE_CHECKING:
    from datetime import datetime, timedelta

LEAVES: Final[tuple[Leave, ...]] = ("", "hold", "remove")


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of a cluster, and the Secret that we have for it.

    `earlier`: the Secret was written for an earlier cluster (or membership) of this name, which therefore is gone.
    `registered`: the cluster has a membership; it matters only where there is no Secret.
    """

    state: State
    secret: ClusterSecret | None
    attached: bool = False
    earlier: bool = False
    registered: bool = False

    @classmethod
    def of_cluster(
        cls, state: State, secret: ClusterSecret | None, observed: Observed | None, *, registered: bool = False
    ) -> Situation:
        """The situation of a GKE cluster, as it was read."""
        now = observed.id if isinstance(observed, Cluster) else None
        earlier = secret is not None and secret.was_written_for_another(CLUSTER_ID, now)
        return cls(state, secret, earlier=earlier, registered=registered)

    @classmethod
    def of_attached(cls, state: State, secret: ClusterSecret | None, observed: Observed | None) -> Situation:
        """The situation of an attached cluster, from its membership."""
        now = observed.unique_id if isinstance(observed, Membership) else None
        earlier = secret is not None and secret.was_written_for_another(MEMBERSHIP_UID, now)
        return cls(state, secret, attached=True, earlier=earlier, registered=True)

    @property
    def reason(self) -> Reason:
        """Why the Secret would be held. An attached cluster outlives its membership, so it has left the fleet."""
        if self.attached and (self.state is State.DELETED or (self.state is State.UNSELECTED and self.earlier)):
            return "left-fleet"
        return "not-wanted" if self.state is State.UNSELECTED else "going"


def decide(situation: Situation, leave: Leave, hold: timedelta, now: datetime) -> Action:
    """Return what `remove_secret` does. An event (no `leave`) never removes the Secret of a running cluster.

    The cluster behind an earlier Secret of a GKE cluster is gone, so that Secret is deleted at once where this cluster's
    state is certain. The cluster behind an attached cluster's Secret always lives on: it leaves in two passes.
    """
    state, secret, earlier = situation.state, situation.secret, situation.earlier
    if state is State.SELECTED:
        return Action.TO_REGISTER
    if secret is None:
        return _without_secret(situation)
    if secret.is_pinned:
        return Action.REPORT
    if situation.reason == "left-fleet":
        held = secret.hold is not None and secret.hold.reason == "left-fleet"
        return _leaving(secret, situation.reason, leave, hold, now) if held else Action.HOLD
    match state:
        case State.UNSELECTED:
            return Action.DELETE if earlier else _leaving(secret, situation.reason, leave, hold, now)
        case State.PROVISIONING:
            return Action.HOLD if earlier else Action.NOTHING
        case State.UNKNOWN:
            if earlier:
                return Action.HOLD
            return Action.RELEASE if secret.hold and secret.hold.reason == "going" else Action.NOTHING
        case State.DELETING:
            return Action.DELETE if earlier and not situation.attached else Action.HOLD
        case State.DELETED:
            return Action.DELETE
        case State.OTHER_FLEET:
            return Action.REPORT
        case _:
            return Action.NOTHING


def is_of_another(secret: ClusterSecret, membership: Observed | None) -> bool:
    """Return whether the membership, and so the server, of a GKE cluster's Secret belongs to another GKE cluster now.

    Argo CD would deploy the applications of the Secret's cluster to the other one. A membership that GKE or a person named
    can be reused while the Secret stays, because its cluster cannot be read, is in another fleet, or is pinned.
    """
    if not isinstance(membership, Membership) or secret.cluster is None or secret.membership != membership.name:
        return False
    return membership.cluster not in (None, secret.cluster)


def next_removal(situation: Situation, hold: timedelta, now: datetime) -> tuple[Action, Leave] | None:
    """Return what `remove_secret` can do to the Secret now, and the `leave` that it takes; None: nothing."""
    for leave in LEAVES:
        action = decide(situation, leave, hold, now)
        if acts(action, situation, now):
            # Everything that the removal limit counts carries `leave`, also where an event would do the same.
            return action, "hold" if action is Action.HOLD and situation.reason != "going" else leave
    return None


def acts(action: Action, situation: Situation, now: datetime) -> bool:
    """True if the action changes the Secret: a Secret that is held for this reason already is not held again."""
    if situation.secret is None:
        return False
    if action is Action.HOLD:
        return secret_plan.hold(situation.secret, situation.reason, now) is not None
    return action in (Action.DELETE, Action.RELEASE)


def _without_secret(situation: Situation) -> Action:
    match situation.state:
        case State.UNSELECTED if situation.registered:
            return Action.CONTINUE
        case State.DELETED if not situation.attached:
            return Action.CONTINUE
        case State.OTHER_FLEET:
            return Action.REPORT
        case _:
            return Action.NOTHING


def _leaving(secret: ClusterSecret, reason: Reason, leave: Leave, hold: timedelta, now: datetime) -> Action:
    """Two passes: `hold` holds, `remove` deletes only what has been held for this reason for the time `hold`."""
    current = secret.hold
    if leave == "remove" and current is not None and current.reason == reason and now - current.since >= hold:
        return Action.DELETE
    # A hold that lacks its label or annotation is completed, and keeps its time.
    lacks = secret_plan.hold(secret, reason, now) is not None
    return Action.HOLD if leave == "hold" and lacks else Action.NOTHING
