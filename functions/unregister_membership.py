"""`unregister_membership`: deletes the membership that we made for this very cluster, once that cluster is gone.

A running cluster keeps its membership, and so does every cluster whose membership is not ours. With REGISTRATION=wait it
deletes none. Needs: memberships get,
list, delete and operations get in the fleet project; clusters get and list in the source projects.
"""

from __future__ import annotations

from dataclasses import replace

from shared.clients.observe import read_membership, read_subject
from shared.clients.ports import Services
from shared.decisions import steps
from shared.decisions.outcomes import no_op, why
from shared.decisions.steps import Action
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import RetryableError
from shared.values.messages import Outcome, StepRequest
from shared.values.model import Cluster, Gone, Membership, State, state_of_cluster
from shared.values.names import MembershipName
from shared.values.target import Subject


def run(request: StepRequest, services: Services) -> Outcome:
    """Run the step for the cluster or membership that the message names.

    The memberships are read before the cluster. If the cluster is then proven gone, they cannot belong to a later cluster
    of the same name. Each is read again directly before it is deleted, because the API takes no precondition.
    A uid in the message replaces the first read. Google chooses a membership's uid when it creates it: a message that is
    older than the proof cannot name the uid of a later cluster's membership.
    """
    uid = request.membership_uid
    before = [] if uid else _read(request, services)
    subject = read_subject(request, services)
    if request.cluster is None and subject.request.cluster is not None:
        return run(subject.request, services)
    move = steps.unregister(subject.state)
    if move not in (Action.UNREGISTER, Action.CONTINUE):
        return no_op(move, subject, services.settings)
    if uid:
        before = _read(request, services)
        if any(membership.unique_id != uid for membership in before):
            return run(replace(request, membership_uid=""), services)
    leave_all = services.settings.registration == "wait"
    deletable = [membership for membership in before if not leave_all and _was_made_for_gone(membership, subject)]
    deleted = [
        membership.name
        for membership in deletable
        if (services.fleet.delete(membership.name) if uid else _delete(membership, services))
    ]
    if deleted and (again := _created_meanwhile(subject, services)) is not None:
        return no_op(Action.TO_REGISTER, again, services.settings)
    did = f"deleted {', '.join(map(str, deleted))}" if deleted else "no membership of ours was left"
    if leave_all:
        did = "REGISTRATION=wait leaves the membership to others"
    if not deleted and move is Action.CONTINUE:
        did = "a running cluster keeps its membership"
    decision = Decision.UNREGISTERED if deleted else Decision.NO_MEMBERSHIP
    message = f"{did}: {why(subject, services.settings)}"
    return Outcome(decision, subject.state, message)


def _read(request: StepRequest, services: Services) -> list[Membership]:
    """Read the memberships that may be ours: the one that the message names, and the one that we would have made.

    Only for a cluster of a source project: other memberships are not read.
    """
    if request.cluster is None or request.cluster.project not in services.settings.source_projects:
        return []
    names: list[MembershipName | None] = [
        request.membership,
        request.cluster.membership(services.settings.fleet_project),
    ]
    found = [read_membership(name, services) for name in dict.fromkeys(names) if name is not None]
    return [membership for membership in found if not isinstance(membership, Gone)]


def _created_meanwhile(subject: Subject, services: Services) -> Subject | None:
    """Return the cluster if it is selected now: the membership that was deleted may have been its own."""
    name = subject.request.cluster
    found = services.gke.cluster(name) if name is not None else None
    if found is None or state_of_cluster(found, services.settings, services.central_cluster) is not State.SELECTED:
        return None
    return Subject(subject.request, State.SELECTED, found)


def _was_made_for_gone(membership: Membership, subject: Subject) -> bool:
    cluster = subject.observed
    return isinstance(cluster, Cluster | Gone) and steps.made_for_gone(membership, cluster, subject.request.cluster)


def _delete(membership: Membership, services: Services) -> bool:
    """Delete the membership that was read, and no re-created one; False if it does not exist any more."""
    now = read_membership(membership.name, services)
    if isinstance(now, Gone):
        return False
    if not membership.is_still(now):
        raise RetryableError(f"{membership.name} was re-created meanwhile: retried", ErrorCode.RECREATED)
    return services.fleet.delete(membership.name)
