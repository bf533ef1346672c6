"""The sweep's plan: what differs between the clusters, the fleet and Argo CD's list, and whom to ask to mend it.

Pure. A plan is a value: it can be compared, printed (`ops plan`), hashed and released. The sweep acts only by asking the
steps, which look for themselves; so what a plan says may be wrong by the time it is carried out, at no harm.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from shared.decisions import secret_plan
from shared.values import cluster_secret
from shared.values.cluster_secret import ClusterSecret
from shared.values.codes import FindingCode
from shared.values.errors import PermanentError
from shared.values.inventory import Inventory
from shared.values.messages import OutgoingMessage, Scope, StepRequest
from shared.values.model import Cluster, Membership, State, state_of_attached, state_of_cluster
from shared.values.names import ClusterName, MembershipName
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from random import Random


# `mend` and `remove` follow what the APIs say; `hold` and `drop` follow labels and settings, which a person may have got
# wrong at a stroke: those are braked. `check` looks at bindings, each cluster once in 24 sweeps on average.
Kind = Literal["mend", "remove", "hold", "drop", "check"]
LIMITED_KINDS: Final = ("hold", "drop")
CHECK_ONE_IN: Final = 24


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request to a step, and why."""

    kind: Kind
    code: FindingCode
    next: OutgoingMessage
    reason: str

    @property
    def subject(self) -> str:
        """The cluster (or membership) that it is about."""
        return _name(self.next.request)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a sweep sees and leaves alone: what, and why."""

    code: FindingCode
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep asks for. `braked` is what it would have asked for, had it not been more than `allowed`."""

    requests: tuple[PlannedRequest, ...] = ()
    findings: tuple[Finding, ...] = ()
    blocked: tuple[PlannedRequest, ...] = ()
    allowed: int = 0
    hash: str = ""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many requests of each kind."""
        return Counter(ask.kind for ask in self.requests)


def plan(
    inventory: Inventory,
    settings: Settings,
    scope: Scope,
    *,
    central: ClusterName | None,
    now: datetime,
    chance: Random,
) -> Plan:
    """Compare the lists and decide what to ask for.

    The brake is counted before any cut, against all our Secrets, whatever the scope. Requests beyond `SWEEP_REQUESTS`
    are left to the next sweep, mending first, picked at random, so that what cannot succeed does not starve the rest.
    """
    comparison = Comparison(inventory, settings, central, now)
    found = list(comparison.differences())
    requests = [each for each in found if isinstance(each, PlannedRequest)]
    findings = [each for each in found if isinstance(each, Finding)]
    blocked = [ask for ask in requests if ask.kind in LIMITED_KINDS]
    allowed = settings.max_removals.of(len(inventory.secrets))
    digest = plan_hash(blocked) if blocked else ""
    if scope.release:
        if scope.release == digest:
            return Plan(tuple(blocked), tuple(findings), (), allowed, digest)
        told = f"is not the hash of what a sweep would hold or drop now ({digest or 'nothing'}): nothing is released"
        return Plan((), (*findings, Finding(FindingCode.STALE_RELEASE, scope.release, told)), (), allowed, digest)
    over = len({ask.subject for ask in blocked}) > allowed
    if over:
        requests = [ask for ask in requests if ask.kind not in LIMITED_KINDS]
    inside = [ask for ask in requests if scope.holds(ask.next.request, settings.fleet_project)]
    shuffled = chance.sample(inside, len(inside))
    chosen = sorted(shuffled, key=lambda ask: ask.kind != "mend")[: settings.sweep_requests]
    turns = (
        PlannedRequest(
            "check",
            FindingCode.PERIODIC_CHECK,
            OutgoingMessage("grant-rbac", request),
            "its binding is looked at in turn",
        )
        for request in comparison.unchanged
        if scope.holds(request, settings.fleet_project) and chance.random() < 1 / CHECK_ONE_IN
    )
    chosen += itertools.islice(turns, settings.sweep_requests - len(chosen))
    return Plan(tuple(chosen), tuple(findings), tuple(blocked) if over else (), allowed, digest if over else "")


@dataclass
class Comparison:
    """The lists, held against each other. `unchanged` collects the wanted clusters in which nothing differs."""

    inventory: Inventory
    settings: Settings
    central: ClusterName | None
    now: datetime
    unchanged: list[StepRequest] = field(default_factory=list)

    def differences(self) -> Iterator[PlannedRequest | Finding]:
        """Everything that differs, and everything that is seen and left alone."""
        inventory = self.inventory
        of_clusters: dict[ClusterName, list[ClusterSecret]] = defaultdict(list)
        of_memberships: dict[MembershipName, list[ClusterSecret]] = defaultdict(list)
        for secret in inventory.secrets:
            try:
                cluster, membership = secret.cluster, secret.membership
            except PermanentError as error:
                yield Finding(FindingCode.INVALID_SECRET, secret.name, str(error))
                continue
            if cluster is not None:
                of_clusters[cluster].append(secret)
            elif membership is not None:
                of_memberships[membership].append(secret)
            else:
                yield Finding(
                    FindingCode.INVALID_SECRET, secret.name, "carries our mark but names no cluster: mend or delete it"
                )
        yield from self._left_out()
        yield from self._clashes()
        for name in sorted({*inventory.clusters, *of_clusters}):
            yield from self._one(name, of_clusters.get(name, []))
        attached = {name for name, membership in inventory.memberships.items() if membership.cluster is None}
        for attached_name in sorted({*attached, *of_memberships}):
            yield from self._one(attached_name, of_memberships.get(attached_name, []))
        yield from self._left_behind(set(of_clusters))

    def _one(
        self, name: ClusterName | MembershipName, secrets: list[ClusterSecret]
    ) -> Iterator[PlannedRequest | Finding]:
        if len(secrets) > 1:
            names = ", ".join(sorted(secret.name for secret in secrets))
            yield Finding(
                FindingCode.DUPLICATE_SECRETS,
                str(name),
                f"has {len(secrets)} Secrets of ours ({names}): delete the wrong one",
            )
            return
        secret = secrets[0] if secrets else None
        yield from self._of_cluster(name, secret) if isinstance(name, ClusterName) else self._of_attached(name, secret)

    def _of_cluster(self, name: ClusterName, secret: ClusterSecret | None) -> Iterator[PlannedRequest | Finding]:
        cluster = self.inventory.clusters.get(name)
        both = StepRequest(name, secret.membership if secret else None)
        if cluster is None:
            if not self.inventory.knows(name):
                text = "is not listed, by a list that is not complete there: its Secret stays"
                yield Finding(FindingCode.INCOMPLETE_LIST, str(name), text)
            elif secret is not None and secret.is_pinned:
                yield Finding(FindingCode.PINNED, str(name), "is not listed any more, and its Secret is pinned")
            else:
                yield _ask(
                    "remove",
                    FindingCode.NOT_LISTED,
                    "remove-secret",
                    both,
                    "a Secret of a cluster that is not listed any more",
                )
            return
        match state_of_cluster(cluster, self.settings, self.central):
            case State.SELECTED:
                yield from self._wanted(cluster, secret)
            case State.UNSELECTED if secret is not None:
                yield from self._leaving(both, secret, "not-wanted", "is not wanted any more")
            case State.DELETING if secret is not None:
                yield from self._going(both, secret)
            case State.UNKNOWN if secret is not None and self._held_wrongly(cluster, secret):
                text = f"is {cluster.status}, and its Secret is held for going, or an earlier cluster's and not held"
                yield _ask("mend", FindingCode.HOLD_DIFFERS, "remove-secret", both, text)
            case State.UNKNOWN:
                yield Finding(FindingCode.UNKNOWN_STATE, str(name), f"is {cluster.status}: in no state to act on")
            case State.OTHER_FLEET:
                yield Finding(
                    FindingCode.OTHER_FLEET, str(name), f"is wanted, but in the fleet of {cluster.fleet_project}"
                )
            case _:
                return

    def _held_wrongly(self, cluster: Cluster, secret: ClusterSecret) -> bool:
        """A cluster in no state to act on: what was held for going is let in again, an earlier cluster's Secret is held."""
        held = secret.hold is not None and secret.hold.reason == "going"
        earlier = secret.was_written_for_another(cluster_secret.CLUSTER_ID, cluster.id)
        return held is not earlier and not secret.is_pinned

    def _wanted(self, cluster: Cluster, secret: ClusterSecret | None) -> Iterator[PlannedRequest | Finding]:
        """A GKE cluster that is alive and wanted: is all of it there, and the same?"""
        name = cluster.name
        said = cluster.membership or name.membership(self.settings.fleet_project)
        membership = self.inventory.memberships.get(said)
        if membership is None and not self.inventory.knows_membership(said):
            yield Finding(
                FindingCode.INCOMPLETE_LIST, str(name), f"{said} is in a location that the fleet's list lacks"
            )
        elif membership is None or membership.cluster != name or membership.is_of_earlier(cluster):
            yield _ask(
                "mend",
                FindingCode.NOT_REGISTERED,
                "register-membership",
                StepRequest(name),
                "has no membership of its own in the fleet",
            )
        elif not membership.is_usable:
            text = f"{membership.name} is {membership.state}: nothing can be asked for yet"
            yield Finding(FindingCode.MEMBERSHIP_NOT_READY, str(name), text)
        elif secret is None or not secret.is_of(cluster, membership):
            request = StepRequest(name, membership.name)
            yield _ask("mend", FindingCode.NO_SECRET, "register-membership", request, "has no Secret of its own")
        else:
            yield from self._differing(StepRequest(name, membership.name), secret, cluster, membership)

    def _of_attached(self, name: MembershipName, secret: ClusterSecret | None) -> Iterator[PlannedRequest | Finding]:
        membership = self.inventory.memberships.get(name)
        both = StepRequest(None, name)
        if membership is None or membership.cluster is not None:
            if secret is not None and not self.inventory.knows_membership(name):
                text = "is not listed, by a list that is not complete there: its Secret stays"
                yield Finding(FindingCode.INCOMPLETE_LIST, str(name), text)
            elif secret is not None:
                yield from self._leaving(both, secret, "left-fleet", "has left the fleet")
            return
        match state_of_attached(membership, self.settings):
            case State.SELECTED if secret is not None and secret.is_of(None, membership):
                yield from self._differing(both, secret, None, membership)
            case State.SELECTED if membership.agent_lost(self.now):
                yield Finding(FindingCode.AGENT_LOST, str(name), "its agent is lost: nothing can be asked for now")
            case State.SELECTED:
                yield _ask("mend", FindingCode.NO_SECRET, "register-membership", both, "has no Secret of its own")
            case State.UNSELECTED if secret is not None:
                # `remove_secret` takes the Secret of an earlier membership of that name for one that has left the fleet.
                left = secret.was_written_for_another(cluster_secret.MEMBERSHIP_UID, membership.unique_id)
                reason: Literal["not-wanted", "left-fleet"] = "left-fleet" if left else "not-wanted"
                yield from self._leaving(both, secret, reason, "is not wanted any more")
            case State.DELETING if secret is not None:
                yield from self._going(both, secret)
            case State.UNKNOWN:
                yield Finding(FindingCode.UNKNOWN_STATE, str(name), f"is {membership.state}: in no state to act on")
            case _:
                return

    def _differing(
        self, both: StepRequest, secret: ClusterSecret, cluster: Cluster | None, membership: Membership
    ) -> Iterator[PlannedRequest | Finding]:
        """A Secret of this very cluster: does it say what it should?"""
        wanted = secret_plan.plan(
            secret, cluster, membership, self.settings, granted=False, drop=frozenset(), now=self.now
        )
        lost = membership.agent_lost(self.now)
        if wanted.needs_grant and not lost:
            text = "its grant must be proven anew, or its hold lifted"
            yield _ask("mend", FindingCode.GRANT_DIFFERS, "grant-rbac", both, text)
        if wanted.patch is not None:
            yield _ask("mend", FindingCode.SECRET_DIFFERS, "write-secret", both, "its Secret differs")
        if wanted.gone:
            request = StepRequest(both.cluster, both.membership, drop_labels=wanted.gone)
            text = f"label keys are gone at the source: {', '.join(sorted(wanted.gone))}"
            yield _ask("drop", FindingCode.LABELS_GONE, "write-secret", request, text)
        if lost:
            text = "its agent is lost: not READY, or not heard of for 30 minutes"
            yield Finding(FindingCode.AGENT_LOST, str(membership.name), text)
        elif not (wanted.needs_grant or wanted.patch or wanted.gone):
            self.unchanged.append(both)

    def _going(self, both: StepRequest, secret: ClusterSecret) -> Iterator[PlannedRequest | Finding]:
        if secret.is_pinned:
            yield Finding(FindingCode.PINNED, _name(both), "is going, and its Secret is pinned")
        elif secret.hold is None or secret.hold.reason != "going":
            yield _ask(
                "mend", FindingCode.DELETING, "remove-secret", both, "is going, and its Secret is not held for that"
            )

    def _leaving(
        self, both: StepRequest, secret: ClusterSecret, reason: Literal["not-wanted", "left-fleet"], text: str
    ) -> Iterator[PlannedRequest | Finding]:
        """Two looks: hold first; remove what has been held for that reason for `HOLD`."""
        standing = secret.hold
        if secret.is_pinned:
            yield Finding(FindingCode.PINNED, _name(both), f"{text}, and its Secret is pinned")
        elif standing is None or standing.reason != reason:
            code = FindingCode.LEFT_FLEET if reason == "left-fleet" else FindingCode.UNSELECTED
            request = StepRequest(both.cluster, both.membership, leave="hold")
            yield _ask("hold", code, "remove-secret", request, text)
        elif self.now - standing.since >= self.settings.hold:
            request = StepRequest(both.cluster, both.membership, leave="remove")
            why = f"{text}, and was held for it since {standing.since}"
            yield _ask("remove", FindingCode.HELD_LONG_ENOUGH, "remove-secret", request, why)

    def _left_out(self) -> Iterator[Finding]:
        """What the lists leave out, and what follows."""
        for project, why in sorted(self.inventory.unread.items()):
            text = f"could not be read, so nothing of it is removed: {why}"
            yield Finding(FindingCode.UNREAD_PROJECT, f"projects/{project}", text)
        for project, zones in sorted(self.inventory.missing_zones.items()):
            text = f"the list lacks {', '.join(sorted(zones))}: nothing there is removed"
            yield Finding(FindingCode.INCOMPLETE_LIST, f"projects/{project}", text)
        if self.inventory.unreachable:
            lacks = ", ".join(sorted(self.inventory.unreachable))
            text = f"the list of memberships lacks {lacks}: nothing there is removed"
            yield Finding(FindingCode.INCOMPLETE_LIST, "the fleet", text)
        for name, why in sorted(self.inventory.unreadable.items(), key=str):
            yield Finding(
                FindingCode.UNREADABLE_ITEM, str(name), f"is listed and cannot be read, so it stays as it is: {why}"
            )

    def _clashes(self) -> Iterator[Finding]:
        """Somebody else's Secrets that Argo CD would take for ours."""
        names = {secret.data.get("name", ""): secret.name for secret in self.inventory.secrets}
        servers = {secret.data.get("server", "").rstrip("/"): secret.name for secret in self.inventory.secrets}
        for other in self.inventory.unmanaged:
            ours = names.get(other.data.get("name", "")) or servers.get(other.data.get("server", "").rstrip("/"))
            if ours:
                yield Finding(
                    FindingCode.CLASHING_SECRET,
                    other.name,
                    f"is not ours and has the same name or server as our {ours}: Argo CD takes the two for one",
                )

    def _left_behind(self, with_secrets: set[ClusterName]) -> Iterator[PlannedRequest]:
        """Memberships that we made for clusters that are not listed any more, and for which no Secret is left."""
        for membership in self.inventory.memberships.values():
            name = membership.cluster
            if name is None or not membership.cluster_id or name in with_secrets or name in self.inventory.clusters:
                continue
            if name.project in self.settings.source_projects and self.inventory.knows(name):
                both = StepRequest(name, membership.name)
                text = "our membership of a cluster that is not listed any more"
                yield _ask("remove", FindingCode.ORPHANED_MEMBERSHIP, "unregister-membership", both, text)


def plan_hash(requests: list[PlannedRequest]) -> str:
    """Name exactly this plan: what is asked of whom, in any order."""
    bodies = sorted(json.dumps([ask.next.topic, ask.next.body()], sort_keys=True) for ask in requests)
    return hashlib.sha256("\n".join(bodies).encode()).hexdigest()[:16]


def _ask(kind: Kind, code: FindingCode, topic: str, request: StepRequest, reason: str) -> PlannedRequest:
    return PlannedRequest(kind, code, OutgoingMessage(topic, request), reason)


def _name(both: StepRequest) -> str:
    return str(both.cluster or both.membership)
