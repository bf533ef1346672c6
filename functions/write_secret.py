"""`write_secret`: writes the cluster Secret in the central cluster, only when something differs.

Only with `granted`, the proof that `grant_rbac` signed, does it create, release a hold, note the grant, or speak of a later
cluster. Needs: memberships get, list in the fleet project; gateway get, post, patch and memberships get in the central
cluster's; clusters get and list in the source projects; get, list, create and patch on Secrets in Argo CD's namespace (a
Role in the central cluster).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from shared.clients.observe import membership_of, read_subject
from shared.clients.ports import Services
from shared.decisions import rbac, recognition, removal, secret_plan, shards, steps
from shared.decisions.outcomes import no_op
from shared.decisions.secret_plan import Plan
from shared.decisions.steps import Action
from shared.values.cluster_event import ClusterEvent, EventType
from shared.values.cluster_secret import (
    CLUSTER,
    CLUSTER_HASH,
    HELD,
    KEEP,
    MANAGED_BY_LABEL,
    MEMBERSHIP_HASH,
    ClusterSecret,
)
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import ConflictError, PermanentError, RetryableError
from shared.values.messages import Outcome, OutgoingMessage, Severity, StepRequest
from shared.values.model import Cluster, Membership, State
from shared.values.target import Subject

if TYPE_CHECKING:
    from datetime import datetime

# So long after `grant_rbac` has read the membership, `write_secret` takes it for unchanged where it creates the Secret.
FRESH: Final = timedelta(seconds=60)
_NEEDS_MEMBERSHIP: Final = frozenset(
    {
        ErrorCode.MEMBERSHIP_MISSING,
        ErrorCode.MEMBERSHIP_NOT_READY,
        ErrorCode.MEMBERSHIP_MISMATCH,
    }
)


def run(request: StepRequest, services: Services) -> Outcome:
    """Do the step for what the message names."""
    secret = services.central.secret_of(request.cluster, request.membership, claim=True)
    if secret is not None:
        request = request.from_reader_of(secret.uid)
    subject = read_subject(request, services, has_secret=secret is not None)
    if request.cluster is None and subject.request.cluster is not None:
        # The membership of a GKE cluster leads to that cluster's Secret, which is found by the cluster.
        return run(subject.request, services)
    move = steps.write(subject.state, secret)
    if move is not Action.WRITE:
        return no_op(move, subject, services.settings)
    try:
        return _write(subject, secret, services)
    except RetryableError as error:
        # A chain that comes from the grant waits; a change of the cluster, or a sweep, starts it.
        if request.granted or not isinstance(subject.cluster, Cluster) or error.code not in _NEEDS_MEMBERSHIP:
            raise
        following = OutgoingMessage("register-membership", StepRequest(subject.cluster.name))
        return Outcome(Decision.NEEDS_MEMBERSHIP, subject.state, str(error), (following,))


def _write(subject: Subject, secret: ClusterSecret | None, services: Services) -> Outcome:
    request = subject.request
    cluster = subject.cluster if isinstance(subject.cluster, Cluster) else None
    membership, proven = _read_grant(subject, cluster, secret, services)
    if cluster is None and secret is not None and secret.cluster is not None:
        raise RetryableError(
            f"Secret {secret.name} speaks of {secret.cluster}, and {membership.name} of an attached cluster",
            ErrorCode.MEMBERSHIP_MISMATCH,
        )
    plan = secret_plan.plan(
        secret,
        cluster,
        membership,
        services.settings,
        granted=proven is not None,
        drop=request.drop_labels,
        now=services.now(),
        renewed=proven if request.renewed else None,
    )
    previous = secret.previous_identity(services.settings) if secret is not None else ""
    if secret is None and request.identity != services.settings.argocd_service_account:
        previous = request.identity  # it was granted access, and no Secret notes it
    both = StepRequest(request.cluster, membership.name)
    grant = OutgoingMessage("grant-rbac", replace(both, previous=previous))
    moves = secret is None or secret.data.get("server", "").rstrip("/") != plan.server
    if request.granted and proven is None and moves and services.settings.secrets == "write":
        # The proof expired while the chain waited for a rival to go: another grant would start the wait again, for ever.
        name = secret.name if secret else (cluster or membership).name.secret_name
        _require_free(plan, name, cluster, membership, services)
    if proven is not None and previous and request.previous != previous:
        # Once the Secret notes the new grant, nothing names the earlier identity any more: its binding goes first.
        message = f"the Secret notes a grant of {previous}, whose binding is removed first"
        return Outcome(Decision.NEEDS_GRANT, subject.state, message, (grant,))
    if plan.create is not None and services.settings.secrets == "external":
        message = f"{subject.name} is {subject.state.text} and granted; SECRETS=external leaves its Secret to others"
        return Outcome(Decision.EXTERNAL, subject.state, message, event=ClusterEvent(EventType.ONBOARDED, plan.source))
    if plan.create is not None:
        created = _create(plan, cluster, membership, services)
        again = _look_again(subject, services)
        if isinstance(again, Outcome):
            return again
        # Argo CD knows the cluster now: the labels that ApplicationSets select on may follow.
        current = again.cluster if isinstance(again.cluster, Cluster) else None
        completing = secret_plan.plan(
            created, current, membership, services.settings, granted=True, drop=frozenset(), now=services.now()
        )
        if completing.patch is not None:
            services.central.patch(created, completing.patch)
        plan = replace(plan, source=completing.source)
    elif plan.patch is not None and secret is not None:
        if secret.data.get("server", "").rstrip("/") != plan.server:
            _require_free(plan, secret.name, cluster, membership, services)
        services.central.patch(secret, plan.patch)
    changed = plan.create is not None or plan.patch is not None
    decision = Decision.CREATED if plan.create else Decision.UPDATED if plan.patch else Decision.UNCHANGED
    event = _event(plan, secret)
    did = "the Secret is up to date" if decision is Decision.UNCHANGED else f"{decision} the Secret"
    reason = "; ".join((f"{subject.name} is {subject.state.text}", *plan.warnings))
    severity: Severity = "WARNING" if plan.warnings else "INFO"
    if plan.needs_grant:
        message = f"{did}; the rest needs the grant: {reason}"
        return Outcome(Decision.NEEDS_GRANT, subject.state, message, (grant,), severity, event if changed else None)
    return Outcome(decision, subject.state, f"{did}: {reason}", (), severity, event)


def _event(plan: Plan, secret: ClusterSecret | None) -> ClusterEvent:
    """Return what subscribers hear: also of an unchanged Secret, which an earlier attempt may have written."""
    if secret is None:
        return ClusterEvent(EventType.ONBOARDED, plan.source)
    released = plan.patch is not None and HELD in (plan.patch["metadata"].get("annotations") or {})
    kind = EventType.RELEASED if released else EventType.CHANGED
    return ClusterEvent(kind, plan.source, at=secret.created, earlier=plan.patch is None)


def _read_grant(
    subject: Subject, cluster: Cluster | None, secret: ClusterSecret | None, services: Services
) -> tuple[Membership, datetime | None]:
    """Return the membership, and when `grant_rbac` proved the access to this very cluster through it; None: not proven.

    A fresh proof names the `uniqueId` of the membership. Before a create that saves a read: the message then says the same
    `uniqueId`, or the proof does not hold.
    """
    request = subject.request
    if cluster is None:
        membership = subject.membership
        assert isinstance(membership, Membership)  # noqa: S101 - an attached cluster that is selected has one
        return membership, _signed(request, cluster, membership, services)
    if secret is None and request.membership is not None and request.membership_uid:
        said = Membership(request.membership, request.membership_uid, "READY", cluster=cluster.name)
        signed = _signed(request, cluster, said, services)
        if signed is not None and services.now() - signed < FRESH:
            return said, signed
    membership = membership_of(cluster, request.membership, services)
    return membership, _signed(request, cluster, membership, services)


def _signed(
    request: StepRequest, cluster: Cluster | None, membership: Membership, services: Services
) -> datetime | None:
    """Return when the grant of this very cluster was proven; None if the message proves no such grant."""
    return services.signer.verify_grant(request.granted, rbac.grant_audience(cluster, membership, services.settings))


def _require_free(plan: Plan, name: str, cluster: Cluster | None, membership: Membership, services: Services) -> None:
    """Raise an error if another Secret is for the same cluster, or Argo CD would treat the two as one cluster."""
    others = [other for other in services.central.rivals(membership.name) if other.name != name]
    managed = [other for other in others if other.is_of_instance(services.settings) and MEMBERSHIP_HASH in other.labels]
    unmanaged = [other for other in others if other not in managed]
    if found := recognition.other_entry(unmanaged, cluster, membership, services.settings):
        secret, recognised = found
        remedy, command = recognition.remedy(secret, recognised, services.settings)
        text = (
            f"cannot write Secret {name}: Secret {secret.name} is unmanaged and is for the same cluster, known by"
            f" {recognised.known_by}. {remedy}, then replay the message"
        )
        raise PermanentError(f"{text}:\n{command}" if command else text, ErrorCode.UNMANAGED_SECRET)
    for other in unmanaged:
        if other.clashes_with(name, plan.server):
            raise PermanentError(
                f"Secret {other.name} is unmanaged and has the same server or name as {name}: Argo CD would treat the two as"
                " one cluster. Adopt or delete it, then replay the message",
                ErrorCode.UNMANAGED_SECRET,
            )
    for other in managed:
        if other.clashes_with(name, plan.server):
            text = (
                f"Secret {other.name} is for {other.annotations.get(CLUSTER, 'an attached cluster')} and has the same server or"
                f" name as {name}, because {membership.name} was reused: Argo CD would deploy one cluster's applications to the"
                " other."
            )
            if other.is_pinned:
                pinned = f"{text} It is pinned ({KEEP}): delete it, then replay the message"
                raise PermanentError(pinned, ErrorCode.SERVER_TAKEN)
            if removal.is_of_another(other, membership) and other.hold is None:
                patch = secret_plan.hold(other, "other-cluster", services.now())
                assert patch is not None  # noqa: S101 - without a hold there is something to patch
                services.central.patch(other, patch)
            raise RetryableError(
                f"{text} It is held, and goes when its cluster is gone; otherwise delete it", ErrorCode.SERVER_TAKEN
            )


def _create(plan: Plan, cluster: Cluster | None, membership: Membership, services: Services) -> ClusterSecret:
    """Create the Secret unless an unmanaged one is for the same cluster, or has its name, server or cluster name."""
    assert plan.create is not None  # noqa: S101 - for the type checker
    name = plan.create["metadata"]["name"]
    _require_free(plan, name, cluster, membership, services)
    manifest = plan.create
    if number := services.settings.argocd_shards:
        counts = shards.usage(services.central.cluster_secrets(), number)
        manifest = shards.with_shard(manifest, shards.least_used(counts, name))
    try:
        return services.central.create(manifest)
    except ConflictError:
        named = services.central.secret_named(name)
        hashes = plan.create["metadata"]["labels"]
        if named is None or all(
            named.labels.get(key) == hashes.get(key) for key in (MANAGED_BY_LABEL, MEMBERSHIP_HASH, CLUSTER_HASH)
        ):
            raise
        raise PermanentError(
            f"a Secret named {name} exists without our labels ({MANAGED_BY_LABEL}, {MEMBERSHIP_HASH}), so it is unmanaged."
            " Add the labels or delete it, then replay the message",
            ErrorCode.UNMANAGED_SECRET,
        ) from None


def _look_again(subject: Subject, services: Services) -> Subject | Outcome:
    """Read the cluster once more: its deletion may have passed by before the Secret was there.

    Only the very cluster that the Secret was created for gets the labels. What else it became meanwhile, the sweep finds.
    """
    again = read_subject(StepRequest(subject.request.cluster, subject.request.membership), services, has_secret=True)
    if again.state in (State.DELETED, State.DELETING):
        return no_op(Action.TO_REMOVE, again, services.settings)
    if again.state is not State.SELECTED:
        return no_op(Action.NOTHING, again, services.settings)
    if not _is_same(subject, again):
        raise RetryableError(f"{subject.name} was re-created meanwhile; the step reads it again", ErrorCode.RECREATED)
    return again


def _is_same(before: Subject, now: Subject) -> bool:
    if isinstance(before.cluster, Cluster):
        return isinstance(now.cluster, Cluster) and now.cluster.id == before.cluster.id
    return (
        isinstance(before.membership, Membership)
        and isinstance(now.membership, Membership)
        and before.membership.is_still(now.membership)
    )
