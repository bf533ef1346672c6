"""What each step does in each state: docs/architecture.md#state-table as data, and the details that the table leaves open.

Pure: facts in, decisions out. Nothing here knows a client library, and nothing here acts.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from shared.values.cluster_secret import ClusterSecret
from shared.values.model import Cluster, Gone, Membership, State
from shared.values.names import ClusterName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


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
    RELEASE = "release the hold"
    DELETE = "delete the Secret"
    REVOKE = "revoke the binding"
    UNREGISTER = "delete our membership"
    CONTINUE = "nothing left to do here"
    TO_REGISTER = "reverse to register-membership"
    TO_REMOVE = "reverse to remove-secret"


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
    """`write_secret`: creates nothing for a cluster that is being deleted; `remove_secret` then handles an existing Secret."""
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


def revoke(state: State, *, secret_left: bool) -> Action:
    """`revoke_rbac`: only when no Secret of ours is left, and only on a cluster that is running and not selected."""
    if state is State.SELECTED:
        return Action.TO_REGISTER
    if secret_left:
        return Action.NOTHING
    return {State.UNSELECTED: Action.REVOKE, State.DELETED: Action.CONTINUE}.get(state, Action.NOTHING)


def unregister(state: State) -> Action:
    """`unregister_membership`: a running cluster keeps its membership, and the chain ends without an error."""
    return {
        State.SELECTED: Action.TO_REGISTER,
        State.UNSELECTED: Action.CONTINUE,
        State.DELETED: Action.UNREGISTER,
    }.get(state, Action.NOTHING)


class MembershipAction(enum.Enum):
    """What `register_membership` does with the membership that it found for a cluster."""

    USE = "use it"
    CREATE = "create ours"
    REPLACE = "it is ours, of an earlier cluster of that name: delete and re-create it"
    WAIT = "it is not usable yet"
    STALE = "others made it for an earlier cluster of that name"
    MISMATCH = "cluster and membership do not name each other"
    UNMANAGED = "an unmanaged membership has our ID"


def membership_for(cluster: Cluster, found: Membership | Gone | None) -> MembershipAction:
    """Decide on the membership that the cluster names, or that has the id that we derive."""
    if found is None or isinstance(found, Gone):
        return MembershipAction.CREATE
    if found.cluster != cluster.name:
        return MembershipAction.MISMATCH if cluster.membership == found.name else MembershipAction.UNMANAGED
    if found.is_of_earlier(cluster):
        return MembershipAction.REPLACE
    if found.is_stale(cluster):
        return MembershipAction.STALE
    return MembershipAction.USE if found.is_usable else MembershipAction.WAIT


def membership_in_list(cluster: Cluster, memberships: Iterable[Membership]) -> Membership | None:
    """Return the membership in the fleet's list that names the cluster.

    The one that the cluster names comes first, then one of this very cluster, and last one of an earlier cluster of its
    name: `membership_for` decides on it.
    """
    naming = [membership for membership in memberships if membership.cluster == cluster.name]

    def rank(one: Membership) -> tuple[bool, bool, str]:
        return one.name != cluster.membership, one.is_of_earlier(cluster) or one.is_stale(cluster), str(one.name)

    return min(naming, key=rank, default=None)


def by_cluster(memberships: Iterable[Membership]) -> Mapping[ClusterName, list[Membership]]:
    """Group the memberships by the GKE cluster that they name."""
    found: dict[ClusterName, list[Membership]] = defaultdict(list)
    for membership in memberships:
        if membership.cluster is not None:
            found[membership.cluster].append(membership)
    return found


def made_for_gone(membership: Membership, cluster: Cluster | Gone, name: ClusterName | None) -> bool:
    """Whether we made this membership for a cluster of that name that is proven gone, or was followed by another."""
    if membership.cluster != name or not membership.cluster_id:
        return False
    return isinstance(cluster, Gone) or membership.is_of_earlier(cluster)
