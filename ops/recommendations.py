"""Advice about a cluster, from the evidence. Pure.

Nothing that deletes is recommended because of what could not be read.
"""

from __future__ import annotations

from ops import holds, remedies
from ops.advice import Advice
from ops.evidence import Evidence
from ops.limits import release
from ops.plan import requirement
from ops.terminal import pluralize
from shared.decisions import recognition
from shared.decisions.reports import describe_command, unpin_command
from shared.values import cluster_secret
from shared.values.cluster_secret import ClusterSecret
from shared.values.codes import ErrorCode
from shared.values.commands import kubectl
from shared.values.messages import publish_command
from shared.values.model import State
from shared.values.names import ClusterName


def recommend(evidence: Evidence, *, unsettled: bool) -> list[Advice]:
    """Return the advice: first what repairs, then what continues. A command comes once, with the first reason for it."""
    advice = [one for secret in evidence.secrets for one in holds.advice(secret, evidence.seen, evidence.settings)]
    advice += [*_against_faults(evidence), *_against_state(evidence)]
    advice += [one for secret in evidence.secrets for one in _about_secret(secret, evidence)]
    given = {one.command for one in advice}
    reported = [one.command for one in evidence.seen.plan.findings if one.subject == str(evidence.name)]
    advice += [Advice("Resolve what a sweep reports", one) for one in reported if one and one not in given]
    advice += _to_continue(evidence, unsettled=unsettled)
    kept: dict[str, Advice] = {}
    for one in advice:
        kept.setdefault(one.command or one.text, one)
    return list(kept.values())


def _against_faults(evidence: Evidence) -> list[Advice]:
    """What helps against the last failures, the dead letters, and against conflicts."""
    settings, name = evidence.settings, evidence.name
    membership = evidence.present.name if evidence.present else evidence.own_membership
    codes = [(evidence.access.problem, evidence.access.object)]
    unfit = evidence.state is not State.SELECTED or len(evidence.secrets) != 1 or evidence.access.works is False
    if unfit or evidence.letters:
        codes += [(entry.code, "") for entry in evidence.activity.failing]
    codes += [(letter.code, "") for letter in evidence.letters]
    advice: list[Advice] = []
    others = _of_other_registrars(evidence)
    unmanaged = [one for one in evidence.unmanaged_secrets if one not in others]
    for one in others if evidence.state is State.SELECTED else ():
        show = kubectl(settings.argocd_namespace, "get secret", one.name, "--show-labels")
        advice.append(Advice("Select the cluster in one registrar only. See which other one has it", show))
    if unmanaged and not evidence.secrets:
        advice += [
            Advice("See what an adoption would do", recognition.ADOPT),
            Advice("Adopt the Secret", "python -m ops adopt"),
        ]
    elif unmanaged:
        for one in unmanaged:
            advice += remedies.unmanaged_secret(one.name, settings)
    if occupant := evidence.unlisted_occupant:
        advice += remedies.unmanaged_secret(occupant.name, settings)
    if (taken := evidence.unmanaged_membership) and evidence.present in (None, taken):
        advice += remedies.unmanaged_membership(taken.name)
    # Where the Secret or membership itself was seen, its own remedy is above.
    covered = {ErrorCode.UNMANAGED_SECRET} if evidence.unmanaged_secrets or occupant else set()
    covered |= {ErrorCode.UNMANAGED_MEMBERSHIP} if taken else set()
    for code, found in codes:
        if code not in covered:
            advice += remedies.remedies(code, name, membership, settings, found)
    if any(not letter.is_managed for letter in evidence.letters):
        advice.append(Advice("See whether the functions run", remedies.STATUS))
    if unfit:
        for _, step in evidence.activity.silent(evidence.seen.now):
            advice += remedies.pause_hint(step)
    return advice


def _of_other_registrars(evidence: Evidence) -> list[ClusterSecret]:
    """The cluster's Secrets of another instance or fleet: nobody adopts them."""
    return [one for one in evidence.unmanaged_secrets if one.is_managed]


def _against_state(evidence: Evidence) -> list[Advice]:
    """What helps in the state that the cluster is in."""
    name, seen = evidence.name, evidence.seen
    advice: list[Advice] = []
    unread = bool(seen.secrets_unread or seen.fleet_unread)
    outside = not evidence.is_source and not evidence.secrets
    if outside and not unread and evidence.state in (None, State.DELETED):
        return remedies.outside(name.project)
    if evidence.state is None or unread:
        return remedies.incomplete(f"python -m ops explain {name}")
    if evidence.is_unheard_of:
        return [
            Advice("Check the name: list the clusters of its project", f"python -m ops list --project {name.project}")
        ]
    if not evidence.is_source and evidence.state is not State.DELETED:
        advice += [] if _of_other_registrars(evidence) else remedies.outside(name.project)
    elif evidence.state is State.UNSELECTED:
        advice.append(_relabel(evidence))
    elif evidence.state in (State.UNKNOWN, State.PROVISIONING) and isinstance(name, ClusterName):
        advice.append(Advice("See what GKE says about it", describe_command(name)))
    elif evidence.state is State.OTHER_FLEET:
        membership = evidence.own_membership
        advice += remedies.remedies(ErrorCode.OTHER_FLEET, name, membership, evidence.settings)
    if evidence.present is not None and evidence.access.works is None and not evidence.access.problem:
        advice += remedies.not_looked_into(name, evidence.present.name, evidence.settings)
    if evidence.present is not None and evidence.present.agent_lost(seen.now):
        advice += remedies.unreachable(name, evidence.present.name)
    return advice


def _about_secret(secret: ClusterSecret, evidence: Evidence) -> list[Advice]:
    namespace = evidence.settings.argocd_namespace
    if len(evidence.secrets) > 1:
        return [Advice("If this is the wrong Secret, delete it", kubectl(namespace, "delete secret", secret.name))]
    if secret.is_pinned:
        return [Advice("Unpin it", unpin_command(secret, evidence.settings))]
    if evidence.state is State.UNSELECTED or secret.hold:
        pin = kubectl(namespace, "annotate secret", secret.name, f"{cluster_secret.KEEP}=true")
        return [Advice("Keep it in Argo CD permanently", pin)]
    return []


def _to_continue(evidence: Evidence, *, unsettled: bool) -> list[Advice]:
    """The release of a plan, the replay of letters, and a new request."""
    settings, plan = evidence.settings, evidence.seen.plan
    advice = []
    for reached in plan.reached:
        if any(request.next.request.name == evidence.name for request in reached.requests):
            clusters = pluralize(len({request.subject for request in reached.requests}), "cluster")
            advice.append(Advice(f"If the whole plan is right, release it ({clusters})", release(reached, settings)))
    replay = "python -m ops dead-letters replay"
    if plain := [letter.id for letter in evidence.letters if not letter.control_keys]:
        advice.append(Advice("When the cause is repaired, replay", f"{replay} {' '.join(plain)}"))
    for letter in evidence.letters:
        if keys := ", ".join(letter.control_keys):
            text = f"When the cause is repaired, replay the letter that says {keys}, if that is right"
            advice.append(Advice(text, f"{replay} {letter.id} --yes"))
    key = "cluster" if isinstance(evidence.name, ClusterName) else "membership"
    body = {key: str(evidence.name)}
    unknown = bool(evidence.seen.secrets_unread or evidence.seen.fleet_unread)
    if evidence.state is State.SELECTED and unsettled and not unknown:
        advice.append(Advice("Ask again now", publish_command("register-membership", body, settings)))
    if evidence.state is State.DELETED and evidence.secrets:
        advice.append(Advice("Ask now", publish_command("remove-secret", body, settings)))
    return advice


def _relabel(evidence: Evidence) -> Advice:
    """How a cluster that is not selected would be: by labels, where setting some is enough."""
    failing = evidence.failing
    settable = [one for one in failing if one.operator in ("in", "exists")]
    if not failing:
        return Advice("Change CLUSTER_SELECTOR or SOURCE_PROJECTS with Terraform")
    if len(settable) < len(failing):
        must = ", ".join(map(requirement, failing))
        return Advice(f"Change its labels, or CLUSTER_SELECTOR, so that {must} holds")
    more = {one.key: min(one.values) if one.values else "VALUE" for one in settable}
    return Advice(
        "Select it (the command has all current labels, because an update replaces them)",
        remedies.update_labels(evidence.name, {**evidence.labels, **more}),
    )
