"""`remove_secret`: holds the Secret of a cluster in deletion, and deletes that of a deleted one.

A running cluster is removed only by a sweep's `leave`, in two passes. Needs: memberships get, list
in the fleet project; gateway get, patch, delete and memberships get in the central cluster's; clusters get and list in the
source projects; list, patch and delete on Secrets in Argo CD's namespace (a Role in the central cluster).
With list on Applications there, the log and the event say how many Applications pointed to an offboarded cluster.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from shared.clients import deadline
from shared.clients.observe import find_membership, read_membership, read_subject
from shared.clients.ports import Services
from shared.decisions import cluster_events, removal, secret_plan
from shared.decisions.outcomes import no_op, why
from shared.decisions.removal import Situation
from shared.decisions.steps import Action
from shared.values import cluster_secret
from shared.values.cluster_event import EventType
from shared.values.cluster_secret import MEMBERSHIP_UID, ClusterSecret
from shared.values.codes import Decision, FindingCode
from shared.values.errors import ReconcileError
from shared.values.messages import Outcome, OutgoingMessage, StepRequest
from shared.values.model import GONE, Cluster, Membership, State, state_of_attached, state_of_cluster
from shared.values.names import ClusterName, MembershipName
from shared.values.target import Subject

# Events hold at most this many Secrets of attached clusters that have left the fleet. A sweep decides on more of them.
EVENT_HOLDS: Final = 3
COUNT_SECONDS: Final = 10.0
_DOING = {
    Action.HOLD: (Decision.HELD, "held the Secret"),
    Action.RELEASE: (Decision.RELEASED, "released the hold, so Argo CD carries out what waited"),
    Action.DELETE: (Decision.DELETED, "deleted the Secret"),
    Action.CONTINUE: (Decision.NO_SECRET, "no Secret of ours is left"),
}


def run(request: StepRequest, services: Services) -> Outcome:
    """Run the step for the cluster or membership that the message names."""
    name = request.name
    if isinstance(name, MembershipName):
        return _for_membership(name, request, services)
    secret = services.central.secret_of(name)
    if secret is not None:
        request = request.from_reader_of(secret.uid)
    if request.leave == "other-cluster":
        return _hold_of_another(request, secret, services)
    subject = read_subject(request, services, has_secret=secret is not None)
    registered = (
        subject.state is State.UNSELECTED
        and secret is None
        and isinstance(subject.observed, Cluster)
        and find_membership(subject.observed, request.membership, services) is not None
    )
    situation = Situation.of_cluster(subject.state, secret, subject.observed, registered=registered)
    return _act(request, subject, situation, services)


def _for_membership(name: MembershipName, request: StepRequest, services: Services) -> Outcome:
    """Forward the request to the membership's GKE cluster, or act on the attached cluster that the membership represents."""
    if name == services.settings.central_membership:
        return no_op(Action.NOTHING, Subject(request, State.CENTRAL), services.settings)
    secret = services.central.secret_of(name)
    if secret is not None:
        request = request.from_reader_of(secret.uid)
    if secret is None and not request.leave:
        # Nothing can be removed, so skip all reads. Many deletions of GKE clusters end with such an event.
        message = f"nothing to do: no Secret of ours names {name}"
        return Outcome(Decision.NO_OP, FindingCode.NO_SECRET, message)
    if secret is not None and secret.cluster is not None and not request.leave:
        return _for_membership_of(secret.cluster, request, services)
    if secret is not None and secret.cluster is not None:
        request = replace(request, cluster=secret.cluster)
        return _hand_to_cluster(request, f"Secret {secret.name} names it")
    membership = read_membership(name, services)
    if isinstance(membership, Membership) and membership.cluster is not None:
        if secret is None or not secret.was_written_for_another(MEMBERSHIP_UID, membership.unique_id):
            request = replace(request, cluster=membership.cluster)
            return _hand_to_cluster(request, "the membership names it")
        # The id belongs to a GKE cluster now. The attached cluster of this Secret has left the fleet.
        membership = GONE
    subject = Subject(request, state_of_attached(membership, services.settings), membership)
    return _act(request, subject, Situation.of_attached(subject.state, secret, membership), services)


def _for_membership_of(cluster: ClusterName, request: StepRequest, services: Services) -> Outcome:
    """Return a deleted membership to a cluster that is running and selected.

    A deleted cluster has an audit entry of its own, which starts its chain; a sweep starts it if the entry is lost.
    """
    found = services.gke.cluster(cluster)
    if found is not None:
        state = state_of_cluster(found, services.settings, services.central_cluster)
        if state is State.SELECTED:
            subject = Subject(StepRequest(cluster, request.membership), state, found)
            return no_op(Action.TO_REGISTER, subject, services.settings)
    message = f"nothing to do: {cluster}, which {request.membership} was for, is not running and selected"
    return Outcome(Decision.NO_OP, FindingCode.GKE_MEMBERSHIP, message)


def _hold_of_another(request: StepRequest, secret: ClusterSecret | None, services: Services) -> Outcome:
    """Hold the Secret if its membership belongs to another cluster now. Does not read the Secret's own cluster."""
    membership = services.fleet.membership(secret.membership) if secret is not None and secret.membership else None
    code = FindingCode.OTHER_CLUSTER
    if secret is None or membership is None or secret.is_pinned or not removal.is_of_another(secret, membership):
        message = f"nothing to do: {request.cluster} has no Secret that another cluster's membership names"
        return Outcome(Decision.NO_OP, code, message)
    if secret.hold is None and (patch := secret_plan.hold(secret, "other-cluster", services.now())):
        services.central.patch(secret, patch)
        message = f"held the Secret (other-cluster): {membership.name} is the membership of {membership.cluster} now"
        return Outcome(
            Decision.HELD, code, message, event=cluster_events.of_secret(EventType.HELD, secret, "other-cluster")
        )
    message = f"Secret {secret.name} is held already"
    return Outcome(Decision.UNCHANGED, code, message, event=cluster_events.held_earlier(secret, "other-cluster"))


def _hand_to_cluster(request: StepRequest, reason: str) -> Outcome:
    message = f"a message for {request.cluster}: {reason}"
    return Outcome(
        Decision.FORWARDED, FindingCode.GKE_MEMBERSHIP, message, (OutgoingMessage("remove-secret", request),)
    )


def _act(request: StepRequest, subject: Subject, situation: Situation, services: Services) -> Outcome:
    """Decide and act. Writes use the version of the Secret that was read before the cluster, so a stale decision fails."""
    secret, reason = situation.secret, situation.reason
    move = removal.decide(situation, request.leave, services.settings.hold, services.now())
    if move is Action.REPORT and secret is not None and secret.is_pinned:
        message = f"{subject.name}: its Secret {secret.name} is pinned ({cluster_secret.KEEP})"
        return Outcome(Decision.BLOCKED, FindingCode.PINNED, message, severity="ERROR")
    if move not in _DOING:
        earlier = cluster_events.held_earlier(secret, reason)
        if secret is None and request.leave == "remove":
            earlier = cluster_events.of_secret(EventType.OFFBOARDED, None, earlier=True)
        return replace(no_op(move, subject, services.settings), event=earlier)
    explained = why(subject, services.settings)
    decision, did = _DOING[move]
    applications = None
    if secret is not None and move is Action.DELETE:
        services.central.delete(secret)
        applications = _count_left_applications(secret, services)
    elif secret is not None and move in (Action.HOLD, Action.RELEASE):
        patch = secret_plan.hold(secret, reason, services.now()) if move is Action.HOLD else secret_plan.release(secret)
        if patch is None:
            text = f"the Secret is held already: {explained}"
            return Outcome(Decision.UNCHANGED, subject.state, text, event=cluster_events.held_earlier(secret, reason))
        if reason == "left-fleet" and not request.leave and services.central.count_held(reason) >= EVENT_HOLDS:
            message = (
                f"nothing to do: {explained}, and so are {EVENT_HOLDS} or more attached clusters whose Secrets are held."
                " The next sweep decides on all of them by its removal limit"
            )
            return Outcome(Decision.NO_OP, FindingCode.LEFT_FLEET, message, severity="WARNING")
        services.central.patch(secret, patch)
        why_held = f" ({reason})" if move is Action.HOLD else ""
        kind = EventType.HELD if move is Action.HOLD else EventType.RELEASED
        event = cluster_events.of_secret(kind, secret, reason if move is Action.HOLD else "")
        return Outcome(decision, subject.state, f"{did}{why_held}: {explained}", event=event)
    membership = subject.request.membership or (secret.membership if secret else None)
    # A cluster that is gone has no binding to revoke.
    topic = "unregister-membership" if subject.state is State.DELETED else "revoke-rbac"
    following = StepRequest(subject.request.cluster, membership)
    if secret is not None and topic == "revoke-rbac":
        following = replace(following, previous=secret.previous_identity(services.settings))
    elif secret is not None and membership == secret.membership:
        following = replace(following, membership_uid=secret.annotations.get(MEMBERSHIP_UID, ""))
    left = cluster_events.of_secret(EventType.OFFBOARDED, secret, earlier=secret is None)
    event = replace(left, applications=applications)
    pointed = "" if applications is None else f"; Applications left without a cluster: {applications}"
    message = f"{did}: {explained}{pointed}"
    return Outcome(decision, subject.state, message, (OutgoingMessage(topic, following),), event=event)


def _count_left_applications(secret: ClusterSecret, services: Services) -> int | None:
    """Return how many Applications stay without a cluster; None if they cannot be read: the count is for people only.

    Those of an ApplicationSet do not count: Argo CD deletes them, perhaps before this read.
    Called after the deletion, because each read renews the time from which FRESH_SECONDS count.
    """
    try:
        with deadline.within(COUNT_SECONDS):
            return sum(one.points_to(secret) and not one.generator for one in services.central.applications())
    except (ReconcileError, TimeoutError):
        return None
