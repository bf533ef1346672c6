"""What each step does in each state: docs/architecture.md#state-table as data, and the details that the table leaves open.

Pure: facts in, decisions out. Nothing here knows a client library, and nothing here acts.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from shared.values.cluster_secret import ClusterSecret
from shared.values.messages import Request
from shared.values.model import Cluster, Gone, Membership, State
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Move(enum.Enum):
    """What a step may do. `TO_…` publishes to that topic; `NOTHING`, `WARN` and `REPORT` acknowledge."""

    NOTHING = "nothing to do"
    WARN = "nothing, with a warning"
    REPORT = "nothing, reported"
    RAISE = "not ready yet"
    PERMANENT = "cannot be done"
    ONBOARD = "onboard"
    WRITE = "write the Secret"
    HOLD = "hold the Secret"
    LIFT = "lift the hold"
    DELETE = "delete the Secret"
    REVOKE = "revoke the binding"
    UNREGISTER = "delete our membership"
    HAND_ON = "nothing left to do here"
    TO_REGISTER = "turn to register-membership"
    TO_REMOVE = "turn to remove-secret"


class Leave(enum.Enum):
    """How `remove_secret` treats a Secret whose cluster is not wanted, or has left the fleet."""

    NOTHING = "nothing"
    HOLD = "hold"
    DELETE = "delete"


REGISTER: Final[Mapping[State, Move]] = {
    State.WANTED: Move.ONBOARD,
    State.NOT_WANTED: Move.NOTHING,
    State.NOT_YET: Move.NOTHING,
    State.NO_STATE: Move.WARN,
    State.GOING: Move.NOTHING,
    State.GONE: Move.TO_REMOVE,
    State.NOT_SOURCE: Move.NOTHING,
    State.OTHER_FLEET: Move.PERMANENT,
    State.CENTRAL: Move.NOTHING,
}
GRANT: Final[Mapping[State, Move]] = {**REGISTER, State.NOT_YET: Move.RAISE, State.GONE: Move.NOTHING}


def write(state: State, secret: ClusterSecret | None) -> Move:
    """`write_secret`: never creates for a cluster that is going; a Secret that is there is then for `remove_secret`."""
    if state is State.GOING:
        return Move.TO_REMOVE if secret else Move.NOTHING
    return {
        State.WANTED: Move.WRITE,
        State.NOT_WANTED: Move.NOTHING,
        State.NOT_YET: Move.RAISE,
        State.NO_STATE: Move.NOTHING,
        State.GONE: Move.TO_REMOVE,
        State.NOT_SOURCE: Move.NOTHING,
        State.OTHER_FLEET: Move.REPORT,
        State.CENTRAL: Move.NOTHING,
    }[state]


def remove(
    state: State,
    secret: ClusterSecret | None,
    asked: Request,
    settings: Settings,
    now: datetime,
    *,
    earlier: bool,
    registered: bool,
) -> Move:
    """`remove_secret` for a GKE cluster.

    `earlier`: the Secret was written for an earlier cluster of this name, which therefore is gone. `registered`: a
    membership is there. An event never lets a living cluster leave: only `leave`, which a sweep sends, does.
    """
    if secret is not None and secret.is_pinned and state is not State.WANTED:
        return Move.REPORT
    match state:
        case State.WANTED:
            return Move.TO_REGISTER
        case State.NOT_WANTED:
            if secret is None:
                return Move.HAND_ON if registered else Move.NOTHING
            return Move.DELETE if earlier else _as_leave_asks(secret, asked, settings, now, held_for="not-wanted")
        case State.NOT_YET:
            return Move.HOLD if secret is not None and earlier else Move.NOTHING
        case State.NO_STATE:
            if secret is None:
                return Move.NOTHING
            if earlier:
                return Move.HOLD
            return Move.LIFT if secret.hold and secret.hold.reason == "going" else Move.NOTHING
        case State.GOING:
            if secret is None:
                return Move.NOTHING
            return Move.DELETE if earlier else Move.HOLD
        case State.GONE:
            return Move.HAND_ON if secret is None else Move.DELETE
        case State.OTHER_FLEET:
            return Move.REPORT
        case State.NOT_SOURCE | State.CENTRAL:
            return Move.NOTHING


def remove_attached(
    state: State, secret: ClusterSecret | None, asked: Request, settings: Settings, now: datetime, *, earlier: bool
) -> Move:
    """`remove_secret` for an attached cluster: when its membership is gone it lives on, so it leaves by the sweep.

    The event only sets its Secret aside (`left-fleet`). `earlier`: the Secret is of an earlier membership of this name;
    that one is gone, but its cluster lives too, so no state deletes at once.
    """
    if secret is not None and secret.is_pinned and state is not State.WANTED:
        return Move.REPORT
    left = state is State.GONE or (state is State.NOT_WANTED and earlier)
    if secret is not None and left:
        move = _as_leave_asks(secret, asked, settings, now, held_for="left-fleet")
        held = secret.hold is not None and secret.hold.reason == "left-fleet"
        return Move.HOLD if move is Move.NOTHING and not held else move
    if state is State.GONE:
        return Move.NOTHING
    earlier = earlier and state is not State.GOING
    return remove(state, secret, asked, settings, now, earlier=earlier, registered=True)


def _as_leave_asks(secret: ClusterSecret, asked: Request, settings: Settings, now: datetime, *, held_for: str) -> Move:
    """Two looks: `hold` sets aside, `remove` removes only what has been set aside for that reason for `HOLD`."""
    standing = secret.hold
    held = standing is not None and standing.reason == held_for
    if asked.leave == "hold":
        return Move.NOTHING if held else Move.HOLD
    if asked.leave == "remove" and standing is not None and held and now - standing.since >= settings.hold:
        return Move.DELETE
    return Move.NOTHING


def revoke(state: State, *, secret_left: bool) -> Move:
    """`revoke_rbac`: only when no Secret of ours is left, and only on a cluster that lives and is not wanted."""
    if state is State.WANTED:
        return Move.TO_REGISTER
    if secret_left:
        return Move.NOTHING
    return {State.NOT_WANTED: Move.REVOKE, State.GONE: Move.HAND_ON}.get(state, Move.NOTHING)


def unregister(state: State) -> Move:
    """`unregister_membership`: a living cluster keeps its membership, the chain ends well all the same."""
    return {
        State.WANTED: Move.TO_REGISTER,
        State.NOT_WANTED: Move.HAND_ON,
        State.GONE: Move.UNREGISTER,
    }.get(state, Move.NOTHING)


class Found(enum.Enum):
    """What `register_membership` does with the membership that it found for a cluster."""

    USE = "use it"
    CREATE = "create ours"
    REPLACE = "it is ours, of an earlier cluster of that name: delete it and make it anew"
    WAIT = "it is not usable yet"
    CONTRADICTS = "cluster and membership do not name each other"
    IN_THE_WAY = "somebody else's membership has our id"


def membership_for(cluster: Cluster, found: Membership | Gone | None) -> Found:
    """Decide on the membership that was found by the cluster's own word, or under the id that we derive."""
    if found is None or isinstance(found, Gone):
        return Found.CREATE
    if found.cluster != cluster.name:
        return Found.CONTRADICTS if cluster.membership == found.name else Found.IN_THE_WAY
    if found.is_of_earlier(cluster):
        return Found.REPLACE
    return Found.USE if found.is_usable else Found.WAIT


def made_for_gone(membership: Membership | Gone | None, cluster: Cluster | Gone, name: object) -> bool:
    """Whether we made this membership for a cluster of that name that is proven gone, or was followed by another."""
    if membership is None or isinstance(membership, Gone) or membership.cluster != name or not membership.cluster_id:
        return False
    return isinstance(cluster, Gone) or membership.is_of_earlier(cluster)
