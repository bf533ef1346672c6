"""Why a cluster is, or is not, in Argo CD: from what has been read to sentences and commands.

Pure. What is true is decided by the same functions as in the steps and the sweep; this only says it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ops.adoption import known
from ops.letters import DeadLetter
from ops.plan import publish_command, release
from ops.survey import Snapshot, is_about, secrets_of
from ops.terminal import MAX_WIDTH, ago, one_line, pluralize
from shared.decisions import secret_plan
from shared.decisions.outcomes import why
from shared.decisions.sweep_plan import CHECK_ONE_IN
from shared.values import cluster_secret
from shared.values.cluster_secret import ClusterSecret
from shared.values.messages import StepRequest
from shared.values.model import Cluster, Gone, Membership, State, state_of_attached, state_of_cluster
from shared.values.names import ClusterName, MembershipName, Name
from shared.values.selector import Requirement
from shared.values.settings import Settings
from shared.values.target import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping


HEADINGS: Final = ("Wanted", "State", "Fleet", "Cluster", "Argo CD", "Conflicts", "Dead letters", "Next", "You can")


@dataclass(frozen=True, slots=True)
class Access:
    """Our RBAC objects in the cluster, a line each; `stands` is None if they could not be read."""

    stands: bool | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was read about one cluster. `unread` says why the cluster itself could not be read."""

    name: Name
    settings: Settings
    seen: Snapshot
    cluster: Cluster | Gone | None = None
    membership: Membership | Gone | None = None
    unread: str = ""
    access: Access = field(default_factory=Access)
    letters: tuple[DeadLetter, ...] = ()
    letters_unread: str = ""

    @property
    def state(self) -> State | None:
        """The row of the table of states that it is in; None when it could not be read."""
        if isinstance(self.name, ClusterName):
            return None if self.cluster is None else state_of_cluster(self.cluster, self.settings, self.seen.central)
        return None if self.membership is None else state_of_attached(self.membership, self.settings)

    @property
    def secrets(self) -> list[ClusterSecret]:
        """Our Secrets that speak of it."""
        return secrets_of(self.name, self.seen.inventory)

    @property
    def there(self) -> Membership | None:
        """Its membership, if it has one."""
        return self.membership if isinstance(self.membership, Membership) else None

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels that the selector is asked about."""
        source = self.cluster if isinstance(self.cluster, Cluster) else self.there
        return source.labels if source else {}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Lines under headings, and whether the cluster is in Argo CD as it should be."""

    subject: str
    sections: Mapping[str, list[str]]
    settled: bool

    def __str__(self) -> str:
        width = max(map(len, HEADINGS)) + 2
        lines = [self.subject]
        for heading in HEADINGS:
            for index, text in enumerate(self.sections.get(heading, [])):
                lines.append(f"  {'' if index else heading:<{width}}{text}")
        return "\n".join(lines)


def explain(evidence: Evidence) -> Explanation:
    """Say everything."""
    findings = [report.text for report in evidence.seen.plan.findings if report.subject == str(evidence.name)]
    following = _next(evidence)
    in_the_way = _in_the_way(evidence)
    settled = (
        evidence.state is State.SELECTED
        and len(evidence.secrets) == 1
        and not (following or findings or in_the_way)
        and evidence.access.stands is not False
    )
    quiet = "nothing: all is as it should be" if settled else "nothing: a sweep leaves it as it is"
    if evidence.access.stands is False and evidence.state is State.SELECTED:
        quiet = f"a sweep checks 1 in {CHECK_ONE_IN} clusters, and grant-rbac then repairs the access"
    sections = {
        "Wanted": _wanted(evidence),
        "State": _state(evidence),
        "Fleet": _fleet(evidence),
        "Cluster": list(evidence.access.lines),
        "Argo CD": _argocd(evidence),
        "Conflicts": [
            f"Secret {one.name} is for the same cluster, or has the same server or name, and is not ours"
            for one in in_the_way
        ],
        "Dead letters": _letters(evidence),
        "Next": [*(following or [quiet]), *findings],
        "You can": _advice(evidence, settled=settled),
    }
    return Explanation(str(evidence.name), sections, settled)


def requirement(one: Requirement) -> str:
    """Write a requirement as a selector does."""
    values = sorted(one.values)
    match one.operator:
        case "exists":
            return one.key
        case "absent":
            return f"!{one.key}"
        case "in":
            return f"{one.key}={values[0]}" if len(values) == 1 else f"{one.key} in ({','.join(values)})"
        case "notin":
            return f"{one.key}!={values[0]}" if len(values) == 1 else f"{one.key} notin ({','.join(values)})"


def _failing(evidence: Evidence) -> list[Requirement]:
    return [one for one in evidence.settings.selector.requirements if not one.matches(evidence.labels)]


def _is_source(evidence: Evidence) -> bool:
    name = evidence.name
    return not isinstance(name, ClusterName) or name.project in evidence.settings.source_projects


def _wanted(evidence: Evidence) -> list[str]:
    if evidence.state is State.CENTRAL:
        return ["no: it is the central cluster, which is never registered"]
    lines = []
    if not _is_source(evidence):
        sources = ", ".join(sorted(evidence.settings.source_projects))
        lines.append(f"no: its project is none of SOURCE_PROJECTS ({sources})")
    if evidence.state in (None, State.DELETED):
        return lines or ["unknown: nothing of it could be read" if evidence.state is None else "it is gone"]
    labels = ", ".join(f"{key}={value}" for key, value in sorted(evidence.labels.items())) or "no labels"
    lines += [f"no: CLUSTER_SELECTOR asks for {requirement(one)}, it has {labels}" for one in _failing(evidence)]
    if lines:
        return lines
    asked = ", ".join(map(requirement, evidence.settings.selector.requirements))
    return [f"yes: its labels match CLUSTER_SELECTOR ({asked})" if asked else "yes: no CLUSTER_SELECTOR is set"]


def _state(evidence: Evidence) -> list[str]:
    if evidence.state is None:
        return [f"could not be read: {one_line(evidence.unread)}"]
    both = StepRequest(
        evidence.name if isinstance(evidence.name, ClusterName) else None,
        None if isinstance(evidence.name, ClusterName) else evidence.name,
    )
    return [why(Subject(both, evidence.state, evidence.cluster, evidence.membership), evidence.settings)]


def _fleet(evidence: Evidence) -> list[str]:
    found = evidence.there
    if found is None:
        where = f"the fleet of {evidence.settings.fleet_project}"
        return [f"no membership in {where}"]
    ours = "we made it" if found.cluster_id else "others made it; it is used and never changed"
    lines = [f"{found.name}: {found.state} ({ours})"]
    if isinstance(evidence.cluster, Cluster) and found.is_of_earlier(evidence.cluster):
        lines.append("it was created for an earlier cluster of this name: it will be re-created")
    if found.agent_lost(evidence.seen.now):
        heard = f", last heard of {ago(found.last_connection, evidence.seen.now)}" if found.last_connection else ""
        lines.append(f"its agent is lost{heard}")
    return lines


def _argocd(evidence: Evidence) -> list[str]:
    if not evidence.secrets:
        return ["no Secret of ours"]
    lines = []
    for secret in evidence.secrets:
        lines.append(f"Secret {secret.name}, as {secret.data.get('name', '(no name)')} at {secret.data.get('server')}")
        lines.append(f"labels: {', '.join(f'{key}={value}' for key, value in sorted(secret.labels.items()))}")
        if hold := secret.hold:
            lines.append(
                f"HELD since {cluster_secret.timestamp(hold.since)} ({hold.reason}): Argo CD does not reconcile it"
            )
        elif cluster_secret.SKIP_RECONCILE in secret.annotations:
            lines.append(f"a person has set {cluster_secret.SKIP_RECONCILE}: Argo CD does not reconcile it")
        if secret.is_pinned:
            lines.append("PINNED by a person (fleet-registrar/keep): never held, never removed")
        if cluster_secret.AGENT_LOST in secret.annotations:
            lines.append(f"its agent was lost at {secret.annotations[cluster_secret.AGENT_LOST]}")
        lines += _differing(secret, evidence)
    return lines


def _differing(secret: ClusterSecret, evidence: Evidence) -> list[str]:
    """What of the Secret is not as it should be, for a cluster that is alive and wanted."""
    membership = evidence.there
    cluster = evidence.cluster if isinstance(evidence.cluster, Cluster) else None
    if evidence.state is not State.SELECTED or membership is None:
        return []
    if not secret.is_of(cluster, membership):
        adopted = cluster_secret.GRANT not in secret.annotations
        return [
            "it was taken over and waits for the chain to prove the access"
            if adopted
            else "it was written for an earlier cluster of this name"
        ]
    settings, now = evidence.settings, evidence.seen.now
    plan = secret_plan.plan(secret, cluster, membership, settings, granted=False, drop=frozenset(), now=now)
    lines = []
    if plan.patch is not None:
        meta = plan.patch["metadata"]
        changed = [*meta.get("labels", {}), *meta.get("annotations", {}), *plan.patch.get("data", {})]
        lines.append(f"differs in {', '.join(changed)}")
    if plan.needs_grant:
        lines.append("its grant is not proven, or it is held")
    if plan.gone:
        lines.append(f"carries label keys that are gone at the source: {', '.join(sorted(plan.gone))}")
    return [*lines, *plan.warnings]


def _in_the_way(evidence: Evidence) -> list[ClusterSecret]:
    """Secrets of others for this cluster, or such as Argo CD would take for this cluster's."""
    membership = evidence.there
    name: str = evidence.name.secret_name
    server = ""
    if membership is not None:
        server = evidence.settings.gateway_url(membership.name, gke=membership.cluster is not None)
    names = {name} | {secret.data.get("name", name) for secret in evidence.secrets}
    same = known(evidence.seen, evidence.settings).get(evidence.name, [])
    return [
        other
        for other in evidence.seen.inventory.unmanaged
        if other in same or any(other.clashes_with(each, server) for each in names)
    ]


def _letters(evidence: Evidence) -> list[str]:
    if evidence.letters_unread:
        return [f"could not be read: {one_line(evidence.letters_unread)}"]
    now = evidence.seen.now
    return [
        f"{letter.id} from {letter.step}{f', {ago(letter.published, now)}' if letter.published else ''}:"
        f" {one_line(letter.reason, 4 * MAX_WIDTH)}"
        for letter in evidence.letters
    ] or ["none"]


def _next(evidence: Evidence) -> list[str]:
    plan = evidence.seen.plan
    asked = [ask for ask in plan.requests if is_about(ask.next.request, evidence.name)]
    blocked = [ask for ask in plan.blocked if is_about(ask.next.request, evidence.name)]
    return [f"the next sweep asks {ask.next.topic}: {ask.reason}" for ask in asked] + [
        f"the removal limit stops a sweep's request to {ask.next.topic}: {ask.reason}" for ask in blocked
    ]


def _advice(evidence: Evidence, *, settled: bool) -> list[str]:
    """What a person can do, as commands where there are some."""
    settings, secrets, name = evidence.settings, evidence.secrets, evidence.name
    kubectl = f"kubectl -n {settings.argocd_namespace}"
    advice = []
    if len(secrets) > 1:
        advice.append(f"delete the wrong Secret: {kubectl} delete secret NAME")
    if _in_the_way(evidence) and not secrets:
        advice.append("adopt the conflicting Secret: python -m ops adopt --dry-run, then python -m ops adopt")
    if not _is_source(evidence) and evidence.state is not State.DELETED:
        advice.append("add its project to SOURCE_PROJECTS (Terraform) to register its clusters")
    elif evidence.state is State.UNSELECTED:
        advice.append(_relabel(evidence))
    for secret in secrets:
        if secret.is_pinned:
            advice.append(f"unpin it: {kubectl} annotate secret {secret.name} {cluster_secret.KEEP}-")
        elif evidence.state is State.UNSELECTED or secret.hold:
            advice.append(
                f"keep it in Argo CD for ever: {kubectl} annotate secret {secret.name} {cluster_secret.KEEP}=true"
            )
        elif evidence.state is None and isinstance(name, ClusterName):
            advice.append(f"if you know that it is gone: {kubectl} delete secret {secret.name}")
    if any(is_about(ask.next.request, name) for ask in evidence.seen.plan.blocked):
        plan = evidence.seen.plan
        clusters = pluralize(len({ask.subject for ask in plan.blocked}), "cluster")
        advice.append(f"release the whole plan, {clusters}: {release(plan, settings)}")
    if evidence.letters:
        ids = " ".join(letter.id for letter in evidence.letters)
        advice.append(f"fix the cause, then: python -m ops dead-letters replay {ids}")
    if evidence.there is not None and evidence.there.agent_lost(evidence.seen.now):
        advice.append("look after its agent, in the cluster: kubectl -n gke-connect get pods")
    if evidence.state is State.SELECTED and not settled:
        key = "cluster" if isinstance(name, ClusterName) else "membership"
        advice.append(f"ask again now: {publish_command('register-membership', {key: str(name)}, settings)}")
    if evidence.state is State.DELETED and secrets:
        key = "cluster" if isinstance(name, ClusterName) else "membership"
        advice.append(f"ask now: {publish_command('remove-secret', {key: str(name)}, settings)}")
    return advice


def _relabel(evidence: Evidence) -> str:
    """How a cluster that is not selected would be: by labels, where setting some is enough."""
    failing = _failing(evidence)
    settable = [one for one in failing if one.operator in ("in", "exists")]
    name = evidence.name
    if not failing:
        return "change CLUSTER_SELECTOR or SOURCE_PROJECTS"
    if len(settable) < len(failing):
        return f"change its labels, or CLUSTER_SELECTOR: {', '.join(map(requirement, failing))} must hold"
    labels = ",".join(f"{one.key}={min(one.values) if one.values else 'VALUE'}" for one in settable)
    if isinstance(name, ClusterName):
        where = f"{name.cluster} --location={name.location} --project={name.project}"
        return f"select it: gcloud container clusters update {where} --update-labels={labels}"
    return f"select it: {_fleet_update(name, labels)}"


def _fleet_update(name: MembershipName, labels: str) -> str:
    where = f"{name.membership} --location={name.location} --project={name.project}"
    return f"gcloud container fleet memberships update {where} --update-labels={labels}"
