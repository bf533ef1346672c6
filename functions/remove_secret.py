"""`remove_secret`: holds the Secret of a cluster that is going, deletes that of one that is gone.

A living cluster leaves only by what a sweep asks with `leave`, in two looks. Needs: gateway get, patch, delete and
memberships get, list in the fleet project; clusters get and list in the source projects; list, patch and delete on
Secrets in Argo CD's namespace (a Role in the central cluster).
"""

from __future__ import annotations

from shared.clients.observe import find_membership, read_subject
from shared.clients.ports import Services
from shared.decisions import secret_plan, steps
from shared.decisions.outcomes import why, without_acting
from shared.decisions.steps import Move
from shared.values import cluster_secret
from shared.values.cluster_secret import CLUSTER_ID, MEMBERSHIP_UID, ClusterSecret, Reason
from shared.values.codes import Decision, Finding
from shared.values.messages import Next, Outcome, Request
from shared.values.model import Cluster, Membership, State
from shared.values.target import Subject

_DOING = {
    Move.HOLD: (Decision.HELD, "held the Secret"),
    Move.LIFT: (Decision.RELEASED, "lifted the hold"),
    Move.DELETE: (Decision.DELETED, "deleted the Secret"),
    Move.HAND_ON: (Decision.NO_SECRET, "no Secret of ours is left"),
}


def run(asked: Request, services: Services) -> Outcome:
    """Do the step for what the message names."""
    if asked.cluster is None:
        return _for_membership(asked, services)
    secret = services.central.secret_of(asked.cluster, None)
    subject = read_subject(asked, services, has_secret=secret is not None)
    cluster = subject.cluster if isinstance(subject.cluster, Cluster) else None
    earlier = secret is not None and secret.was_written_for_another(CLUSTER_ID, cluster.id if cluster else None)
    registered = (
        subject.state is State.NOT_WANTED
        and secret is None
        and cluster is not None
        and find_membership(cluster, asked.membership, services) is not None
    )
    move = steps.remove(
        subject.state, secret, asked, services.settings, services.now(), earlier=earlier, registered=registered
    )
    return _act(move, subject, secret, "not-wanted" if subject.state is State.NOT_WANTED else "going", services)


def _for_membership(asked: Request, services: Services) -> Outcome:
    """A membership's message becomes its cluster's where there is one; an attached cluster is its membership."""
    if asked.membership == services.settings.central_membership:
        return without_acting(Move.NOTHING, Subject(asked, State.CENTRAL), services.settings)
    secret = services.central.secret_of(None, asked.membership)
    if secret is not None and secret.cluster is not None:
        request = Request(secret.cluster, asked.membership, leave=asked.leave)
        return _hand_to_cluster(request, f"Secret {secret.name} names it")
    if secret is None and asked.membership and services.fleet.membership(asked.membership) is None:
        # There is nothing to remove, so nothing to prove: the proof reads the location's whole list, once for each deletion.
        return Outcome(
            Decision.NO_OP, State.GONE, f"the fleet answers 404 for {asked.membership}, and no Secret of ours names it"
        )
    subject = read_subject(asked, services, has_secret=secret is not None)
    if subject.asked.cluster is not None:
        return _hand_to_cluster(subject.asked, "the membership names it")
    membership = subject.membership if isinstance(subject.membership, Membership) else None
    uid = membership.unique_id if membership else None
    earlier = secret is not None and secret.was_written_for_another(MEMBERSHIP_UID, uid)
    move = steps.remove_attached(subject.state, secret, asked, services.settings, services.now(), earlier=earlier)
    left = subject.state is State.GONE or (subject.state is State.NOT_WANTED and earlier)
    reason: Reason = "left-fleet" if left else "not-wanted" if subject.state is State.NOT_WANTED else "going"
    return _act(move, subject, secret, reason, services)


def _hand_to_cluster(request: Request, reason: str) -> Outcome:
    message = f"a message for {request.cluster}: {reason}"
    return Outcome(Decision.FORWARDED, Finding.GKE_MEMBERSHIP, message, (Next("remove-secret", request),))


def _act(move: Move, subject: Subject, secret: ClusterSecret | None, reason: Reason, services: Services) -> Outcome:
    """Carry the move out, with the version of the Secret that was read before what is true was read."""
    if move is Move.REPORT and secret is not None and secret.is_pinned:
        message = f"{subject.name}: its Secret {secret.name} is pinned ({cluster_secret.KEEP})"
        return Outcome(Decision.BLOCKED, Finding.PINNED, message, severity="ERROR")
    if move not in _DOING:
        return without_acting(move, subject, services.settings)
    said = why(subject, services.settings)
    decision, did = _DOING[move]
    if secret is not None and move is Move.DELETE:
        services.central.delete(secret)
    elif secret is not None and move in (Move.HOLD, Move.LIFT):
        patch = secret_plan.hold(secret, reason, services.now()) if move is Move.HOLD else secret_plan.lift(secret)
        if patch is None:
            return Outcome(Decision.UNCHANGED, subject.state, f"the Secret is held already: {said}")
        services.central.patch(secret, patch)
        why_held = f" ({reason})" if move is Move.HOLD else ""
        return Outcome(decision, subject.state, f"{did}{why_held}: {said}")
    membership = subject.asked.membership or (secret.membership if secret else None)
    following = (Next("revoke-rbac", Request(subject.asked.cluster, membership)),)
    return Outcome(decision, subject.state, f"{did}: {said}", following)
