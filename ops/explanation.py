"""Why a cluster is, or is not, in Argo CD: from what has been read to sentences and commands.

Pure. What is true is decided by the same functions as in the steps and the sweep. What was not read is unknown: nothing
is concluded from it, and no deletion is suggested because of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ops.advice import Advice, lines
from ops.evidence import Evidence
from ops.holds import consequences
from ops.plan import requirement
from ops.recommendations import recommend
from ops.terminal import UNREAD, ago, one_line
from shared.decisions import secret_plan
from shared.decisions.outcomes import why
from shared.decisions.sweep_plan import CHECK_ONE_IN
from shared.values import cluster_secret
from shared.values.cluster_secret import ClusterSecret
from shared.values.messages import request_for
from shared.values.model import Cluster, Membership, State
from shared.values.names import ClusterName
from shared.values.objects import Object
from shared.values.target import Subject, target_of

if TYPE_CHECKING:
    from collections.abc import Mapping


HEADINGS: Final = (
    "Selected",
    "State",
    "Fleet",
    "Cluster",
    "Argo CD",
    "Conflicts",
    "Changed by",
    "Activity",
    "Dead letters",
    "Next",
    "You can",
)
SETTLED: Final = 0
UNSETTLED: Final = 2


@dataclass(frozen=True, slots=True)
class Explanation:
    """Lines under headings. `code`: 0 in Argo CD as it should be, 2 not so, 3 unknown, because something was not read."""

    subject: str
    sections: Mapping[str, list[str]]
    code: int
    advice: tuple[Advice, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether the cluster is in Argo CD as it should be."""
        return self.code == SETTLED

    def as_json(self) -> Object:
        """Return the lines for programs; `advice` pairs each sentence with its command ('' for no command)."""
        ordered = {heading: [*self.sections.get(heading, [])] for heading in HEADINGS if heading != "You can"}
        advice = [{"text": one.text, "command": one.command} for one in self.advice]
        return {"exitCode": self.code, "cluster": self.subject, "sections": ordered, "advice": advice}

    def __str__(self) -> str:
        width = max(map(len, HEADINGS)) + 2
        text = [self.subject]
        for heading in HEADINGS:
            for index, line in enumerate(self.sections.get(heading, [])):
                text.append(f"  {'' if index else heading:<{width}}{one_line_indented(line)}".rstrip())
        return "\n".join(text)


def one_line_indented(text: str) -> str:
    """Return the text on one line; the two spaces before a command stay."""
    return f"  {one_line(text)}" if text.startswith("  ") else one_line(text)


def explain(evidence: Evidence) -> Explanation:
    """Say everything."""
    findings = [report.text for report in evidence.seen.plan.findings if report.subject == str(evidence.name)]
    following, conflicts, unknown = _next(evidence), _conflicts(evidence), unread(evidence)
    code = _code(evidence, differs=bool(following or findings or conflicts))
    advice = recommend(evidence, unsettled=code == UNSETTLED)
    sections = {
        "Selected": _selected(evidence),
        "State": _state(evidence),
        "Fleet": _fleet(evidence),
        "Cluster": list(evidence.access.lines),
        "Argo CD": _argocd(evidence),
        "Conflicts": conflicts,
        "Changed by": [change.line(evidence.seen.now) for change in evidence.changes],
        "Activity": evidence.activity.lines(evidence.seen.now),
        "Dead letters": _letters(evidence),
        "Next": [*(following or [_quiet(evidence, code, unknown)]), *findings],
        "You can": lines(advice),
    }
    return Explanation(str(evidence.name), sections, code, tuple(advice))


def _code(evidence: Evidence, *, differs: bool) -> int:
    """Return the exit code. Nothing is wrong with a cluster that could not be read: it is unknown."""
    if evidence.state is None:
        return UNREAD
    lacks_secret = not evidence.seen.secrets_unread and len(evidence.secrets) != 1
    wrong = differs or lacks_secret or evidence.access.works is False or evidence.state is not State.SELECTED
    return UNSETTLED if wrong or evidence.letters else UNREAD if unread(evidence) else SETTLED


def unread(evidence: Evidence) -> list[str]:
    """Name what was not read and decides whether the cluster is in Argo CD as it should be."""
    seen = evidence.seen
    return [
        what
        for what, missing in (
            ("the cluster" if isinstance(evidence.name, ClusterName) else "its membership", evidence.state is None),
            ("the Secrets", bool(seen.secrets_unread)),
            ("the fleet", bool(seen.fleet_unread or evidence.membership_unread)),
            ("the objects in the cluster", evidence.access.works is None),
        )
        if missing
    ]


def _quiet(evidence: Evidence, code: int, unknown: list[str]) -> str:
    """What happens next if no request is due."""
    if code == SETTLED:
        return "nothing: all is as it should be"
    if evidence.seen.secrets_unread or evidence.seen.fleet_unread or evidence.state is None:
        return f"unknown: {', '.join(unknown)} could not be read"
    if evidence.access.works is False and evidence.state is State.SELECTED:
        return f"a sweep checks the access of one cluster in {CHECK_ONE_IN}; then grant-rbac repairs it"
    if code == UNREAD:
        return f"nothing, as far as is known: {', '.join(unknown)} could not be read"
    return "nothing: a sweep changes nothing"


def _selected(evidence: Evidence) -> list[str]:
    if evidence.state is State.CENTRAL:
        return ["no: it is the central cluster, which is never registered"]
    facts = []
    if not evidence.is_source:
        sources = ", ".join(sorted(evidence.settings.source_projects))
        facts.append(f"no: its project is none of SOURCE_PROJECTS ({sources})")
    if evidence.state in (None, State.DELETED):
        gone = "no: no cluster has this name" if evidence.is_unheard_of else "no: it does not exist any more"
        return facts or ["unknown" if evidence.state is None else gone]
    labels = ", ".join(f"{key}={value}" for key, value in sorted(evidence.labels.items())) or "no labels"
    facts += [f"no: CLUSTER_SELECTOR asks for {requirement(one)}, it has {labels}" for one in evidence.failing]
    if facts:
        return facts
    terms = ", ".join(map(requirement, evidence.settings.selector.requirements))
    return [f"yes: its labels match CLUSTER_SELECTOR ({terms})" if terms else "yes: no CLUSTER_SELECTOR is set"]


def _state(evidence: Evidence) -> list[str]:
    if evidence.state is None:
        return [f"unknown: it could not be read: {evidence.unread or evidence.seen.fleet_unread}"]
    if evidence.is_unheard_of:
        api = "GKE" if isinstance(evidence.name, ClusterName) else "the fleet"
        without = ", ".join(f"no {what}" for what, found in evidence.traces.items() if found is False)
        return [f"{api} answers 404, and a complete list lacks it", *([f"{without} has this name"] if without else [])]
    observed = evidence.observed
    facts = [why(Subject(request_for(evidence.name), evidence.state, observed), evidence.settings)]
    if isinstance(observed, Cluster | Membership) and observed.created is not None:
        facts.append(f"created {ago(observed.created, evidence.seen.now)}")
    if isinstance(observed, Cluster) and observed.problem:
        facts.append(f"GKE says: {observed.problem}")
    return facts


def _fleet(evidence: Evidence) -> list[str]:
    found, seen = evidence.present, evidence.seen
    if found is None:
        if failed := seen.fleet_unread or evidence.membership_unread:
            return [f"unknown: it could not be read: {failed}"]
        if evidence.membership is None and evidence.state is None:
            return ["unknown: its membership is found by the cluster, which could not be read"]
        waits = (
            ["REGISTRATION=wait: it waits until others register it"] if evidence.settings.registration == "wait" else []
        )
        return [f"no membership in the fleet of {evidence.settings.fleet_project}", *waits]
    owner = "managed" if found.cluster_id else "unmanaged: it is used and never changed"
    facts = [f"{found.name}: {found.state} ({owner})"]
    if isinstance(evidence.cluster, Cluster) and found.is_of_earlier(evidence.cluster):
        facts.append("it was made for an earlier cluster of this name: register-membership replaces it")
    if isinstance(evidence.cluster, Cluster) and found.is_stale(evidence.cluster):
        facts.append("it is older than the cluster, so of an earlier cluster of this name: unregister it")
    if found.agent_lost(seen.now):
        heard = f", last heard of {ago(found.last_connection, seen.now)}" if found.last_connection else ""
        facts.append(f"its agent is lost{heard}")
    return facts


def _argocd(evidence: Evidence) -> list[str]:
    if evidence.seen.secrets_unread:
        return [f"unknown: the Secrets could not be read: {evidence.seen.secrets_unread}"]
    if not evidence.secrets:
        return ["no Secret of ours"]
    facts = []
    for secret in evidence.secrets:
        facts.append(f"Secret {secret.name}, as {secret.data.get('name', '(no name)')} at {secret.data.get('server')}")
        facts.append(f"labels: {', '.join(f'{key}={value}' for key, value in sorted(secret.labels.items()))}")
        if hold := secret.hold:
            facts.append(
                f"HELD since {cluster_secret.timestamp(hold.since)} ({hold.reason}): Argo CD does not reconcile it"
            )
            facts += consequences(secret, evidence.seen)
        elif held := secret.annotations.get(cluster_secret.HELD):
            facts.append(f"HELD, but {cluster_secret.HELD} cannot be read ({held}): the next sweep repairs it")
        elif cluster_secret.SKIP_RECONCILE in secret.annotations:
            facts.append(f"a person has set {cluster_secret.SKIP_RECONCILE}: Argo CD does not reconcile it")
        if secret.is_pinned:
            facts.append("PINNED by a person (fleet-registrar/keep): never held, never removed")
        if cluster_secret.AGENT_LOST in secret.annotations:
            facts.append(f"its agent was lost at {secret.annotations[cluster_secret.AGENT_LOST]}")
        facts += _differing(secret, evidence)
    return facts


def _differing(secret: ClusterSecret, evidence: Evidence) -> list[str]:
    """What of the Secret is not as it should be, for a cluster that is running and selected."""
    if evidence.state is not State.SELECTED or evidence.present is None:
        return []
    target = target_of(evidence.cluster if isinstance(evidence.cluster, Cluster) else None, evidence.present)
    if not secret.is_of(target):
        adopted = cluster_secret.GRANT not in secret.annotations
        return [
            "it was adopted and waits until the chain has verified the access"
            if adopted
            else "it was written for an earlier cluster of this name"
        ]
    settings, now = evidence.settings, evidence.seen.now
    plan = secret_plan.plan(secret, target, settings, granted=False, drop=frozenset(), now=now)
    facts = [] if plan.needs_grant else [_verified(evidence), "without Applications, Argo CD shows it as Unknown"]
    if plan.patch is not None:
        meta = plan.patch["metadata"]
        changed = [*meta.get("labels", {}), *meta.get("annotations", {}), *plan.patch.get("data", {})]
        facts.append(f"differs in {', '.join(changed)}")
    if plan.needs_grant:
        facts.append("its grant is not verified, or it is held")
    if plan.gone:
        facts.append(f"carries label keys that are gone at the source: {', '.join(sorted(plan.gone))}")
    return [*facts, *plan.warnings]


def _verified(evidence: Evidence) -> str:
    """When the access was proven last: the log knows the last day only. A Secret is written after that proof."""
    time, unread = evidence.activity.granted, evidence.activity.unread
    when = f"at {cluster_secret.timestamp(time)}" if time else "earlier than the log of the last day"
    when = f"at an unknown time: {unread}" if unread else when
    return f"access verified for {evidence.settings.grant}, {when}"


def _conflicts(evidence: Evidence) -> list[str]:
    """Unmanaged objects with the name, the server or the ID that ours needs."""
    facts = [
        f"Secret {one.name} is for the same cluster, or has the same server or name, and {one.owner(evidence.settings)}"
        for one in evidence.unmanaged_secrets
    ]
    if occupant := evidence.unlisted_occupant:
        facts.append(f"Secret {occupant.name} has the name that ours needs, is not a cluster Secret and is unmanaged")
    if (taken := evidence.unmanaged_membership) and evidence.present is None:
        facts.append(f"membership {taken.name} has the id that ours needs, names {_cluster_of(taken)} and is unmanaged")
    return facts


def _cluster_of(membership: Membership) -> str:
    return str(membership.cluster or "no GKE cluster")


def _letters(evidence: Evidence) -> list[str]:
    if evidence.letters_unread:
        return [f"unknown: they could not be read: {evidence.letters_unread}"]
    now = evidence.seen.now
    return [
        f"{letter.id} from {letter.step}{f', {ago(letter.published, now)}' if letter.published else ''}: {letter.reason}"
        for letter in evidence.letters
    ] or ["none"]


def _next(evidence: Evidence) -> list[str]:
    plan = evidence.seen.plan
    requests = [request for request in plan.requests if request.next.request.name == evidence.name]
    blocked = [request for request in plan.blocked if request.next.request.name == evidence.name]
    return [f"the next sweep publishes {request.next.topic}: {request.reason}" for request in requests] + [
        f"the removal limit stops a sweep's request to {request.next.topic}: {request.reason}" for request in blocked
    ]
