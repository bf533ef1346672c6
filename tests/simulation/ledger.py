"""What really happened, and the promises of docs/architecture.md#promises, checked at every write of a step.

The ledger knows the truth (which clusters live, since when a Secret is held, whose an object is) and what the step has
been answered in this very delivery. A write that neither justifies is a violation. The state when all is quiet is judged
by `oracle`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shared.values.cluster_secret import (
    CLUSTER_HASH,
    CLUSTER_ID,
    GRANT,
    HELD,
    MEMBERSHIP_HASH,
    MEMBERSHIP_UID,
    SKIP_RECONCILE,
    ClusterSecret,
)
from shared.values.model import MANAGED_BY, Membership, State, state_of_attached, state_of_cluster
from tests.simulation import limit_ledger
from tests.simulation.ports import CENTRAL
from tests.simulation.stored import (
    PERSON,
    as_text,
    has_keep_annotation,
    has_our_label,
    has_our_labels,
    is_of_fleet,
    require,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.values.names import MembershipName
    from tests.simulation.deliveries import Context
    from tests.simulation.kubernetes import Kubernetes, Object
    from tests.simulation.scheduler import Simulation


MAX_READ_AGE = 10.0
OURS = {"fleet-registrar", MANAGED_BY}


class Ledger:
    """Ground truth beside a simulation."""

    def __init__(self, world: Simulation) -> None:
        self.world = world
        self.memberships: dict[str, Membership] = {}
        self.held: dict[str, tuple[str, float]] = {}
        self.ended: dict[tuple[str, str], float] = {}
        self.made: dict[str, float] = {}
        self.unmanaged: dict[tuple[str, str], tuple[Kubernetes, tuple[str, str], str]] = {}
        self.registrations: dict[MembershipName, Membership] = {}
        self.bound: set[tuple[int, str]] = set()
        self.requested: set[bytes] = set()
        self.released: dict[str, set[str]] = {}
        self.skipped: set[str] = set()

    def came(self, value: object) -> None:
        """A cluster or a membership has come or changed."""
        if isinstance(value, Membership):
            self.memberships[value.unique_id] = value

    def noted(self, manifest: Object) -> None:
        """A Secret is as it is now, no matter which process wrote it."""
        uid = manifest["metadata"]["uid"]
        self.made.setdefault(uid, self.world.t)
        hold = ClusterSecret.read(manifest).hold
        before = self.held.get(uid)
        if before is not None and (hold is None or hold.reason != before[0]):
            self.ended[uid, before[0]] = self.world.t
        if hold is None:
            self.held.pop(uid, None)
        elif before is None or before[0] != hold.reason:
            # By its own word: between deciding and writing lies as long as a process may stall.
            self.held[uid] = (hold.reason, (hold.since - self.world.start).total_seconds())

    def lives(self, secret: ClusterSecret) -> bool:
        """Whether the very cluster of a Secret lives; an attached one always does, whatever the fleet says."""
        if secret.cluster is None:
            return True
        now = self.world.clusters.get(secret.cluster)
        return now is not None and now.id == secret.annotations.get(CLUSTER_ID)

    def ours(self) -> list[ClusterSecret]:
        """Our Secrets: with our labels, and of our fleet."""
        fleet = self.world.settings.fleet_project
        secrets = map(ClusterSecret.read, self.world.secrets().values())
        return [secret for secret in secrets if has_our_labels(secret) and is_of_fleet(secret, fleet)]

    def foreign_object(self, cluster: Kubernetes, collection: str, name: str) -> None:
        """An unmanaged object: it must stay as it is."""
        stored = cluster.objects[collection, name]
        self.unmanaged[str(id(cluster)), name] = (cluster, (collection, name), as_text(stored))

    # What a step does.

    def wrote(
        self, context: Context, cluster: Kubernetes, collection: str, before: Object | None, after: Object | None
    ) -> None:
        """Judge a write of a step, through the gateway."""
        if after is None:
            self.destroyed(context, f"{collection} {before and before['metadata']['name']}")
        if collection.endswith("/secrets"):
            require(cluster is self.world.central, context, "wrote a Secret outside of the central cluster")
            old = ClusterSecret.read(before) if before else None
            new = ClusterSecret.read(after) if after else None
            if new is not None and old is None:
                self._created(context, new)
            elif new is not None and old is not None:
                self._patched(context, old, new)
            elif old is not None:
                self._deleted(context, old)
            if after is not None:
                self.noted(after)
            return
        require(cluster is not self.world.central, context, f"wrote {collection} in the central cluster")
        if after is not None:
            self.bound.add((id(cluster), after["metadata"]["name"]))
        for each in (before, after):
            require(each is None or has_our_label(each), context, f"touched a foreign object of {collection}")
        if after is None:
            if context.topic == "grant-rbac" and before is not None:
                # With the new grant, only an identity that is not Argo CD's any more loses its binding.
                current = before["metadata"]["name"].endswith(f":{context.settings.argocd_service_account}")
                require(not current, context, "removed the binding of Argo CD's identity")
                return
            require(context.topic == "revoke-rbac", context, "removed a binding")
            self._revoked(context, cluster)

    def preconditioned(self, context: Context, version: Object) -> None:
        """Judge that every change names the uid and the version that were read."""
        require({"uid", "resourceVersion"} <= version.keys(), context, "wrote without a precondition")

    def _created(self, context: Context, secret: ClusterSecret) -> None:
        require(has_our_labels(secret), context, f"created {secret.name} without our mark")
        require(
            context.topic == "write-secret" and bool(context.body.get("granted")),
            context,
            f"created {secret.name} without a grant",
        )
        require(
            self._state(context, secret) is State.SELECTED,
            context,
            f"created {secret.name} of a cluster that is not wanted",
        )
        self._one_generation(context, secret)
        self._bound(context, secret)
        twins = [
            other.name
            for other in self.ours()
            if other.name != secret.name
            and (other.labels.get(CLUSTER_HASH) or other.labels.get(MEMBERSHIP_HASH))
            == (secret.labels.get(CLUSTER_HASH) or secret.labels.get(MEMBERSHIP_HASH))
        ]
        require(not twins, context, f"created {secret.name}, the second one beside {twins}")
        self._one_server(context, secret)
        server = secret.data["server"]
        for manifest in self.world.secrets().values():
            other = ClusterSecret.read(manifest)
            old = self.made.get(other.uid, 0.0) < context.started
            clash = not has_our_labels(other) and other.clashes_with(secret.name, server)
            require(not (old and clash), context, f"created {secret.name} beside the foreign {other.name}")
        for sweep in self.world.sweeping:
            sweep.most_secrets = max(sweep.most_secrets, len(self.ours()))

    def _bound(self, context: Context, secret: ClusterSecret) -> None:
        """Whatever a message says of a grant: this very cluster has once got the binding."""
        inside = self.world.kubernetes[secret.annotations.get(CLUSTER_ID) or secret.annotations[MEMBERSHIP_UID]]
        name = f"fleet-registrar:{context.settings.argocd_service_account}"
        require((id(inside), name) in self.bound, context, f"wrote {secret.name} without a binding in its cluster")

    def _one_server(self, context: Context, secret: ClusterSecret) -> None:
        """Argo CD would deploy one cluster's applications into another. A Secret that came meanwhile cannot be seen."""
        twins = [
            other.name
            for other in self.ours()
            if other.name != secret.name
            and other.data.get("server") == secret.data.get("server")
            and self.made.get(other.uid, 0.0) < context.started
        ]
        require(not twins, context, f"gave {secret.name} the server of {twins}")

    def _patched(self, context: Context, old: ClusterSecret, new: ClusterSecret) -> None:
        name = old.name
        require(has_our_labels(old), context, f"changed the foreign Secret {name}")
        require(is_of_fleet(old, context.settings.fleet_project), context, f"changed {name} of another fleet")
        require(
            (old.labels, old.annotations, old.data) != (new.labels, new.annotations, new.data),
            context,
            f"wrote {name}, in which nothing differs",
        )
        require(old.data.get("name") == new.data.get("name"), context, f"renamed {name}")
        # What belonged to an earlier cluster goes with it.
        recreated = old.annotations.get(CLUSTER_ID) != new.annotations.get(CLUSTER_ID)
        for kind, was, now in (("label", old.labels, new.labels), ("annotation", old.annotations, new.annotations)):
            for key in was:
                require(
                    recreated or not key.startswith(PERSON) or now.get(key) == was[key],
                    context,
                    f"changed a person's {kind} of {name}",
                )
        if recreated:
            self.skipped.discard(old.uid)
        stays = old.uid not in self.skipped or SKIP_RECONCILE in new.annotations
        require(stays, context, f"removed a person's skip-reconcile of {name}")
        dropped = {key for key in old.labels if key not in new.labels} - {HELD}
        if recreated:
            left = set(new.written_keys) | {key for key in new.labels if "/" in key and not key.startswith(PERSON)}
            require(new.labels.keys() <= left, context, f"kept labels of an earlier cluster on {name}")
            dropped = set()
        # A person made the annotation unreadable, or removed it: the label stays until the access is proven.
        marked = HELD in new.annotations or (HELD in new.labels and SKIP_RECONCILE in new.annotations)
        unreadable = marked and new.hold is None
        label = old.labels.get(HELD) if unreadable else new.hold.reason if new.hold else None
        require(new.labels.get(HELD) == label, context, f"mislabelled the hold of {name}")
        asked = set(context.body.get("drop_labels", ())) if self._by_sweep(context) else set()
        require(dropped <= asked, context, f"dropped {sorted(dropped)} of {name}")
        granted = context.topic == "write-secret" and bool(context.body.get("granted"))
        for key in (CLUSTER_ID, MEMBERSHIP_UID, GRANT):
            same = old.annotations.get(key) == new.annotations.get(key)
            require(same or granted, context, f"wrote another {key} into {name} without a grant")
        if not all(old.annotations.get(key) == new.annotations.get(key) for key in (CLUSTER_ID, MEMBERSHIP_UID)):
            require(
                old.annotations.get(CLUSTER_ID, "") <= new.annotations.get(CLUSTER_ID, ""),
                context,
                f"took a later cluster in {name} for an earlier one",
            )
            require(
                self._state(context, new) is State.SELECTED, context, f"wrote {name} for a cluster that is not wanted"
            )
            self._one_generation(context, new)
        if old.annotations.get(GRANT) != new.annotations.get(GRANT) or (old.hold and not new.hold and granted):
            self._bound(context, new)
        if old.data.get("server") != new.data.get("server"):
            self._one_server(context, new)
        self._hold(context, old, new, granted=granted)

    def _hold(self, context: Context, old: ClusterSecret, new: ClusterSecret, *, granted: bool) -> None:
        was, now, name = old.hold, new.hold, old.name
        if now is not None and (was is None or was.reason != now.reason):
            if now.reason == "left-fleet":
                member = self.world.memberships.get(old.membership) if old.membership else None
                stays = member is not None and member.unique_id == old.annotations.get(MEMBERSHIP_UID)
                require(not stays, context, f"held {name} as left-fleet, and it is in the fleet")
            since = (now.since - self.world.start).total_seconds()
            require(
                context.started - 1 <= since <= self.world.t,
                context,
                f"dated the hold of {name} {self.world.t - since:.0f} s back",
            )
            require(not has_keep_annotation(old), context, f"held {name}, which is pinned")
            state = self._state(context, old)
            match now.reason:
                case "not-wanted":
                    asked = context.body.get("leave") == "hold" and self._by_sweep(context)
                    require(
                        asked and state is State.UNSELECTED,
                        context,
                        f"held {name} as not wanted; {state}, {dict(context.body)}",
                    )
                case "other-cluster":
                    taken = {m.cluster for m in self.memberships.values() if m.name == old.membership} - {
                        None,
                        old.cluster,
                    }
                    require(bool(taken and old.cluster), context, f"held {name} as another cluster's")
                case "going":
                    require(state in (State.DELETING, State.DELETED), context, f"held {name} as going; {state}")
                case "left-fleet":
                    require(
                        old.cluster is None and state in (State.DELETED, State.UNSELECTED),
                        context,
                        f"held {name} as left-fleet; {state}",
                    )
        elif was is not None and now is not None:
            future = (was.since - self.world.start).total_seconds() > self.world.t
            require(future or was.since == now.since, context, f"moved the time of the hold of {name}")
        elif was is not None:
            back = (
                context.topic == "remove-secret"
                and self._state(context, old) is State.UNKNOWN
                and was.reason == "going"
            )
            require(granted or back, context, f"released the hold of {name} without a grant")

    def _deleted(self, context: Context, secret: ClusterSecret) -> None:
        name = secret.name
        require(has_our_labels(secret), context, f"deleted the foreign Secret {name}")
        require(is_of_fleet(secret, context.settings.fleet_project), context, f"deleted {name} of another fleet")
        require(not has_keep_annotation(secret), context, f"deleted {name}, which is pinned")
        require(context.topic == "remove-secret", context, f"deleted {name}")
        if not self.lives(secret):
            return
        reason, since = self.held.get(secret.uid, ("", self.world.t))
        long = self.world.t - since >= context.settings.hold.total_seconds() - 1
        asked = context.body.get("leave") == "remove" and self._by_sweep(context)
        require(
            reason in ("not-wanted", "left-fleet") and long and asked,
            context,
            f"deleted {name}, whose cluster lives; held for {reason or 'nothing'} for {self.world.t - since:.0f} s",
        )
        state = self._state(context, secret)
        expected = (State.DELETED, State.UNSELECTED) if reason == "left-fleet" else (State.UNSELECTED,)
        require(state in expected, context, f"deleted {name}, whose cluster is {state}")

    def _revoked(self, context: Context, cluster: Kubernetes) -> None:
        states = [state_of_cluster(c, context.settings, CENTRAL) for c in context.clusters.values() if c] + [
            state_of_attached(m, context.settings) for m in context.memberships.values() if m and m.cluster is None
        ]
        require(State.UNSELECTED in states, context, f"removed a binding of a cluster that is {states}")
        for secret in self.ours():
            if self.made.get(secret.uid, 0.0) >= context.started or not self.lives(secret):
                continue
            where = secret.annotations.get(CLUSTER_ID) or secret.annotations.get(MEMBERSHIP_UID, "")
            require(
                self.world.kubernetes.get(where) is not cluster,
                context,
                f"removed the binding under Secret {secret.name}",
            )

    def destroyed(self, context: Context, what: str) -> None:
        """Judge that a deletion follows its last read within 10 s: a process may have been frozen since."""
        age = self.world.t - context.last_read
        require(age <= MAX_READ_AGE, context, f"deleted {what} by a read that is {age:.0f} s old")

    def sweep_starts(self, context: Context) -> None:
        """A sweep begins: the removal limit counts against the Secrets that it may see."""
        context.most_secrets = len(self.ours())
        self.world.sweeping.append(context)

    def _by_sweep(self, context: Context) -> bool:
        """Whether a sweep has requested this, directly or through a step that forwarded it: nobody has forged it."""
        return context.message.data in self.requested

    def published(self, context: Context, data: bytes) -> None:
        """Judge what a sweep asks for: the removal limit."""
        if context.topic == "sweep" or self._by_sweep(context):
            self.requested.add(data)
        if context.topic == "sweep":
            limit_ledger.requested(self, context, json.loads(data))

    def _state(self, context: Context, secret: ClusterSecret) -> State | None:
        """Return the state of this very Secret's cluster by what the step has read in this delivery; None: it has not looked."""
        if secret.cluster is not None:
            if secret.cluster not in context.clusters:
                return None
            read = context.clusters[secret.cluster]
            if read is None or read.id != secret.annotations.get(CLUSTER_ID):
                return State.DELETED
            return state_of_cluster(read, context.settings, CENTRAL)
        if secret.membership is None or secret.membership not in context.memberships:
            return None
        member = context.memberships[secret.membership]
        if member is None or member.unique_id != secret.annotations.get(MEMBERSHIP_UID):
            return State.DELETED
        return state_of_attached(member, context.settings)

    def _one_generation(self, context: Context, secret: ClusterSecret) -> None:
        """Cluster id and membership uid belong together."""
        member = self.memberships.get(secret.annotations.get(MEMBERSHIP_UID, ""))
        require(
            member is not None and member.name == secret.membership,
            context,
            f"{secret.name} speaks of a membership that never was",
        )
        assert member is not None
        require(
            member.cluster == secret.cluster,
            context,
            f"{secret.name} speaks of {secret.cluster} and of a membership of {member.cluster}",
        )
        id_ = secret.annotations.get(CLUSTER_ID, "")
        require(
            not member.cluster_id or member.cluster_id == id_[:40], context, f"{secret.name} speaks of two generations"
        )

    # The final state.

    def foreign_changes(self) -> Iterator[str]:
        """Unmanaged objects that are not what they were."""
        for cluster, key, text in self.unmanaged.values():
            if key not in cluster.objects or as_text(cluster.objects[key]) != text:
                yield f"the foreign object {key[1]} was changed"
        for name, membership in self.registrations.items():
            if self.world.memberships.get(name) != membership:
                yield f"the foreign membership {name} was changed"
