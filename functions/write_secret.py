"""`write_secret`: writes the cluster Secret in the central cluster, only when something differs.

Only with `granted`, the word of `grant_rbac`, does it create, lift a hold, note the grant, or speak of a later cluster.
Needs: gateway get, post, patch and memberships get, list in the fleet project; clusters get and list in the source
projects; get, list, create and patch on Secrets in Argo CD's namespace (a Role in the central cluster).
"""

from __future__ import annotations

from typing import Final

from shared.clients.observe import membership_of, read_subject
from shared.clients.ports import Services
from shared.decisions import recognition, secret_plan, steps
from shared.decisions.outcomes import no_op
from shared.decisions.secret_plan import Plan
from shared.decisions.steps import Action
from shared.values.cluster_secret import CLUSTER_HASH, MANAGED_BY_LABEL, MEMBERSHIP_HASH, ClusterSecret
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import ConflictError, PermanentError, RetryableError
from shared.values.messages import Outcome, OutgoingMessage, Severity, StepRequest
from shared.values.model import Cluster, Membership, State
from shared.values.target import Subject

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
    request, settings = subject.request, services.settings
    cluster = subject.cluster if isinstance(subject.cluster, Cluster) else None
    membership = membership_of(cluster, request.membership, services) if cluster else subject.membership
    assert isinstance(membership, Membership)  # noqa: S101 - an attached cluster that is wanted has one
    if cluster is None and secret is not None and secret.cluster is not None:
        raise RetryableError(
            f"Secret {secret.name} speaks of {secret.cluster}, and {membership.name} of an attached cluster",
            ErrorCode.MEMBERSHIP_MISMATCH,
        )
    if request.granted and request.granted != settings.grant:
        raise RetryableError(
            f"granted is {request.granted!r}, the settings say {settings.grant!r}: the grant must be made again",
            ErrorCode.STALE_GRANT,
        )
    plan = secret_plan.plan(
        secret,
        cluster,
        membership,
        settings,
        granted=bool(request.granted),
        drop=request.drop_labels,
        now=services.now(),
    )
    both = StepRequest(request.cluster, membership.name)
    if plan.create is not None:
        _create(plan, cluster, membership, services)
        if (turned := _look_again(subject, services)) is not None:
            return turned
    elif plan.patch is not None and secret is not None:
        services.central.patch(secret, plan.patch)
    changed = plan.create is not None or plan.patch is not None
    decision = Decision.CREATED if plan.create else Decision.UPDATED if plan.patch else Decision.UNCHANGED
    did = "the Secret is up to date" if decision is Decision.UNCHANGED else f"{decision} the Secret"
    reason = "; ".join((f"{subject.name} is {subject.state.text}", *plan.warnings))
    severity: Severity = "WARNING" if plan.warnings else "INFO"
    if plan.needs_grant:
        message = f"{did}; the rest needs the grant: {reason}"
        return Outcome(Decision.NEEDS_GRANT, subject.state, message, (OutgoingMessage("grant-rbac", both),), severity)
    following = (OutgoingMessage("cluster-onboarded", both, changed),)
    return Outcome(decision, subject.state, f"{did}: {reason}", following, severity)


def _create(plan: Plan, cluster: Cluster | None, membership: Membership, services: Services) -> None:
    """Create the Secret unless an unmanaged one is for the same cluster, or has its name, server or cluster name."""
    assert plan.create is not None  # noqa: S101 - for the type checker
    name = plan.create["metadata"]["name"]
    server = plan.server
    unmanaged = services.central.unmanaged()
    if found := recognition.other_entry(unmanaged, cluster, membership, services.settings):
        secret, recognised = found
        raise PermanentError(
            f"cannot write Secret {name}: Secret {secret.name} is unmanaged and is for the same cluster, known by"
            f" {recognised.known_by}. {recognition.remedy(secret, recognised, services.settings)}, then replay the message",
            ErrorCode.UNMANAGED_SECRET,
        )
    for other in unmanaged:
        if other.clashes_with(name, server):
            raise PermanentError(
                f"Secret {other.name} is unmanaged and has the same server or name as {name}: Argo CD would treat the two as"
                " one cluster. Adopt or delete it, then replay the message",
                ErrorCode.UNMANAGED_SECRET,
            )
    try:
        services.central.create(plan.create)
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


def _look_again(subject: Subject, services: Services) -> Outcome | None:
    """Look once more whether the cluster is still alive: its deletion may have passed by before the Secret was there."""
    again = read_subject(StepRequest(subject.request.cluster, subject.request.membership), services, has_secret=True)
    if again.state in (State.DELETED, State.DELETING):
        return no_op(Action.TO_REMOVE, again, services.settings)
    return None
