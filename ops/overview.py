"""Every cluster in one line: its stage between "missing" and "in Argo CD", and why. Pure.

The stage follows from what the sweep's plan says, from the Secret, and from the log. Nothing new is decided here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from ops.activity import ON_ITS_WAY, Activity, Entry
from ops.adoption import known
from ops.evidence import Access, Evidence
from ops.holds import waiting
from ops.survey import Snapshot, spoken_of
from ops.terminal import pluralize
from shared.decisions.outcomes import why
from shared.decisions.steps import by_cluster, membership_in_list
from shared.values import cluster_secret
from shared.values.cluster_secret import ClusterSecret
from shared.values.codes import Decision, FindingCode
from shared.values.findings import Finding, PlannedRequest
from shared.values.messages import request_for
from shared.values.model import GONE, Cluster, Membership, State, state_of_attached, state_of_cluster
from shared.values.names import ClusterName, MembershipName, Name
from shared.values.settings import Settings
from shared.values.target import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

# For this time after a cluster's creation its event may not have reached a step yet.
YOUNG: Final = timedelta(seconds=30)


class Stage(StrEnum):
    """How far a cluster is. The values are codes; `text` is for people."""

    FAILED = "failed"
    MISSING = "missing"
    CONFLICT = "conflict"
    AGENT_LOST = "agent_lost"
    NOT_RUNNING = "not_running"
    OTHER_FLEET = "other_fleet"
    UNKNOWN = "unknown"
    ON_ITS_WAY = "on_its_way"
    WAITING = "waiting"
    DIFFERS = "differs"
    HELD = "held"
    LEAVING = "leaving"
    IN_ARGOCD = "in_argocd"
    EXTERNAL = "external"
    PROVISIONING = "provisioning"
    NOT_SELECTED = "not_selected"
    CENTRAL = "central"

    @property
    def text(self) -> str:
        """The stage in words."""
        return "in Argo CD" if self is Stage.IN_ARGOCD else self.value.replace("_", " ")

    @property
    def is_problem(self) -> bool:
        """Whether it needs a person's attention."""
        return self in _PROBLEMS


_PROBLEMS: Final = frozenset(
    {
        Stage.FAILED,
        Stage.MISSING,
        Stage.CONFLICT,
        Stage.AGENT_LOST,
        Stage.NOT_RUNNING,
        Stage.OTHER_FLEET,
        Stage.UNKNOWN,
    }
)
_CONFLICTS: Final = frozenset({FindingCode.CLASHING_SECRET, FindingCode.OTHER_REGISTRAR, FindingCode.DUPLICATE_SECRETS})
# What a sweep requests if the existing Secret belongs to an earlier cluster of the name, or was adopted.
_RECREATED: Final = frozenset({FindingCode.NOT_REGISTERED, FindingCode.NO_SECRET})
_BY_STATE: Final[Mapping[State, Stage]] = {
    State.CENTRAL: Stage.CENTRAL,
    State.PROVISIONING: Stage.PROVISIONING,
    State.UNKNOWN: Stage.NOT_RUNNING,
    State.OTHER_FLEET: Stage.OTHER_FLEET,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One cluster. Times are None and texts are '' where they are unknown or do not apply.

    `cause` is a code, after the step that failed: clusters with the same stage and cause have the same problem.
    """

    name: Name
    stage: Stage
    reason: str
    cause: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    membership: str = ""
    registered: datetime | None = None
    granted: bool = False
    granted_at: datetime | None = None
    server: str = ""
    secret: str = ""
    written: str = ""
    held_since: datetime | None = None
    held_for: str = ""
    shard: str = ""
    version: str = ""
    last: Entry | None = None

    @property
    def kind(self) -> str:
        """`gke` or `attached`."""
        return "gke" if isinstance(self.name, ClusterName) else "attached"

    @property
    def is_wanted(self) -> bool:
        """Whether it is selected, so that it should be in Argo CD, as far as is known."""
        return self.stage not in (
            Stage.NOT_SELECTED,
            Stage.CENTRAL,
            Stage.LEAVING,
            Stage.PROVISIONING,
            Stage.UNKNOWN,
            Stage.HELD,
        )


@dataclass(frozen=True, slots=True)
class _Facts:
    """What was read of one cluster. `state` is None when the lists that hold it are not complete."""

    name: Name
    state: State | None
    cluster: Cluster | None
    membership: Membership | None
    secrets: list[ClusterSecret]
    findings: list[Finding]
    activity: Activity

    @property
    def secret(self) -> ClusterSecret | None:
        """Its Secret; the first where there are several."""
        return self.secrets[0] if self.secrets else None


def rows(seen: Snapshot, settings: Settings, entries: Sequence[Entry] = ()) -> tuple[Row, ...]:
    """Return all clusters that were read or have a Secret of ours: problems first, then by name."""
    return Overview(seen, settings, entries).rows()


class Overview:
    """The lists of a survey, indexed by cluster: each row costs the same, whatever the number of clusters."""

    def __init__(self, seen: Snapshot, settings: Settings, entries: Sequence[Entry]) -> None:
        self.seen, self.settings = seen, settings
        inventory = seen.inventory
        self.secrets: dict[Name, list[ClusterSecret]] = defaultdict(list)
        for secret in inventory.secrets:
            if (name := spoken_of(secret)) is not None:
                self.secrets[name].append(secret)
        self.registered = by_cluster(inventory.memberships.values())
        self.others = known(seen, settings)
        self.requests: dict[str, list[PlannedRequest]] = defaultdict(list)
        for request in (*seen.plan.requests, *seen.plan.blocked):
            self.requests[request.subject].append(request)
        self.blocked = {request.subject for request in seen.plan.blocked}
        self.findings: dict[str, list[Finding]] = defaultdict(list)
        for finding in seen.plan.findings:
            self.findings[finding.subject].append(finding)
        self.entries: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            for subject in {entry.cluster, entry.membership} - {""}:
                self.entries[subject].append(entry)

    def rows(self) -> tuple[Row, ...]:
        """Return every cluster: problems first, then by name."""
        found = map(self.row, self.names())
        return tuple(sorted(found, key=lambda row: (not row.stage.is_problem, str(row.name))))

    def names(self) -> set[Name]:
        """Return the clusters that were read, and those that a Secret of ours names."""
        inventory = self.seen.inventory
        attached = {name for name, one in inventory.memberships.items() if one.cluster is None}
        return {*inventory.clusters, *attached, *self.secrets, *inventory.unreadable}

    def row(self, name: Name) -> Row:
        """Return the line of one cluster."""
        facts = self._facts(name)
        cluster, membership, secret = facts.cluster, facts.membership, facts.secret
        stage = self._stage(facts)
        source = cluster or membership
        hold = secret.hold if secret else None
        return Row(
            name=name,
            stage=stage,
            reason=self._reason(facts, stage),
            cause=self._cause(facts, stage),
            labels=source.labels if source else {},
            membership=str(membership.name) if membership else "",
            registered=membership.created if membership else None,
            granted=bool(secret and cluster_secret.GRANT in secret.annotations),
            granted_at=facts.activity.granted,
            server=secret.data.get("server", "") if secret else "",
            secret=secret.name if secret else "",
            written=secret.created if secret else "",
            held_since=hold.since if hold else None,
            held_for=hold.reason if hold else "",
            shard=secret.data.get("shard", "") if secret else "",
            version=cluster.version if cluster else membership.version if membership else "",
            last=facts.activity.entries[0] if facts.activity.entries else None,
        )

    def _facts(self, name: Name) -> _Facts:
        cluster, membership = self._read(name)
        subjects = [str(name)] + ([str(membership.name)] if membership and str(membership.name) != str(name) else [])
        return _Facts(
            name=name,
            state=self._state(name, cluster, membership),
            cluster=cluster,
            membership=membership,
            secrets=self.secrets.get(name, []),
            findings=[finding for subject in subjects for finding in self.findings.get(subject, [])],
            activity=self._activity(name, cluster, membership),
        )

    def _read(self, name: Name) -> tuple[Cluster | None, Membership | None]:
        inventory = self.seen.inventory
        if isinstance(name, MembershipName):
            found = inventory.memberships.get(name)
            return None, found if found and found.cluster is None else None
        cluster = inventory.clusters.get(name)
        several = self.registered.get(name, [])
        return cluster, membership_in_list(cluster, several) if cluster else next(iter(several), None)

    def _state(self, name: Name, cluster: Cluster | None, membership: Membership | None) -> State | None:
        inventory, settings = self.seen.inventory, self.settings
        if isinstance(name, ClusterName):
            if cluster is None and not inventory.knows(name):
                return None
            return state_of_cluster(cluster or GONE, settings, self.seen.central)
        if self.seen.fleet_unread or (membership is None and not inventory.knows_membership(name)):
            return None
        return state_of_attached(membership or GONE, settings)

    def _activity(self, name: Name, cluster: Cluster | None, membership: Membership | None) -> Activity:
        """The log of this very cluster: entries about an earlier one of its name say nothing."""
        found = self.entries.get(str(name), [])
        if membership is not None and str(membership.name) != str(name):
            both = {id(one): one for one in (*found, *self.entries.get(str(membership.name), []))}
            found = sorted(both.values(), key=lambda one: one.time, reverse=True)
        since = cluster.created if cluster else None
        return Activity(tuple(one for one in found if since is None or one.time >= since))

    def _stage(self, facts: _Facts) -> Stage:
        name, state, secrets, activity = facts.name, facts.state, facts.secrets, facts.activity
        codes = {finding.code for finding in facts.findings}
        if state is None or self.seen.secrets_unread:
            return Stage.UNKNOWN
        if len(secrets) > 1:
            return Stage.CONFLICT
        if secrets and secrets[0].hold:
            return Stage.HELD
        if state is not State.SELECTED:
            return _BY_STATE.get(state) or (Stage.LEAVING if secrets or state is State.DELETING else Stage.NOT_SELECTED)
        if FindingCode.AGENT_LOST in codes:
            return Stage.AGENT_LOST
        asked = {request.code for request in self.requests.get(str(name), [])}
        if secrets and not asked & _RECREATED:
            differs = bool(asked)
            return Stage.FAILED if differs and activity.failing else Stage.DIFFERS if differs else Stage.IN_ARGOCD
        if self.settings.secrets == "external":
            return Stage.FAILED if activity.failing else Stage.EXTERNAL
        if name in self.others or codes & _CONFLICTS:
            return Stage.CONFLICT
        if FindingCode.WAITING_FOR_MEMBERSHIP in codes:
            return Stage.WAITING
        if activity.failing:
            return Stage.FAILED
        return Stage.ON_ITS_WAY if self._moves(facts.cluster, activity) else Stage.MISSING

    def _moves(self, cluster: Cluster | None, activity: Activity) -> bool:
        now = self.seen.now
        if activity.entries:
            return now - activity.entries[0].time < ON_ITS_WAY
        return cluster is not None and cluster.created is not None and now - cluster.created < YOUNG

    def _reason(self, facts: _Facts, stage: Stage) -> str:
        """The one sentence that says why the cluster is in this stage; '' where the stage says all."""
        name, state, secret = facts.name, facts.state, facts.secret
        match stage:
            case Stage.UNKNOWN:
                return self._unread(name)
            case Stage.FAILED:
                entry = facts.activity.failing[-1]
                attempt = f" attempt {entry.attempt} of {entry.attempts or '?'}" if entry.attempt else ""
                attempt = attempt if entry.decision == Decision.RETRY else " gave up"
                code = f" ({entry.code})" if entry.code else ""  # before the message, because tables cut long lines
                return f"{entry.step}{attempt}{code}: {entry.message}"
            case Stage.IN_ARGOCD | Stage.CENTRAL | Stage.EXTERNAL | Stage.NOT_SELECTED:
                return ""
            case Stage.HELD if secret is not None and secret.hold is not None:
                deletions = len(waiting(secret, self.seen))
                wait = f"; {pluralize(deletions, 'deletion waits', 'deletions wait')} for its end" if deletions else ""
                return f"held since {cluster_secret.timestamp(secret.hold.since)} ({secret.hold.reason}): Argo CD shows its last status{wait}"
            case Stage.CONFLICT if name in self.others:
                first = self.others[name][0]
                what = first.owner(self.settings) if first.is_managed else "is not ours: adopt it"
                names = ", ".join(one.name for one in self.others[name])
                return f"Secret {names} is for this cluster and {what}"
            case Stage.MISSING:
                asked = self.requests.get(str(name), [])
                earlier = f"{asked[0].reason}, its Secret is of an earlier cluster; " if secret and asked else ""
                return earlier + self._silence(facts.activity)
        if requests := self.requests.get(str(name)):
            blocked = "the removal limit stops " if str(name) in self.blocked else "the next sweep publishes "
            return f"{blocked}{requests[0].next.topic}: {requests[0].reason}"
        if facts.findings:
            return facts.findings[0].text
        if state in (None, State.SELECTED, State.PROVISIONING):
            return ""
        observed = facts.cluster if isinstance(name, ClusterName) else facts.membership
        return why(Subject(request_for(name), state, observed), self.settings)

    def _cause(self, facts: _Facts, stage: Stage) -> str:
        if stage is Stage.FAILED:
            entry = facts.activity.failing[-1]
            return f"{entry.step}: {entry.code}" if entry.code else ""
        if stage is Stage.CONFLICT and facts.name in self.others:
            return FindingCode.CLASHING_SECRET
        return facts.findings[0].code if facts.findings else ""

    def _silence(self, activity: Activity) -> str:
        silent = activity.silent(self.seen.now)
        if silent:
            entry, step = silent[-1]
            return f"{step}: no answer since {entry.step} published its request"
        if activity.entries:
            return f"nothing follows {activity.entries[0].step}: {activity.entries[0].message}"
        return "no event or request has reached a step in the last day"

    def _unread(self, name: Name) -> str:
        inventory = self.seen.inventory
        texts: list[Any] = [
            self.seen.secrets_unread,
            inventory.unreadable.get(name),
            inventory.unread.get(name.project),
        ]
        texts += [self.seen.fleet_unread] if isinstance(name, MembershipName) else []
        return next((str(text) for text in texts if text), "the list that it belongs to is not complete")

    def evidence(self, name: Name) -> Evidence:
        """Return what the lists and the log say of one cluster. The access inside it was not read: it is assumed."""
        cluster, membership = self._read(name)
        return Evidence(
            name=name,
            settings=self.settings,
            seen=self._narrowed(name, cluster, membership),
            cluster=cluster,
            membership=membership,
            unread="" if cluster or membership else self._unread(name),
            access=Access(works=True),
            activity=self._activity(name, cluster, membership),
        )

    def _narrowed(self, name: Name, cluster: Cluster | None, membership: Membership | None) -> Snapshot:
        """The survey without the other clusters, so that evidence costs the same, whatever their number."""
        inventory, plan = self.seen.inventory, self.seen.plan
        memberships = {membership.name: membership} if membership else {}
        if isinstance(name, ClusterName):
            memberships |= {one.name: one for one in self.registered.get(name, [])}
            if taken := inventory.memberships.get(name.membership(self.settings.fleet_project)):
                memberships[taken.name] = taken
        lists = replace(
            inventory,
            secrets=tuple(self.secrets.get(name, [])),
            clusters={cluster.name: cluster} if cluster else {},
            memberships=memberships,
        )
        subjects = {str(name), *map(str, memberships)}
        asked = tuple(
            one for subject in subjects for one in self.requests.get(subject, []) if subject not in self.blocked
        )
        findings = tuple(one for subject in subjects for one in self.findings.get(subject, []))
        return replace(self.seen, inventory=lists, plan=replace(plan, requests=asked, findings=findings))
