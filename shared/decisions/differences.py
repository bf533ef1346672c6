"""Compares desired and observed state: every difference, and the request that removes it.

Pure. A sweep acts only through the steps, which read for themselves: a difference that is gone by then does no harm.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Final

from shared.decisions import recognition, removal, reports, secret_plan, shards, steps
from shared.decisions.recognition import Recognition
from shared.decisions.removal import Situation
from shared.decisions.steps import Action
from shared.values.cluster_secret import ClusterSecret
from shared.values.codes import FindingCode, Limit
from shared.values.errors import PermanentError
from shared.values.findings import Check, Differences, Finding, Kind, PlannedRequest
from shared.values.inventory import Inventory
from shared.values.messages import OutgoingMessage, StepRequest
from shared.values.model import GONE, Cluster, Membership, State, state_of_attached, state_of_cluster
from shared.values.names import ClusterName, InvalidNameError, MembershipName, Name
from shared.values.packed_secrets import names_in
from shared.values.settings import Settings
from shared.values.target import AttachedTarget, GkeTarget, Target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

_STATES: Final = {
    State.UNSELECTED: "is not selected any more",
    State.DELETING: "is being deleted",
    State.DELETED: "is not listed any more",
}


def differences(inventory: Inventory, settings: Settings, *, central: ClusterName | None, now: datetime) -> Differences:
    """Compare all lists, without the budget of a sweep."""
    comparison = _Comparison(inventory, settings, central, now)
    found = list(comparison.all())
    return Differences(
        requests=tuple(each for each in found if isinstance(each, PlannedRequest)),
        findings=tuple(each for each in found if isinstance(each, Finding)),
        unchanged=tuple(comparison.unchanged),
        secrets=len(inventory.secrets),
        left=comparison.left,
    )


@dataclass
class _Comparison:
    """Compares the lists. `unchanged` collects the checks of clusters in which nothing differs."""

    inventory: Inventory
    settings: Settings
    central: ClusterName | None
    now: datetime
    unchanged: list[Check] = field(default_factory=list)
    left: int = 0
    without_shard: int = 0

    def all(self) -> Iterator[PlannedRequest | Finding]:
        """Everything that differs, and everything that is only reported."""
        inventory = self.inventory
        # By their places in the list: the Secrets of a large fleet are packed, and unpacked one after another.
        of_clusters: dict[ClusterName, tuple[int, ...]] = {}
        of_memberships: dict[MembershipName, tuple[int, ...]] = {}
        for place, (cluster, membership) in enumerate(names_in(inventory.secrets)):
            if isinstance(cluster, InvalidNameError) or isinstance(membership, InvalidNameError):
                yield from self._invalid(inventory.secrets[place])
            elif cluster is not None:
                of_clusters[cluster] = (*of_clusters.get(cluster, ()), place)
            elif membership is not None:
                of_memberships[membership] = (*of_memberships.get(membership, ()), place)
            else:
                yield from self._invalid(inventory.secrets[place])
        yield from reports.left_out(inventory, self.settings)
        yield from self._clashes()
        yield from reports.other_fleets(inventory.unmanaged, self.settings)
        yield from reports.namesakes(inventory.unmanaged, self.settings)
        of_none = sorted(name for name in of_clusters if name not in inventory.clusters)
        for name in chain(inventory.clusters, of_none):
            yield from self._one(name, of_clusters.get(name, ()))
        attached = {name for name, membership in inventory.memberships.items() if membership.cluster is None}
        for attached_name in sorted({*attached, *of_memberships}):
            yield from self._one(attached_name, of_memberships.get(attached_name, ()))
        yield from self._left_behind(of_clusters)
        yield from shards.missing(self.without_shard, len(inventory.secrets), self.settings)

    def _invalid(self, secret: ClusterSecret) -> Iterator[Finding]:
        yield from self._shard(secret)
        text = "carries our label but names no cluster: repair or delete it"
        try:
            secret.cluster, secret.membership  # noqa: B018 - says what is wrong
        except PermanentError as error:
            text = str(error)
        yield Finding(FindingCode.INVALID_SECRET, secret.name, text, self._delete(secret))

    def _shard(self, secret: ClusterSecret) -> Iterator[Finding]:
        if not secret.data.get("shard"):
            self.without_shard += 1
            return
        yield from shards.wrong(secret, self.settings)

    def _one(self, name: ClusterName | MembershipName, places: tuple[int, ...]) -> Iterator[PlannedRequest | Finding]:
        secrets = [self.inventory.secrets[place] for place in places]
        for each in secrets:
            yield from self._shard(each)
        unfindable = [reports.unfindable(name, secret, self.settings) for secret in secrets]
        if any(unfindable):
            yield from filter(None, unfindable)
            return
        if isinstance(name, ClusterName):
            for each in secrets:
                membership = self.inventory.memberships.get(each.membership) if each.membership else None
                if found := reports.of_another_cluster(name, each, membership, self.settings):
                    yield found
        if len(secrets) > 1:
            yield reports.duplicates(name, secrets, self.settings)
            return
        secret = secrets[0] if secrets else None
        yield from self._of_cluster(name, secret) if isinstance(name, ClusterName) else self._of_attached(name, secret)

    def _of_cluster(self, name: ClusterName, secret: ClusterSecret | None) -> Iterator[PlannedRequest | Finding]:
        cluster = self.inventory.clusters.get(name)
        if cluster is None and not self.inventory.knows(name):
            text = "is not listed, by a list that is not complete there: its Secret stays"
            yield Finding(FindingCode.INCOMPLETE_LIST, str(name), text, reports.describe_command(name))
            return
        state = state_of_cluster(cluster or GONE, self.settings, self.central)
        if state is State.SELECTED and cluster is not None:
            yield from self._of_selected(cluster, secret)
            return
        request = StepRequest(name, secret.membership if secret else None)
        found = list(self._removal(request, Situation.of_cluster(state, secret, cluster)))
        yield from found
        if state is State.UNSELECTED and secret is None and cluster is not None:
            self._check_binding_left(cluster)
        if state is State.OTHER_FLEET and cluster is not None:
            text = f"is selected, but in the fleet of {cluster.fleet_project}"
            yield Finding(FindingCode.OTHER_FLEET, str(name), text, reports.leave_fleet_command(name))
        elif state is State.UNKNOWN and cluster is not None and not found:
            yield Finding(
                FindingCode.UNKNOWN_STATE,
                str(name),
                f"is {cluster.status}: in no state to act on",
                reports.describe_command(name),
            )

    def _of_attached(self, name: MembershipName, secret: ClusterSecret | None) -> Iterator[PlannedRequest | Finding]:
        membership = self.inventory.memberships.get(name)
        if membership is not None and membership.cluster is not None:
            membership = None  # this name belongs to a GKE cluster now: the attached cluster has left
        elif membership is None and not self.inventory.knows_membership(name):
            text = "is not listed, by a list that is not complete there: its Secret stays"
            yield Finding(FindingCode.INCOMPLETE_LIST, str(name), text, reports.describe_command(name))
            return
        request = StepRequest(None, name)
        state = state_of_attached(membership or GONE, self.settings)
        if state is State.SELECTED and membership is not None:
            if secret is None and self.settings.secrets == "external":
                self.unchanged.append(Check("grant-rbac", None, name))
            elif secret is None and name in self.others:
                yield self._other_entry(name)
            elif secret is not None and secret.is_of(AttachedTarget(membership)):
                yield from self._differing(None, secret, AttachedTarget(membership))
            elif membership.agent_lost(self.now):
                yield Finding(
                    FindingCode.AGENT_LOST,
                    str(name),
                    "its agent is lost: nothing can be requested now",
                    reports.describe_command(name),
                )
            else:
                text = "has no Secret of its own"
                yield _request("repair", FindingCode.NO_SECRET, "register-membership", request, text)
            return
        found = list(self._removal(request, Situation.of_attached(state, secret, membership)))
        yield from found
        if state is State.UNSELECTED and secret is None and membership and not membership.agent_lost(self.now):
            self.unchanged.append(Check("revoke-rbac", None, name))
        if state is State.UNKNOWN and membership is not None and not found:
            yield Finding(
                FindingCode.UNKNOWN_STATE,
                str(name),
                f"is {membership.state}: in no state to act on",
                reports.describe_command(name),
            )

    def _check_binding_left(self, cluster: Cluster) -> None:
        """A binding of ours may have stayed: the Secret was deleted by hand, or the chain ended after the grant."""
        for name in (cluster.membership, cluster.name.membership(self.settings.fleet_project)):
            membership = self.inventory.memberships.get(name) if name else None
            if membership is not None and membership.cluster == cluster.name:
                self.unchanged.append(Check("revoke-rbac", cluster.name, membership.name))
                return

    def _removal(self, request: StepRequest, situation: Situation) -> Iterator[PlannedRequest | Finding]:
        """The request with which `remove_secret` would change the Secret now."""
        state, secret = situation.state, situation.secret
        if secret is None:
            return
        if secret.is_pinned:
            if state in (State.UNSELECTED, State.DELETING, State.DELETED):
                text = f"{_STATES[state]}, and its Secret is pinned"
                command = reports.unpin_command(secret, self.settings)
                yield Finding(FindingCode.PINNED, str(request.name), text, command)
            return
        left = situation.reason == "left-fleet"
        self.left += left
        found = removal.next_removal(situation, self.settings.hold, self.now)
        if found is None:
            return
        action, leave = found
        request = replace(request, leave=leave, secret_uid=secret.uid if leave else "")
        is_held = secret.hold is not None and secret.hold.reason == situation.reason
        newly = leave == "hold" and not is_held  # what is held already is not counted a second time
        kind: Kind = "remove" if action is Action.DELETE else "hold" if newly else "repair"
        text = _STATES.get(state, f"is {state.text}")
        match action:
            case Action.DELETE if leave == "remove":
                code, text = FindingCode.HELD_LONG_ENOUGH, f"{text}, and its Secret was held for that long enough"
            case Action.DELETE if state is State.DELETED:
                code = FindingCode.NOT_LISTED
            case Action.DELETE:
                code, text = FindingCode.EARLIER_CLUSTER, "its Secret is of an earlier cluster of this name"
            case Action.HOLD if leave == "hold" and is_held:
                code, text = (
                    FindingCode.HOLD_DIFFERS,
                    f"{text}, and the hold of its Secret lacks a label or annotation, or its time is in the future",
                )
            case Action.HOLD if leave == "hold":
                code = FindingCode.LEFT_FLEET if left else FindingCode.UNSELECTED
            case Action.HOLD if state is State.DELETING:
                code, text = FindingCode.DELETING, f"{text}, and its Secret is not held for that"
            case Action.HOLD:
                code, text = FindingCode.HOLD_DIFFERS, f"{text}, and an earlier cluster's Secret is not held"
            case _:
                code, text = FindingCode.HOLD_DIFFERS, f"{text}, and its Secret is held as if it were deleted"
        limit = Limit.LEFT if left else Limit.LEAVING if kind == "hold" else None
        limit = Limit.GONE if code in (FindingCode.NOT_LISTED, FindingCode.EARLIER_CLUSTER) else limit
        yield PlannedRequest(kind, code, OutgoingMessage("remove-secret", request), text, limit, secret.uid)

    def _of_selected(self, cluster: Cluster, secret: ClusterSecret | None) -> Iterator[PlannedRequest | Finding]:
        """A GKE cluster that is running and selected: is all of it there, and the same?"""
        name = cluster.name
        external = secret is None and self.settings.secrets == "external"
        if secret is None and name in self.others and not external:
            yield self._other_entry(name)
            return
        expected = cluster.membership or name.membership(self.settings.fleet_project)
        membership = self.inventory.memberships.get(expected)
        if membership is None and cluster.membership is None:
            membership = steps.membership_in_list(cluster, self.registrations.get(name, []))
        if membership is None and not self.inventory.knows_membership(expected):
            text = f"{expected} is in a location that the fleet's list lacks"
            yield Finding(FindingCode.INCOMPLETE_LIST, str(name), text, reports.describe_command(expected))
        elif (
            membership is None
            or membership.cluster != name
            or membership.is_of_earlier(cluster)
            or membership.is_stale(cluster)
        ):
            if self.settings.registration == "wait":
                text = "waits for a membership: REGISTRATION=wait leaves the registration to others"
                command = reports.register_command(name, self.settings)
                yield Finding(FindingCode.WAITING_FOR_MEMBERSHIP, str(name), text, command)
                return
            blocks = ""
            if membership is not None and membership.is_stale(cluster):
                blocks = f"; {membership.name}, of an earlier cluster of this name, may block it: unregister that one"
            yield _request(
                "repair",
                FindingCode.NOT_REGISTERED,
                "register-membership",
                StepRequest(name),
                f"has no membership of its own in the fleet{blocks}",
            )
        elif not membership.is_usable:
            text = f"{membership.name} is {membership.state}: nothing can be requested yet"
            yield Finding(FindingCode.MEMBERSHIP_NOT_READY, str(name), text, reports.describe_command(membership.name))
        elif external:
            self.unchanged.append(Check("grant-rbac", name, membership.name))
        else:
            target = GkeTarget(cluster, membership)
            if secret is not None and secret.is_of(target):
                yield from self._differing(name, secret, target)
                return
            request, text = StepRequest(name, membership.name), "has no Secret of its own"
            yield _request("repair", FindingCode.NO_SECRET, "register-membership", request, text)

    def _differing(
        self, cluster: ClusterName | None, secret: ClusterSecret, target: Target
    ) -> Iterator[PlannedRequest | Finding]:
        """Compare the Secret of this cluster with its desired content."""
        plan = secret_plan.plan(secret, target, self.settings, granted=False, drop=frozenset(), now=self.now)
        membership, lost = target.membership.name, target.membership.agent_lost(self.now)
        if not (plan.needs_grant or plan.patch or plan.gone or lost):
            self.unchanged.append(Check("grant-rbac", cluster, membership))
            return
        both = StepRequest(cluster, membership)
        if plan.needs_grant and not lost:
            text = "its access must be verified again, or its hold released"
            yield _request("repair", FindingCode.GRANT_DIFFERS, "grant-rbac", both, text)
        if plan.patch is not None:
            yield _request("repair", FindingCode.SECRET_DIFFERS, "write-secret", both, "its Secret differs")
        if plan.gone:
            request = replace(both, drop_labels=plan.gone, secret_uid=secret.uid)
            text = f"label keys are gone at the source: {', '.join(sorted(plan.gone))}"
            message = OutgoingMessage("write-secret", request)
            yield PlannedRequest("drop", FindingCode.LABELS_GONE, message, text, Limit.LEAVING, secret.uid)
        if lost:
            text = "its agent is lost: not READY, or not heard of for 30 minutes"
            yield Finding(FindingCode.AGENT_LOST, str(membership), text, reports.describe_command(membership))

    @functools.cached_property
    def registrations(self) -> Mapping[ClusterName, list[Membership]]:
        """The memberships by the GKE cluster that they name."""
        return steps.by_cluster(self.inventory.memberships.values())

    @functools.cached_property
    def others(self) -> Mapping[Name, list[tuple[ClusterSecret, Recognition]]]:
        """The unmanaged Secrets by the cluster that they are for."""
        clusters, memberships = self.inventory.clusters.values(), self.inventory.memberships.values()
        known = recognition.index(clusters, memberships, self.settings, self.inventory.unmanaged)
        return recognition.recognised(self.inventory.unmanaged, known)

    def _other_entry(self, name: Name) -> Finding:
        """A cluster without a Secret of ours that is in Argo CD already: it gets no second Secret."""
        secret, recognised = self.others[name][0]
        remedy, command = recognition.remedy(secret, recognised, self.settings)
        text = (
            f"is in Argo CD by Secret {secret.name}, known by {recognised.known_by}, which {secret.owner(self.settings)},"
            f" so no second Secret is written. {remedy}"
        )
        code = FindingCode.OTHER_REGISTRAR if secret.is_managed else FindingCode.CLASHING_SECRET
        return Finding(code, str(name), text, command)

    def _clashes(self) -> Iterator[Finding]:
        """Unmanaged Secrets that Argo CD would treat as ours, or that are for the same cluster as ours."""
        if not self.inventory.unmanaged:
            return
        # Of others there are few Secrets, of ours there may be 100,000: the tables hold what the others have.
        names = {other.data.get("name", ""): "" for other in self.inventory.unmanaged}
        servers = {other.data.get("server", "").rstrip("/"): "" for other in self.inventory.unmanaged}
        same: dict[str, str] = {}
        for secret in self.inventory.secrets:
            name, server = secret.data.get("name", ""), secret.data.get("server", "").rstrip("/")
            names |= {name: secret.name} if name in names else {}
            servers |= {server: secret.name} if server in servers else {}
            same |= recognition.beside(secret, self.others)
        names[""] = servers[""] = ""  # what has no name shares none
        for other in self.inventory.unmanaged:
            sharing = servers[other.data.get("server", "").rstrip("/")]
            managed = same.get(other.name) or names[other.data.get("name", "")] or sharing
            if managed:
                is_same_cluster, shares = other.name in same, bool(sharing)
                yield reports.clash(
                    other, managed, self.settings, is_same_cluster=is_same_cluster, shares_server=shares
                )

    def _delete(self, secret: ClusterSecret) -> str:
        return reports.delete_command([secret.name], self.settings)

    def _left_behind(self, with_secrets: Collection[ClusterName]) -> Iterator[PlannedRequest]:
        """Memberships that we made for clusters that are not listed any more, and for which no Secret is left."""
        if self.settings.registration == "wait":
            return
        for membership in self.inventory.memberships.values():
            name = membership.cluster
            if name is None or not membership.cluster_id or name in with_secrets or name in self.inventory.clusters:
                continue
            if name.project in self.settings.source_projects and self.inventory.knows(name):
                both = StepRequest(name, membership.name)
                text = "our membership of a cluster that is not listed any more"
                message = OutgoingMessage("unregister-membership", both)
                code = FindingCode.ORPHANED_MEMBERSHIP
                yield PlannedRequest("remove", code, message, text, Limit.GONE, membership.unique_id)


def _request(kind: Kind, code: FindingCode, topic: str, request: StepRequest, reason: str) -> PlannedRequest:
    return PlannedRequest(kind, code, OutgoingMessage(topic, request), reason)
