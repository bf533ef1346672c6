"""`unregister_membership`: deletes the membership that we made for this very cluster, once that cluster is gone.

A living cluster keeps its membership, and so does every cluster whose membership is not ours. Needs: memberships get,
list, delete and operations get in the fleet project; clusters get and list in the source projects.
"""

from __future__ import annotations

from shared.clients.observe import read_membership, read_subject
from shared.clients.ports import Services
from shared.decisions import steps
from shared.decisions.outcomes import why, without_acting
from shared.decisions.steps import Move
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import RetryableError
from shared.values.messages import Next, Outcome, Request
from shared.values.model import Cluster, Gone, Membership, State
from shared.values.names import MembershipName
from shared.values.target import Subject


def run(asked: Request, services: Services) -> Outcome:
    """Do the step for what the message names.

    The memberships are read before the cluster: what is read of a cluster that is then proven gone cannot be a later
    cluster's. Each is read once more directly before it is deleted, for the API takes no precondition.
    """
    before = _read(asked, services)
    subject = read_subject(asked, services)
    if asked.cluster is None and subject.asked.cluster is not None:
        return run(subject.asked, services)
    move = steps.unregister(subject.state)
    if move not in (Move.UNREGISTER, Move.HAND_ON):
        return without_acting(move, subject, services.settings)
    ours = [membership for membership in before if _was_made_for_gone(membership, subject)]
    deleted = [membership.name for membership in ours if _delete(membership, services)]
    if deleted:
        again = read_subject(asked, services)
        if again.state is State.WANTED:
            return without_acting(Move.TO_REGISTER, again, services.settings)
    did = (
        f"deleted {', '.join(map(str, deleted))}"
        if deleted
        else "no membership of ours was left for a cluster that is gone"
    )
    following = Request(subject.asked.cluster, subject.asked.membership)
    decision = Decision.UNREGISTERED if deleted else Decision.NO_MEMBERSHIP
    message = f"{did}: {why(subject, services.settings)}"
    return Outcome(decision, subject.state, message, (Next("cluster-offboarded", following, bool(deleted)),))


def _read(asked: Request, services: Services) -> list[Membership]:
    """Read the memberships that may be ours: the one that the message names, and the one that we would have made.

    Not before it is known that the cluster is in a source project: others are left alone, unread.
    """
    if asked.cluster is None or asked.cluster.project not in services.settings.source_projects:
        return []
    names: list[MembershipName | None] = [asked.membership, asked.cluster.membership(services.settings.fleet_project)]
    found = [read_membership(name, services) for name in dict.fromkeys(names) if name is not None]
    return [membership for membership in found if not isinstance(membership, Gone)]


def _was_made_for_gone(membership: Membership, subject: Subject) -> bool:
    cluster = subject.cluster
    return isinstance(cluster, Cluster | Gone) and steps.made_for_gone(membership, cluster, subject.asked.cluster)


def _delete(membership: Membership, services: Services) -> bool:
    """Delete the very membership that was read, if it still stands; False when it is gone already."""
    now = read_membership(membership.name, services)
    if isinstance(now, Gone):
        return False
    if not membership.is_still(now):
        raise RetryableError(f"{membership.name} was made anew meanwhile: looked at again", ErrorCode.RECREATED)
    return services.fleet.delete(membership.name)
