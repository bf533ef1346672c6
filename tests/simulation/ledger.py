"""What really happened, and the promises of docs/architecture.md#promises, checked at every write of a step.

The ledger knows the truth (which clusters live, since when a Secret is held, whose an object is) and what the step has
been answered in this very delivery. A write that neither justifies is a violation. The state when all is quiet is judged
by `oracle`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.decisions import rbac
from shared.values import cluster_secret
from shared.values.cluster_secret import (
    CLUSTER_HASH,
    CLUSTER_ID,
    GRANT,
    HELD,
    KEEP,
    MANAGED_BY_LABEL,
    MEMBERSHIP_HASH,
    MEMBERSHIP_UID,
    ClusterSecret,
)
from shared.values.labels import translate
from shared.values.model import GONE, MANAGED_BY, Cluster, Membership, State, state_of_attached, state_of_cluster
from tests.simulation.world import CENTRAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.values.names import MembershipName
    from tests.simulation.scheduler import Context, Simulation
    from tests.simulation.world import Kubernetes, Object

OURS = {"fleet-registrar", MANAGED_BY}
PERSON = "person"


class ViolationError(BaseException):
    """A promise is broken. Not an Exception: the product must not take it for a fault of its own."""


class Ledger:
    """Ground truth beside a simulation."""

    def __init__(self, world: Simulation) -> None:
        self.world = world
        self.memberships: dict[str, Membership] = {}
        self.held: dict[str, tuple[str, float]] = {}
        self.made: dict[str, float] = {}
        self.unmanaged: dict[tuple[str, str], tuple[Kubernetes, tuple[str, str], str]] = {}
        self.registrations: dict[MembershipName, Membership] = {}
        self.left_behind: set[str] = set()
        self.had_secret: set[str] = set()
        self.bound: set[tuple[int, str]] = set()
        self.requested: set[bytes] = set()

    # What is true.

    def came(self, value: object) -> None:
        """A cluster or a membership has come or changed."""
        if isinstance(value, Membership):
            self.memberships[value.unique_id] = value

    def noted(self, manifest: Object) -> None:
        """A Secret is as it is now, no matter which process wrote it."""
        uid = manifest["metadata"]["uid"]
        self.made.setdefault(uid, self.world.t)
        hold = ClusterSecret.read(manifest).hold
        self.had_secret.add(manifest["metadata"]["annotations"].get(CLUSTER_ID, ""))
        before = self.held.get(uid)
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
        """Our Secrets."""
        return [secret for secret in map(ClusterSecret.read, self.world.secrets().values()) if _is_ours(secret)]

    def foreign_object(self, cluster: Kubernetes, collection: str, name: str) -> None:
        """An unmanaged object: it must stay as it is."""
        stored = cluster.objects[collection, name]
        self.unmanaged[str(id(cluster)), name] = (cluster, (collection, name), _text(stored))

    # What a step does.

    def wrote(
        self, context: Context, cluster: Kubernetes, collection: str, before: Object | None, after: Object | None
    ) -> None:
        """Judge a write of a step, through the gateway."""
        if collection.endswith("/secrets"):
            _require(cluster is self.world.central, context, "wrote a Secret outside of the central cluster")
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
        _require(cluster is not self.world.central, context, f"wrote {collection} in the central cluster")
        if after is not None:
            self.bound.add((id(cluster), after["metadata"]["name"]))
        for each in (before, after):
            _require(each is None or _carries_our_label(each), context, f"touched a foreign object of {collection}")
        if after is None:
            if context.topic == "grant-rbac" and before is not None:
                # With the new grant, only an identity that is not Argo CD's any more loses its binding.
                current = before["metadata"]["name"].endswith(f":{context.settings.argocd_service_account}")
                _require(not current, context, "removed the binding of Argo CD's identity")
                return
            _require(context.topic == "revoke-rbac", context, "removed a binding")
            self._revoked(context, cluster)

    def preconditioned(self, context: Context, version: Object) -> None:
        """Judge that every change names the uid and the version that were read."""
        _require({"uid", "resourceVersion"} <= version.keys(), context, "wrote without a precondition")

    def _created(self, context: Context, secret: ClusterSecret) -> None:
        _require(_is_ours(secret), context, f"created {secret.name} without our mark")
        _require(
            context.topic == "write-secret" and bool(context.body.get("granted")),
            context,
            f"created {secret.name} without a grant",
        )
        _require(
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
        _require(not twins, context, f"created {secret.name}, the second one beside {twins}")
        self._one_server(context, secret)
        server = secret.data["server"]
        for manifest in self.world.secrets().values():
            other = ClusterSecret.read(manifest)
            old = self.made.get(other.uid, 0.0) < context.started
            clash = not _is_ours(other) and other.clashes_with(secret.name, server)
            _require(not (old and clash), context, f"created {secret.name} beside the foreign {other.name}")
        for sweep in self.world.sweeping:
            sweep.most_secrets = max(sweep.most_secrets, len(self.ours()))

    def _bound(self, context: Context, secret: ClusterSecret) -> None:
        """Whatever a message says of a grant: this very cluster has once got the binding."""
        inside = self.world.kubernetes[secret.annotations.get(CLUSTER_ID) or secret.annotations[MEMBERSHIP_UID]]
        name = f"fleet-registrar:{context.settings.argocd_service_account}"
        _require((id(inside), name) in self.bound, context, f"wrote {secret.name} without a binding in its cluster")

    def _one_server(self, context: Context, secret: ClusterSecret) -> None:
        """Argo CD would deploy one cluster's applications into another. A Secret that came meanwhile cannot be seen."""
        twins = [
            other.name
            for other in self.ours()
            if other.name != secret.name
            and other.data.get("server") == secret.data.get("server")
            and self.made.get(other.uid, 0.0) < context.started
        ]
        _require(not twins, context, f"gave {secret.name} the server of {twins}")

    def _patched(self, context: Context, old: ClusterSecret, new: ClusterSecret) -> None:
        name = old.name
        _require(_is_ours(old), context, f"changed the foreign Secret {name}")
        _require(
            (old.labels, old.annotations, old.data) != (new.labels, new.annotations, new.data),
            context,
            f"wrote {name}, in which nothing differs",
        )
        _require(old.data.get("name") == new.data.get("name"), context, f"renamed {name}")
        # What belonged to an earlier cluster goes with it.
        recreated = old.annotations.get(CLUSTER_ID) != new.annotations.get(CLUSTER_ID)
        for kind, was, now in (("label", old.labels, new.labels), ("annotation", old.annotations, new.annotations)):
            for key in was:
                _require(
                    recreated or not key.startswith(PERSON) or now.get(key) == was[key],
                    context,
                    f"changed a person's {kind} of {name}",
                )
        dropped = {key for key in old.labels if key not in new.labels} - {HELD}
        if recreated:
            left = set(new.written_keys) | {key for key in new.labels if "/" in key and not key.startswith(PERSON)}
            _require(new.labels.keys() <= left, context, f"kept labels of an earlier cluster on {name}")
            dropped = set()
        _require(
            new.labels.get(HELD) == (new.hold.reason if new.hold else None), context, f"mislabelled the hold of {name}"
        )
        asked = set(context.body.get("drop_labels", ())) if self._by_sweep(context) else set()
        _require(dropped <= asked, context, f"dropped {sorted(dropped)} of {name}")
        granted = context.topic == "write-secret" and bool(context.body.get("granted"))
        for key in (CLUSTER_ID, MEMBERSHIP_UID, GRANT):
            same = old.annotations.get(key) == new.annotations.get(key)
            _require(same or granted, context, f"wrote another {key} into {name} without a grant")
        if not all(old.annotations.get(key) == new.annotations.get(key) for key in (CLUSTER_ID, MEMBERSHIP_UID)):
            _require(
                old.annotations.get(CLUSTER_ID, "") <= new.annotations.get(CLUSTER_ID, ""),
                context,
                f"took a later cluster in {name} for an earlier one",
            )
            _require(
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
                _require(not stays, context, f"held {name} as left-fleet, and it is in the fleet")
            since = (now.since - self.world.start).total_seconds()
            _require(
                context.started - 1 <= since <= self.world.t,
                context,
                f"dated the hold of {name} {self.world.t - since:.0f} s back",
            )
            _require(not _is_pinned(old), context, f"held {name}, which is pinned")
            state = self._state(context, old)
            match now.reason:
                case "not-wanted":
                    asked = context.body.get("leave") == "hold" and self._by_sweep(context)
                    _require(
                        asked and state is State.UNSELECTED,
                        context,
                        f"held {name} as not wanted; {state}, {dict(context.body)}",
                    )
                case "going":
                    _require(state in (State.DELETING, State.DELETED), context, f"held {name} as going; {state}")
                case "left-fleet":
                    _require(
                        old.cluster is None and state in (State.DELETED, State.UNSELECTED),
                        context,
                        f"held {name} as left-fleet; {state}",
                    )
        elif was is not None and now is not None:
            _require(was.since == now.since, context, f"moved the time of the hold of {name}")
        elif was is not None:
            back = (
                context.topic == "remove-secret"
                and self._state(context, old) is State.UNKNOWN
                and was.reason == "going"
            )
            _require(granted or back, context, f"released the hold of {name} without a grant")

    def _deleted(self, context: Context, secret: ClusterSecret) -> None:
        name = secret.name
        _require(_is_ours(secret), context, f"deleted the foreign Secret {name}")
        _require(not _is_pinned(secret), context, f"deleted {name}, which is pinned")
        _require(context.topic == "remove-secret", context, f"deleted {name}")
        if not self.lives(secret):
            return
        reason, since = self.held.get(secret.uid, ("", self.world.t))
        long = self.world.t - since >= context.settings.hold.total_seconds() - 1
        asked = context.body.get("leave") == "remove" and self._by_sweep(context)
        _require(
            reason in ("not-wanted", "left-fleet") and long and asked,
            context,
            f"deleted {name}, whose cluster lives; held for {reason or 'nothing'} for {self.world.t - since:.0f} s",
        )
        state = self._state(context, secret)
        expected = (State.DELETED, State.UNSELECTED) if reason == "left-fleet" else (State.UNSELECTED,)
        _require(state in expected, context, f"deleted {name}, whose cluster is {state}")

    def _revoked(self, context: Context, cluster: Kubernetes) -> None:
        states = [state_of_cluster(c, context.settings, CENTRAL) for c in context.clusters.values() if c] + [
            state_of_attached(m, context.settings) for m in context.memberships.values() if m and m.cluster is None
        ]
        _require(State.UNSELECTED in states, context, f"removed a binding of a cluster that is {states}")
        for secret in self.ours():
            if self.made.get(secret.uid, 0.0) >= context.started or not self.lives(secret):
                continue
            where = secret.annotations.get(CLUSTER_ID) or secret.annotations.get(MEMBERSHIP_UID, "")
            _require(
                self.world.kubernetes.get(where) is not cluster,
                context,
                f"removed the binding under Secret {secret.name}",
            )

    def registered(self, context: Context, made: Membership) -> None:
        """Judge a membership that a step has made."""
        _require(context.topic == "register-membership", context, f"made {made.name}")
        assert made.cluster is not None
        read = context.clusters.get(made.cluster)
        wanted = read is not None and state_of_cluster(read, context.settings, CENTRAL) is State.SELECTED
        _require(wanted, context, f"registered {made.cluster}, which is not wanted")

    def unregistered(self, context: Context, found: Membership) -> None:
        """Judge a deletion: ours, of a cluster that is gone. The API has no precondition, so the call directly before counts."""
        _require(bool(found.cluster_id), context, f"deleted {found.name}, which is not ours")
        read = context.memberships.get(found.name)
        _require(
            context.last_call == f"gkehub get {found.name}",
            context,
            f"deleted {found.name} without reading it directly before",
        )
        if read is not None and read.unique_id != found.unique_id:
            return  # re-created between two calls that lie directly behind each other: nothing protects from that
        now = self.world.clusters.get(found.cluster) if found.cluster else None
        _require(
            now is None or now.id_label != found.cluster_id, context, f"deleted {found.name} of a cluster that lives"
        )

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
        if context.topic != "sweep" or "release" in context.body:
            return
        body = json.loads(data)
        if body.get("leave") == "hold" or body.get("drop_labels"):
            context.blocked.add(body.get("cluster") or body.get("membership"))
            allowed = context.settings.max_removals.of(context.most_secrets)
            _require(
                len(context.blocked) <= allowed,
                context,
                f"the brake: {len(context.blocked)} of {context.most_secrets}, {allowed} allowed",
            )

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
        _require(
            member is not None and member.name == secret.membership,
            context,
            f"{secret.name} speaks of a membership that never was",
        )
        assert member is not None
        _require(
            member.cluster == secret.cluster,
            context,
            f"{secret.name} speaks of {secret.cluster} and of a membership of {member.cluster}",
        )
        id_ = secret.annotations.get(CLUSTER_ID, "")
        _require(
            not member.cluster_id or member.cluster_id == id_[:40], context, f"{secret.name} speaks of two generations"
        )

    # The final state.

    def foreign_changes(self) -> Iterator[str]:
        """Unmanaged objects that are not what they were."""
        for cluster, key, text in self.unmanaged.values():
            if key not in cluster.objects or _text(cluster.objects[key]) != text:
                yield f"the foreign object {key[1]} was changed"
        for name, membership in self.registrations.items():
            if self.world.memberships.get(name) != membership:
                yield f"the foreign membership {name} was changed"


def oracle(world: Simulation) -> Iterator[str]:
    """Compare the whole state with the state that the truth alone requires, all being quiet."""
    yield from world.ledger.foreign_changes()
    left = {secret.name: secret for secret in world.ledger.ours()}
    pinned = {secret.cluster for secret in left.values() if _is_pinned(secret)}
    for name, cluster in world.clusters.items():
        secret = left.pop(name.secret_name, None)
        yield from (f"{name}: {text}" for text in _of_cluster(world, cluster, secret))
    for member_name, membership in world.memberships.items():
        if membership.cluster is None:
            secret = left.pop(member_name.secret_name, None)
            yield from (f"{member_name}: {text}" for text in _of_attached(world, membership, secret))
        elif membership.cluster_id and membership.cluster.project in world.settings.source_projects:
            alive = world.clusters.get(membership.cluster)
            earlier = alive is not None and alive.id_label != membership.cluster_id
            again = alive is not None and state_of_cluster(alive, world.settings, CENTRAL) is State.SELECTED
            if alive is not None and alive.membership not in (None, member_name):
                continue  # of an earlier cluster, while the later one has another membership: it goes when that one goes
            if membership.cluster not in pinned and (
                alive is None or (earlier and again and not blocked(world, alive))
            ):
                yield f"{member_name}, our membership, is left of a cluster that is gone"
    for secret in left.values():
        if not _is_pinned(secret):
            yield f"{secret.name} is left of a cluster that is gone"


def blocked(world: Simulation, cluster: Cluster) -> bool:
    """Whether an unmanaged object conflicts with a cluster."""
    own = cluster.name.membership(world.settings.fleet_project)
    registered = world.memberships.get(cluster.membership or own)
    if registered is not None and registered.cluster != cluster.name:
        return True
    if any(each.cluster == cluster.name and each.is_stale(cluster) for each in world.memberships.values()):
        return True
    name = (rbac.BINDINGS, _binding(world))
    binding = world.kubernetes[cluster.id].objects.get(name)
    if binding is not None and not _carries_our_label(binding):
        return True
    return _foreign_twin(world, cluster.name.secret_name, cluster.membership or own, gke=True)


def _foreign_twin(world: Simulation, name: str, membership: MembershipName, *, gke: bool) -> bool:
    server = membership.gateway_url(world.settings.fleet_project_number, gke=gke)
    others = (ClusterSecret.read(manifest) for manifest in world.secrets().values())
    return any(not _is_ours(other) and (other.name == name or other.clashes_with(name, server)) for other in others)


def _of_cluster(world: Simulation, cluster: Cluster, secret: ClusterSecret | None) -> Iterator[str]:
    state = state_of_cluster(cluster, world.settings, CENTRAL)
    if state is State.CENTRAL:
        if secret:
            yield "the central cluster has a Secret"
        return
    inside = world.kubernetes[cluster.id]
    binding = inside.objects.get((rbac.BINDINGS, _binding(world)))
    ours = binding is not None and _carries_our_label(binding)
    if state is State.UNSELECTED:
        if secret is not None and not _is_pinned(secret):
            yield "is not wanted and has a Secret"
        # Bindings are seen by their Secrets. So a binding stays where the project is no source any more, where a person
        # has deleted the Secret, where no way leads to the cluster, and where there never was a Secret.
        kept = (
            cluster.name.project not in world.settings.source_projects
            or cluster.id in world.ledger.left_behind
            or cluster.id not in world.ledger.had_secret
        )
        if secret is None and ours and not kept:
            yield "is not wanted and has our binding"
    if state is State.UNKNOWN and secret is not None and not _is_pinned(secret):
        held = secret.hold is not None and secret.hold.reason == "going"
        if held == world.ledger.lives(secret):
            yield "is in no state to act on, and held for going, or an earlier cluster's and not held"
    if state is not State.SELECTED or blocked(world, cluster):
        return
    membership = world.memberships.get(cluster.membership or cluster.name.membership(world.settings.fleet_project))
    if secret is None:
        yield "is wanted and has no Secret"
    elif membership is None or membership.cluster != cluster.name or membership.is_of_earlier(cluster):
        yield "is wanted and has no membership of its own"
    else:
        if secret.annotations.get(CLUSTER_ID) != cluster.id:
            yield "has the Secret of an earlier cluster"
        if not ours:
            yield "is wanted and has no binding of ours"
        yield from _content(world, secret, membership, cluster.labels)


def _of_attached(world: Simulation, membership: Membership, secret: ClusterSecret | None) -> Iterator[str]:
    state = state_of_attached(membership, world.settings)
    inside = world.kubernetes[membership.unique_id]
    if state is State.UNSELECTED and secret is not None and not _is_pinned(secret):
        yield "is not wanted and has a Secret"
    if (
        state is not State.SELECTED
        or not inside.admits_us
        or _foreign_twin(world, membership.name.secret_name, membership.name, gke=False)
    ):
        return
    binding = inside.objects.get((rbac.BINDINGS, _binding(world)))
    if binding is not None and not _carries_our_label(binding):
        return
    if secret is None:
        yield "is wanted and has no Secret"
        return
    if binding is None:
        yield "is wanted and has no binding of ours"
    yield from _content(world, secret, membership, membership.labels)


def _content(world: Simulation, secret: ClusterSecret, membership: Membership, source: Any) -> Iterator[str]:
    if secret.annotations.get(MEMBERSHIP_UID) != membership.unique_id:
        yield "has a Secret of another membership"
    if HELD in secret.annotations:
        yield f"is wanted and held: {secret.annotations[HELD]}"
    elif cluster_secret.SKIP_RECONCILE in secret.annotations:
        yield "is wanted and skipped"
    if cluster_secret.AGENT_LOST in secret.annotations:
        yield "has its agent back, and is noted as lost"
    labels = {key: value for key, value in secret.labels.items() if "/" not in key and not key.startswith(PERSON)}
    if labels != translate(source, world.settings.label_keys).labels:
        yield f"has the labels {labels} and not {dict(source)} (of {world.settings.label_keys})"
    if secret.data.get("server") != membership.name.gateway_url(
        world.settings.fleet_project_number, gke=membership.cluster is not None
    ):
        yield f"has the server {secret.data.get('server')}"
    if secret.annotations.get(GRANT) != world.settings.grant:
        yield "has no grant noted"


def _binding(world: Simulation) -> str:
    return f"fleet-registrar:{world.settings.argocd_service_account}"


def _is_ours(secret: ClusterSecret) -> bool:
    return secret.labels.get(MANAGED_BY_LABEL) == MANAGED_BY and MEMBERSHIP_HASH in secret.labels


# The product's own words for these are among what the deliberate faults replace (mutants.py).


def _carries_our_label(stored: Object) -> bool:
    return bool((stored["metadata"].get("labels") or {}).get(MANAGED_BY_LABEL) == MANAGED_BY)


def _is_pinned(secret: ClusterSecret) -> bool:
    return secret.annotations.get(KEEP) == "true"


def _text(stored: Object) -> str:
    return json.dumps(stored, sort_keys=True)


def _require(holds: bool, context: Context, text: str) -> None:
    if not holds:
        what = context.message.data.decode(errors="replace")
        raise ViolationError(f"{context.topic} {what} (attempt {context.attempt}) {text}")


__all__ = ["GONE", "Ledger", "ViolationError", "blocked", "oracle"]
