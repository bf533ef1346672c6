"""What each step does in each state: docs/architecture.md#state-table as data, and the details that the table leaves open.

Pure: facts in, decisions out. Nothing here knows a client library, and nothing here acts.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from shared.values.cluster_secret import ClusterSecret
from shared.values.messages import StepRequest
from shared.values.model import Cluster, Gone, Membership, State
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Action(enum.Enum):
    """What a step may do. `TO_…` publishes to that topic; `NOTHING`, `WARN` and `REPORT` acknowledge."""

    NOTHING = "nothing to do"
    WARN = "nothing, with a warning"
    REPORT = "nothing, reported"
    RAISE = "not ready yet"
    PERMANENT = "cannot be done"
    ONBOARD = "onboard"
    WRITE = "write the Secret"
    HOLD = "hold the Secret"
    RELEASE = "lift the hold"
    DELETE = "delete the Secret"
    REVOKE = "revoke the binding"
    UNREGISTER = "delete our membership"
    CONTINUE = "nothing left to do here"
    TO_REGISTER = "turn to register-membership"
    TO_REMOVE = "turn to remove-secret"


class Leave(enum.Enum):
    """How `remove_secret` treats a Secret whose cluster is not wanted, or has left the fleet."""

    NOTHING = "nothing"
    HOLD = "hold"
    DELETE = "delete"


REGISTER: Final[Mapping[State, Action]] = {
    State.SELECTED: Action.ONBOARD,
    State.UNSELECTED: Action.NOTHING,
    State.PROVISIONING: Action.NOTHING,
    State.UNKNOWN: Action.WARN,
    State.DELETING: Action.NOTHING,
    State.DELETED: Action.TO_REMOVE,
    State.NOT_SOURCE: Action.NOTHING,
    State.OTHER_FLEET: Action.PERMANENT,
    State.CENTRAL: Action.NOTHING,
}
GRANT: Final[Mapping[State, Action]] = {**REGISTER, State.PROVISIONING: Action.RAISE, State.DELETED: Action.NOTHING}


def write(state: State, secret: ClusterSecret | None) -> Action:
    """`write_secret`: never creates for a cluster that is going; a Secret that is there is then for `remove_secret`."""
    if state is State.DELETING:
        return Action.TO_REMOVE if secret else Action.NOTHING
    return {
        State.SELECTED: Action.WRITE,
        State.UNSELECTED: Action.NOTHING,
        State.PROVISIONING: Action.RAISE,
        State.UNKNOWN: Action.NOTHING,
        State.DELETED: Action.TO_REMOVE,
        State.NOT_SOURCE: Action.NOTHING,
        State.OTHER_FLEET: Action.REPORT,
        State.CENTRAL: Action.NOTHING,
    }[state]


def remove(
    state: State,
    secret: ClusterSecret | None,
    request: StepRequest,
    settings: Settings,
    now: datetime,
    *,
    earlier: bool,
    registered: bool,
) -> Action:
    """`remove_secret` for a GKE cluster.

    `earlier`: the Secret was written for an earlier cluster of this name, which therefore is gone. `registered`: a
    membership is there. An event never lets a living cluster leave: only `leave`, which a sweep sends, does.
    """
    if secret is not None and secret.is_pinned and state is not State.SELECTED:
        return Action.REPORT
    match state:
        case State.SELECTED:
            return Action.TO_REGISTER
        case State.UNSELECTED:
            if secret is None:
                return Action.CONTINUE if registered else Action.NOTHING
            return Action.DELETE if earlier else _as_leave_asks(secret, request, settings, now, held_for="not-wanted")
        case State.PROVISIONING:
            return Action.HOLD if secret is not None and earlier else Action.NOTHING
        case State.UNKNOWN:
            if secret is None:
                return Action.NOTHING
            if earlier:
                return Action.HOLD
            return Action.RELEASE if secret.hold and secret.hold.reason == "going" else Action.NOTHING
        case State.DELETING:
            if secret is None:
                return Action.NOTHING
            return Action.DELETE if earlier else Action.HOLD
        case State.DELETED:
            return Action.CONTINUE if secret is None else Action.DELETE
        case State.OTHER_FLEET:
            return Action.REPORT
        case State.NOT_SOURCE | State.CENTRAL:
            return Action.NOTHING


def remove_attached(
    state: State,
    secret: ClusterSecret | None,
    request: StepRequest,
    settings: Settings,
    now: datetime,
    *,
    earlier: bool,
) -> Action:
    """`remove_secret` for an attached cluster: when its membership is gone it lives on, so it leaves by the sweep.

    The event only sets its Secret aside (`left-fleet`). `earlier`: the Secret is of an earlier membership of this name;
    that one is gone, but its cluster lives too, so no state deletes at once.
    """
    if secret is not None and secret.is_pinned and state is not State.SELECTED:
        return Action.REPORT
    left = state is State.DELETED or (state is State.UNSELECTED and earlier)
    if secret is not None and left:
        move = _as_leave_asks(secret, request, settings, now, held_for="left-fleet")
        held = secret.hold is not None and secret.hold.reason == "left-fleet"
        return Action.HOLD if move is Action.NOTHING and not held else move
    if state is State.DELETED:
        return Action.NOTHING
    earlier = earlier and state is not State.DELETING
    return remove(state, secret, request, settings, now, earlier=earlier, registered=True)


def _as_leave_asks(
    secret: ClusterSecret, request: StepRequest, settings: Settings, now: datetime, *, held_for: str
) -> Action:
    """Two looks: `hold` sets aside, `remove` removes only what has been set aside for that reason for `HOLD`."""
    standing = secret.hold
    held = standing is not None and standing.reason == held_for
    if request.leave == "hold":
        return Action.NOTHING if held else Action.HOLD
    if request.leave == "remove" and standing is not None and held and now - standing.since >= settings.hold:
        return Action.DELETE
    return Action.NOTHING


def revoke(state: State, *, secret_left: bool) -> Action:
    """`revoke_rbac`: only when no Secret of ours is left, and only on a cluster that lives and is not wanted."""
    if state is State.SELECTED:
        return Action.TO_REGISTER
    if secret_left:
        return Action.NOTHING
    return {State.UNSELECTED: Action.REVOKE, State.DELETED: Action.CONTINUE}.get(state, Action.NOTHING)


def unregister(state: State) -> Action:
    """`unregister_membership`: a living cluster keeps its membership, the chain ends well all the same."""
    return {
        State.SELECTED: Action.TO_REGISTER,
        State.UNSELECTED: Action.CONTINUE,
        State.DELETED: Action.UNREGISTER,
    }.get(state, Action.NOTHING)


class MembershipAction(enum.Enum):
    """What `register_membership` does with the membership that it found for a cluster."""

    USE = "use it"
    CREATE = "create ours"
    REPLACE = "it is ours, of an earlier cluster of that name: delete it and make it anew"
    WAIT = "it is not usable yet"
    MISMATCH = "cluster and membership do not name each other"
    UNMANAGED = "somebody else's membership has our id"


def membership_for(cluster: Cluster, found: Membership | Gone | None) -> MembershipAction:
    """Decide on the membership that was found by the cluster's own word, or under the id that we derive."""
    if found is None or isinstance(found, Gone):
        return MembershipAction.CREATE
    if found.cluster != cluster.name:
        return MembershipAction.MISMATCH if cluster.membership == found.name else MembershipAction.UNMANAGED
    if found.is_of_earlier(cluster):
        return MembershipAction.REPLACE
    return MembershipAction.USE if found.is_usable else MembershipAction.WAIT


def made_for_gone(membership: Membership | Gone | None, cluster: Cluster | Gone, name: object) -> bool:
    """Whether we made this membership for a cluster of that name that is proven gone, or was followed by another."""
    if membership is None or isinstance(membership, Gone) or membership.cluster != name or not membership.cluster_id:
        return False
    return isinstance(cluster, Gone) or membership.is_of_earlier(cluster)
