"""`remove_secret`: holds the Secret of a cluster in deletion, and deletes that of a deleted one.

A running cluster is removed only by a sweep's `leave`, in two passes. Needs: gateway get, patch, delete and
memberships get, list in the fleet project; clusters get and list in the source projects; list, patch and delete on
Secrets in Argo CD's namespace (a Role in the central cluster).
"""

from __future__ import annotations

from shared.clients.observe import find_membership, read_subject
from shared.clients.ports import Services
from shared.decisions import removal, secret_plan
from shared.decisions.outcomes import no_op, why
from shared.decisions.removal import Situation
from shared.decisions.steps import Action
from shared.values import cluster_secret
from shared.values.codes import Decision, FindingCode
from shared.values.messages import Outcome, OutgoingMessage, StepRequest
from shared.values.model import Cluster, State
from shared.values.target import Subject

_DOING = {
    Action.HOLD: (Decision.HELD, "held the Secret"),
    Action.RELEASE: (Decision.RELEASED, "lifted the hold"),
    Action.DELETE: (Decision.DELETED, "deleted the Secret"),
    Action.CONTINUE: (Decision.NO_SECRET, "no Secret of ours is left"),
}


def run(request: StepRequest, services: Services) -> Outcome:
    """Do the step for what the message names."""
    if request.cluster is None:
        return _for_membership(request, services)
    secret = services.central.secret_of(request.cluster, None)
    subject = read_subject(request, services, has_secret=secret is not None)
    registered = (
        subject.state is State.UNSELECTED
        and secret is None
        and isinstance(subject.cluster, Cluster)
        and find_membership(subject.cluster, request.membership, services) is not None
    )
    situation = Situation.of_cluster(subject.state, secret, subject.cluster, registered=registered)
    return _act(request, subject, situation, services)


def _for_membership(request: StepRequest, services: Services) -> Outcome:
    """A membership's message becomes its cluster's where there is one; an attached cluster is its membership."""
    if request.membership == services.settings.central_membership:
        return no_op(Action.NOTHING, Subject(request, State.CENTRAL), services.settings)
    secret = services.central.secret_of(None, request.membership)
    if secret is not None and secret.cluster is not None:
        request = StepRequest(secret.cluster, request.membership, leave=request.leave)
        return _hand_to_cluster(request, f"Secret {secret.name} names it")
    if secret is None and request.membership and services.fleet.membership(request.membership) is None:
        # There is nothing to remove, so nothing to prove: the proof reads the location's whole list, once for each deletion.
        return Outcome(
            Decision.NO_OP,
            State.DELETED,
            f"the fleet answers 404 for {request.membership}, and no Secret of ours names it",
        )
    subject = read_subject(request, services, has_secret=secret is not None)
    if subject.request.cluster is not None:
        return _hand_to_cluster(subject.request, "the membership names it")
    return _act(request, subject, Situation.of_attached(subject.state, secret, subject.membership), services)


def _hand_to_cluster(request: StepRequest, reason: str) -> Outcome:
    message = f"a message for {request.cluster}: {reason}"
    return Outcome(
        Decision.FORWARDED, FindingCode.GKE_MEMBERSHIP, message, (OutgoingMessage("remove-secret", request),)
    )


def _act(request: StepRequest, subject: Subject, situation: Situation, services: Services) -> Outcome:
    """Decide and act, with the version of the Secret that was read before the cluster was read."""
    secret, reason = situation.secret, situation.reason
    move = removal.decide(situation, request.leave, services.settings.hold, services.now())
    if move is Action.REPORT and secret is not None and secret.is_pinned:
        message = f"{subject.name}: its Secret {secret.name} is pinned ({cluster_secret.KEEP})"
        return Outcome(Decision.BLOCKED, FindingCode.PINNED, message, severity="ERROR")
    if move not in _DOING:
        return no_op(move, subject, services.settings)
    said = why(subject, services.settings)
    decision, did = _DOING[move]
    if secret is not None and move is Action.DELETE:
        services.central.delete(secret)
    elif secret is not None and move in (Action.HOLD, Action.RELEASE):
        patch = secret_plan.hold(secret, reason, services.now()) if move is Action.HOLD else secret_plan.lift(secret)
        if patch is None:
            return Outcome(Decision.UNCHANGED, subject.state, f"the Secret is held already: {said}")
        services.central.patch(secret, patch)
        why_held = f" ({reason})" if move is Action.HOLD else ""
        return Outcome(decision, subject.state, f"{did}{why_held}: {said}")
    membership = subject.request.membership or (secret.membership if secret else None)
    following = (OutgoingMessage("revoke-rbac", StepRequest(subject.request.cluster, membership)),)
    return Outcome(decision, subject.state, f"{did}: {said}", following)
