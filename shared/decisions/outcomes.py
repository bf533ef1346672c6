"""Outcomes of the state table's actions that need no call: nothing, warn, retry, dead-letter, publish to another step."""

from __future__ import annotations

from shared.decisions import rbac, reports
from shared.decisions.steps import Action
from shared.values.codes import Decision, ErrorCode
from shared.values.errors import PermanentError, RefusedError, RetryableError
from shared.values.messages import Outcome, OutgoingMessage, Severity, StepRequest
from shared.values.model import Cluster, Membership, State
from shared.values.names import MembershipName
from shared.values.settings import Settings
from shared.values.target import Subject

_REVERSALS = {Action.TO_REGISTER: "register-membership", Action.TO_REMOVE: "remove-secret"}


# A cluster's own words must not cut off the command behind them: a dead letter's reason has 1,000 bytes.
CAUSE = 300


def no_op(move: Action, subject: Subject, settings: Settings) -> Outcome:
    """Return the outcome of a move that touches nothing. Raises the faults that RAISE and PERMANENT stand for."""
    reason = why(subject, settings)
    if move is Action.RAISE:
        raise RetryableError(reason, ErrorCode.NOT_READY)
    if move is Action.PERMANENT:
        name = subject.request.cluster
        command = f":\n{reports.leave_fleet_command(name)}" if name else ""
        raise PermanentError(f"{reason}{command}", ErrorCode.OTHER_FLEET)
    if move in _REVERSALS:
        following = StepRequest(subject.request.cluster, subject.request.membership)
        topic = _REVERSALS[move]
        return Outcome(
            Decision.REVERSED, subject.state, f"reversed to {topic}: {reason}", (OutgoingMessage(topic, following),)
        )
    decision = Decision.BLOCKED if move is Action.REPORT else Decision.NO_OP
    severity: Severity = "ERROR" if move is Action.REPORT else "WARNING" if move is Action.WARN else "INFO"
    return Outcome(decision, subject.state, f"nothing to do: {reason}", severity=severity)


def why(subject: Subject, settings: Settings) -> str:
    """Return a sentence: why the cluster is in its state, and what a person can do if only a person can."""
    name = subject.name
    match subject.state:
        case State.NOT_SOURCE:
            return f"{name} is in no source project (SOURCE_PROJECTS)"
        case State.CENTRAL:
            return f"{name} is the central cluster, which is never registered"
        case State.DELETED:
            return f"{name} is gone: 404, and a complete list lacks it"
        case State.OTHER_FLEET:
            project = subject.observed.fleet_project if isinstance(subject.observed, Cluster) else "another project"
            return (
                f"{name} is selected, but is in the fleet of {project}, not in {settings.fleet_project}'s:"
                " take it out of that fleet, or deselect it"
            )
        case _:
            observed = subject.observed
            status = observed.status if isinstance(observed, Cluster) else getattr(observed, "state", "")
            return f"{name} is {subject.state.text} ({status})"


def access_denied(membership: Membership, settings: Settings, error: RefusedError) -> PermanentError:
    """Say what only a person can do: admit the two functions that reach application clusters to an attached one."""
    cause = str(error) if len(str(error)) <= CAUSE else f"{str(error)[: CAUSE - 1]}…"
    return PermanentError(
        f"attached cluster {membership.name} has not admitted our identities ({cause}). Admit them once, with"
        f" the cluster's kubeconfig and context, then replay the message:\n{admission_command(membership.name, settings)}",
        ErrorCode.NOT_ADMITTED,
    )


def admission_command(membership: MembershipName, settings: Settings) -> str:
    """Return the command with which a person grants `grant-rbac` and `revoke-rbac` access to an attached cluster."""
    users = [settings.function_account(function) for function in ("grant-rbac", "revoke-rbac")]
    return rbac.admission_command(membership.membership, membership.project, users)
