"""`write_secret`: writes the cluster Secret in the central cluster, only when something differs.

Without `granted`, the proof that `grant_rbac` signed, it creates no Secret, releases no hold, notes no grant, and writes
nothing about a re-created cluster. Needs: memberships get, list in the fleet project; gateway get, post, patch and
memberships get in the central cluster's; clusters get and list in the source projects; get, list, create and patch on
Secrets in Argo CD's namespace (a Role in the central cluster).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NoReturn

from shared.clients.observe import read_subject, read_target
from shared.clients.ports import Services
from shared.decisions import cluster_events, rbac, recognition, removal, reports, secret_plan, shards, steps
from shared.decisions.outcomes import no_op
from shared.decisions.secret_plan import Plan
from shared.decisions.steps import Action
from shared.values.cluster_event import ClusterEvent, EventType
from shared.values.cluster_secret import (
    CLUSTER,
    CLUSTER_HASH,
    KEEP,
    MANAGED_BY_LABEL,
    MEMBERSHIP_HASH,
    ClusterSecret,
)
from shared.values.codes import Decision, ErrorCode, FindingCode
from shared.values.errors import ConflictError, PermanentError, RetryableError
from shared.values.messages import Outcome, OutgoingMessage, RivalHeldError, Severity, StepRequest
from shared.values.model import Cluster, Membership, State
from shared.values.target import AttachedTarget, GkeTarget, Subject, Target

if TYPE_CHECKING:
    from datetime import datetime

# For this time after `grant_rbac` has read the membership, `write_secret` creates the Secret without another read of it.
FRESH: Final = timedelta(seconds=60)
_DID: Final = {Decision.UPDATED: "updated the Secret", Decision.UNCHANGED: "the Secret is up to date"}
_NEEDS_MEMBERSHIP: Final = frozenset(
    {
        ErrorCode.MEMBERSHIP_MISSING,
        ErrorCode.MEMBERSHIP_NOT_READY,
        ErrorCode.MEMBERSHIP_MISMATCH,
    }
)


def run(request: StepRequest, services: Services) -> Outcome:
    """Run the step for the cluster or membership that the message names."""
    secret = services.central.secret_of(request.name, claim=True)
    if secret is not None:
        request = request.from_reader_of(secret.uid)
    subject = read_subject(request, services, has_secret=secret is not None)
    if request.cluster is None and subject.request.cluster is not None:
        # The membership of a GKE cluster leads to that cluster's Secret, which is found by the cluster.
        return run(subject.request, services)
    move, observed = steps.write(subject.state, secret), subject.observed
    if move is not Action.WRITE or not isinstance(observed, Cluster | Membership):
        return no_op(move, subject, services.settings)
    try:
        return _write(subject, observed, secret, services)
    except RetryableError as error:
        # A message from grant-rbac is retried. A message from a change or a sweep starts the chain from the beginning.
        if request.granted or isinstance(observed, Membership) or error.code not in _NEEDS_MEMBERSHIP:
            raise
        following = OutgoingMessage("register-membership", StepRequest(observed.name))
        return Outcome(Decision.NEEDS_MEMBERSHIP, subject.state, str(error), (following,))


def _write(
    subject: Subject, observed: Cluster | Membership, secret: ClusterSecret | None, services: Services
) -> Outcome:
    request, settings = subject.request, services.settings
    target, proven = _read_grant(request, observed, secret, services)
    if isinstance(target, AttachedTarget) and secret is not None and secret.cluster is not None:
        raise RetryableError(
            f"Secret {secret.name} names {secret.cluster}, and {target.name} belongs to an attached cluster",
            ErrorCode.MEMBERSHIP_MISMATCH,
        )
    if secret is not None:
        previous = secret.previous_identity(settings)
    else:  # the identity in the message was granted access, and no Secret notes that
        previous = request.identity if request.identity != settings.argocd_service_account else ""
    grant = OutgoingMessage("grant-rbac", StepRequest(request.cluster, target.membership.name, previous=previous))
    moves = secret is None or secret.data.get("server", "").rstrip("/") != target.server(settings)
    if request.granted and proven is None and moves and settings.secrets == "write":
        # The proof expired while the chain waited for the rival Secret to disappear. A new grant would only restart the wait.
        _require_free(secret.name if secret else target.name.secret_name, target, services)
    if proven is not None and previous and request.previous != previous:
        # The Secret is the only object that names the earlier identity, so that binding is deleted before the Secret changes.
        message = f"the Secret notes a grant of {previous}, whose binding is removed first"
        return Outcome(Decision.NEEDS_GRANT, subject.state, message, (grant,))
    if secret is not None:
        return _update(subject, secret, target, proven, services, grant=grant)
    if proven is None:
        message = f"there is no Secret, and its creation needs the grant: {subject.name} is {subject.state.text}"
        return Outcome(Decision.NEEDS_GRANT, subject.state, message, (grant,))
    if settings.secrets == "external":
        message = f"{subject.name} is {subject.state.text} and granted; SECRETS=external leaves its Secret to others"
        event = ClusterEvent(EventType.ONBOARDED, secret_plan.source_labels(target, settings))
        return Outcome(Decision.EXTERNAL, subject.state, message, event=event)
    return _onboard(subject, target, services)


def _onboard(subject: Subject, target: Target, services: Services) -> Outcome:
    """Create the Secret, read the cluster again, and write the labels that ApplicationSets select on."""
    created = _create(target, services)
    again = _read_again(subject, services)
    if isinstance(again, Outcome):
        return again
    # Argo CD knows the cluster now: the labels that ApplicationSets select on may follow.
    current = GkeTarget(again.observed, target.membership) if isinstance(again.observed, Cluster) else target
    plan = secret_plan.plan(created, current, services.settings, granted=True, drop=frozenset(), now=services.now())
    if plan.patch is not None:
        services.central.patch(created, plan.patch)
    event = ClusterEvent(EventType.ONBOARDED, plan.source)
    return _written(Decision.CREATED, "created the Secret", subject, plan, event)


def _update(
    subject: Subject,
    secret: ClusterSecret,
    target: Target,
    proven: datetime | None,
    services: Services,
    *,
    grant: OutgoingMessage,
) -> Outcome:
    """Patch the Secret if it differs. What needs the grant waits for the message that `grant` starts."""
    request = subject.request
    plan = secret_plan.plan(
        secret,
        target,
        services.settings,
        granted=proven is not None,
        drop=request.drop_labels,
        now=services.now(),
        renewed=proven if request.renewed else None,
    )
    if plan.patch is not None:
        if secret.data.get("server", "").rstrip("/") != plan.server:
            _require_free(secret.name, target, services)
        services.central.patch(secret, plan.patch)
    # An unchanged Secret also has an event, because an earlier attempt may have written it.
    released = plan.patch is not None and secret_plan.ends_hold(plan.patch)
    kind = EventType.RELEASED if released else EventType.CHANGED
    event = ClusterEvent(kind, plan.source, at=secret.created, earlier=plan.patch is None)
    decision = Decision.UPDATED if plan.patch else Decision.UNCHANGED
    did = f"{_DID[decision]} and released the hold, so Argo CD carries out what waited" if released else _DID[decision]
    if plan.needs_grant:
        did = f"{did}; the rest needs the grant"
        return _written(Decision.NEEDS_GRANT, did, subject, plan, event if plan.patch else None, grant)
    return _written(decision, did, subject, plan, event)


def _written(
    decision: Decision, did: str, subject: Subject, plan: Plan, event: ClusterEvent | None, *following: OutgoingMessage
) -> Outcome:
    reason = "; ".join((f"{subject.name} is {subject.state.text}", *plan.warnings))
    severity: Severity = "WARNING" if plan.warnings else "INFO"
    return Outcome(decision, subject.state, f"{did}: {reason}", following, severity, event)


def _read_grant(
    request: StepRequest, observed: Cluster | Membership, secret: ClusterSecret | None, services: Services
) -> tuple[Target, datetime | None]:
    """Return the cluster, and when `grant_rbac` proved the access to this very cluster; None: not proven.

    A fresh proof covers the `uniqueId` in the message. So a creation needs no read of the membership: with a wrong
    `uniqueId` in the message the proof is invalid.
    """
    hint, uid = request.membership, request.membership_uid
    if isinstance(observed, Cluster) and secret is None and hint is not None and uid:
        named = Membership(hint, uid, "READY", cluster=observed.name)
        target: Target = GkeTarget(observed, named)
        signed = _signed(request, target, services)
        if signed is not None and services.now() - signed < FRESH:
            return target, signed
    target = read_target(observed, hint, services)
    return target, _signed(request, target, services)


def _signed(request: StepRequest, target: Target, services: Services) -> datetime | None:
    """Return when the grant of this very cluster was proven; None if the message proves no such grant."""
    return services.signer.verify_grant(request.granted, rbac.grant_audience(target, services.settings))


def _require_free(name: str, target: Target, services: Services) -> None:
    """Raise an error if another Secret is for the same cluster, or Argo CD would treat the two as one cluster."""
    server = target.server(services.settings)
    others = [other for other in services.central.rivals(target.membership.name) if other.name != name]
    managed = [other for other in others if other.is_of_instance(services.settings) and MEMBERSHIP_HASH in other.labels]
    unmanaged = [other for other in others if other not in managed]
    if found := recognition.other_entry(unmanaged, target, services.settings):
        secret, recognised = found
        remedy, command = recognition.remedy(secret, recognised, services.settings)
        text = (
            f"cannot write Secret {name}: Secret {secret.name} is unmanaged and is for the same cluster, known by"
            f" {recognised.known_by}. {remedy}, then replay the message"
        )
        raise PermanentError(f"{text}:\n{command}" if command else text, ErrorCode.UNMANAGED_SECRET)
    for other in unmanaged:
        if other.clashes_with(name, server):
            raise PermanentError(
                f"Secret {other.name} is unmanaged and has the same server or name as {name}: Argo CD would treat the two as"
                f" one cluster. Adopt or delete it, then replay the message:\n{reports.delete_command([other.name], services.settings)}",
                ErrorCode.UNMANAGED_SECRET,
            )
    for other in managed:
        if other.clashes_with(name, server):
            command = reports.delete_command([other.name], services.settings)
            text = (
                f"Secret {other.name} is for {other.annotations.get(CLUSTER, 'an attached cluster')} and has the same server or"
                f" name as {name}, because {target.membership.name} was reused: Argo CD would deploy one cluster's applications to the"
                " other."
            )
            if other.is_pinned:
                pinned = f"{text} It is pinned ({KEEP}): delete it, then replay the message:\n{command}"
                raise PermanentError(pinned, ErrorCode.SERVER_TAKEN)
            text = f"{text} It is held, and goes when its cluster is gone; otherwise delete it:\n{command}"
            _hold_rival(other, target, text, services)


def _hold_rival(other: ClusterSecret, target: Target, text: str, services: Services) -> NoReturn:
    """Hold a Secret whose membership is this cluster's now, and raise the error with which the step waits for it to go."""
    reason: Final = "other-cluster"
    hold = other.hold
    if hold is None and removal.is_of_another(other, target.membership):
        if patch := secret_plan.hold(other, reason, services.now()):
            services.central.patch(other, patch)
    elif hold is None or hold.reason != reason or services.now() - hold.since > FRESH:
        raise RetryableError(text, ErrorCode.SERVER_TAKEN)
    # Also soon after the hold: the attempt that held it may not have published the event.
    event = cluster_events.held_earlier(other, reason) or cluster_events.of_secret(EventType.HELD, other, reason)
    held = Outcome(Decision.HELD, FindingCode.OTHER_CLUSTER, text, event=event)
    raise RivalHeldError(text, StepRequest(other.cluster, other.membership), held)


def _create(target: Target, services: Services) -> ClusterSecret:
    """Create the Secret unless an unmanaged one is for the same cluster, or has its name, server or cluster name."""
    name = target.name.secret_name
    _require_free(name, target, services)
    manifest = secret_plan.new_secret(target, services.settings, services.now())
    hashes = manifest["metadata"]["labels"]
    if number := services.settings.argocd_shards:
        counts = shards.usage(services.central.cluster_secrets(), number)
        manifest = shards.with_shard(manifest, shards.least_used(counts, name))
    try:
        return services.central.create(manifest)
    except ConflictError:
        named = services.central.secret_named(name)
        if named is None or all(
            named.labels.get(key) == hashes.get(key) for key in (MANAGED_BY_LABEL, MEMBERSHIP_HASH, CLUSTER_HASH)
        ):
            raise
        raise PermanentError(
            f"a Secret named {name} exists without our labels ({MANAGED_BY_LABEL}, {MEMBERSHIP_HASH}), so it is unmanaged."
            " If nobody needs it, delete it, then replay the message:\n"
            f"{reports.delete_command([name], services.settings)}",
            ErrorCode.UNMANAGED_SECRET,
        ) from None


def _read_again(subject: Subject, services: Services) -> Subject | Outcome:
    """Read the cluster again: it may have been deleted before the Secret existed.

    Only the very cluster that the Secret was created for gets the labels. `remove-secret` decides about an earlier one's
    Secret. What else it became meanwhile, the sweep finds.
    """
    again = read_subject(StepRequest(subject.request.cluster, subject.request.membership), services, has_secret=True)
    re_created = isinstance(again.observed, Cluster) and not _is_same(subject, again)
    if again.state in (State.DELETED, State.DELETING) or (again.state is not State.SELECTED and re_created):
        return no_op(Action.TO_REMOVE, again, services.settings)
    if again.state is not State.SELECTED:
        return no_op(Action.NOTHING, again, services.settings)
    if not _is_same(subject, again):
        raise RetryableError(f"{subject.name} was re-created meanwhile; the step reads it again", ErrorCode.RECREATED)
    return again


def _is_same(before: Subject, now: Subject) -> bool:
    match before.observed, now.observed:
        case Cluster(id=earlier), Cluster(id=later):
            return earlier == later
        case Membership() as membership, Membership() as again:
            return membership.is_still(again)
        case _:
            return False
