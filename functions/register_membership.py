"""`register_membership`: makes sure that a selected, running cluster is in our fleet and READY; then `grant-rbac`.

Needs: memberships create, delete, get, list and operations get in the fleet project; clusters get and list in the
source projects. Deletes only a membership of its own that an earlier cluster of the same name has left behind.
"""

from __future__ import annotations

from shared.clients.observe import find_membership, read_cluster, read_subject
from shared.clients.ports import Services
from shared.decisions import steps
from shared.decisions.outcomes import no_op
from shared.decisions.steps import Action, MembershipAction
from shared.values.codes import Decision, ErrorCode, FindingCode
from shared.values.commands import gcloud_on
from shared.values.errors import ConflictError, PermanentError, RetryableError, TakenError
from shared.values.messages import Outcome, OutgoingMessage, StepRequest
from shared.values.model import Cluster, Membership, State, state_of_cluster
from shared.values.target import Subject


def run(request: StepRequest, services: Services) -> Outcome:
    """Run the step for the cluster or membership that the message names."""
    subject = read_subject(request, services)
    move = steps.REGISTER[subject.state]
    if move is not Action.ONBOARD:
        return no_op(move, subject, services.settings)
    cluster = subject.observed
    if isinstance(cluster, Cluster):
        if services.settings.registration == "wait":
            found = find_membership(cluster, subject.request.membership, services)
            if found is None:
                return _waiting(subject)
            membership, decision = _usable(cluster, found), Decision.UNCHANGED
        else:
            membership, decision = _ensure_membership(cluster, services)
        following = StepRequest(cluster.name, membership.name, new=decision is Decision.REGISTERED)
    else:
        following, decision = StepRequest(membership=subject.request.membership), Decision.UNCHANGED
    did = "was registered" if decision is Decision.REGISTERED else "is in the fleet"
    message = f"{following.membership} {did}: {subject.name} is {subject.state.text}"
    return Outcome(decision, subject.state, message, (OutgoingMessage("grant-rbac", following),))


def _ensure_membership(cluster: Cluster, services: Services) -> tuple[Membership, Decision]:
    """Return the cluster's membership, and REGISTERED if it was created here, else UNCHANGED."""
    own = cluster.name.membership(services.settings.fleet_project)
    found = services.fleet.membership(cluster.membership) if cluster.membership else None
    if found is None:
        try:
            return _ready(services.fleet.create(own, cluster)), Decision.REGISTERED
        except (TakenError, ConflictError) as error:
            # The ID is taken, or the cluster: the fleet's list says by which membership.
            found = services.fleet.membership(own) if isinstance(error, TakenError) else None
            found = found or _membership_in_list(cluster, services)
            if found is None:
                raise
    match steps.membership_for(cluster, found):
        case MembershipAction.USE:
            return found, Decision.UNCHANGED
        case MembershipAction.REPLACE:
            _delete_earlier(cluster, found, services)
            return _ready(services.fleet.create(own, cluster)), Decision.REGISTERED
        case MembershipAction.UNMANAGED:
            raise PermanentError(
                f"cannot register {cluster.name}: membership {found.name} exists already, names"
                f" {found.cluster or 'no GKE cluster'} and is unmanaged. If nobody needs it, unregister it, then replay the"
                f" message:\n{gcloud_on('delete', found.name)}",
                ErrorCode.UNMANAGED_MEMBERSHIP,
            )
        case MembershipAction.STALE:
            raise PermanentError(
                f"cannot register {cluster.name}: membership {found.name} names it, but is older than the cluster, so it was"
                " created for an earlier cluster of this name. It is unmanaged. Unregister it, then replay the message:\n"
                f"{gcloud_on('delete', found.name)}",
                ErrorCode.UNMANAGED_MEMBERSHIP,
            )
        case MembershipAction.WAIT:
            return _usable(cluster, found), Decision.UNCHANGED
        case _:
            raise RetryableError(
                f"{cluster.name} says that its membership is {found.name}, which names {found.cluster or 'no GKE cluster'}",
                ErrorCode.MEMBERSHIP_MISMATCH,
            )


def _delete_earlier(cluster: Cluster, found: Membership, services: Services) -> None:
    """Delete our membership of an earlier cluster of that name; a membership that changed meanwhile stays.

    The cluster was read before the membership. If this step paused in between, the membership of a *later* cluster looks
    like that of an earlier one. So both are read again, the membership directly before it is deleted.
    """
    again = read_cluster(cluster.name, services)
    if state_of_cluster(again, services.settings, services.central_cluster) is not State.SELECTED:
        raise RetryableError(f"{cluster.name} is no longer running and selected: retried", ErrorCode.NOT_SELECTED)
    now = services.fleet.membership(found.name)
    if not isinstance(again, Cluster) or again.id != cluster.id or not found.is_still(now):
        raise RetryableError(f"{cluster.name} or {found.name} was re-created meanwhile: retried", ErrorCode.RECREATED)
    services.fleet.delete(found.name)


def _membership_in_list(cluster: Cluster, services: Services) -> Membership | None:
    listed = services.fleet.list(services.settings.fleet_project)
    return steps.membership_in_list(cluster, listed.items)


def _usable(cluster: Cluster, found: Membership) -> Membership:
    if not found.is_usable:
        raise RetryableError(
            f"{found.name} of {cluster.name} is {found.state}: not ready yet", ErrorCode.MEMBERSHIP_NOT_READY
        )
    return found


def _waiting(subject: Subject) -> Outcome:
    message = f"{subject.name} waits for a membership: REGISTRATION=wait leaves the registration to others"
    return Outcome(Decision.WAITING, FindingCode.WAITING_FOR_MEMBERSHIP, message)


def _ready(made: Membership) -> Membership:
    if not made.is_usable:
        raise RetryableError(
            f"{made.name} was registered and is {made.state}: not ready yet", ErrorCode.MEMBERSHIP_NOT_READY
        )
    return made
