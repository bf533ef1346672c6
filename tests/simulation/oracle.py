"""What must be true of the world when no message is on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.decisions import rbac
from shared.values import cluster_secret
from shared.values.cluster_secret import (
    CLUSTER_ID,
    GRANT,
    HELD,
    MEMBERSHIP_UID,
    ClusterSecret,
)
from shared.values.labels import translate
from shared.values.model import Cluster, Membership, State, state_of_attached, state_of_cluster
from tests.simulation.cast import FLEET
from tests.simulation.ports import CENTRAL
from tests.simulation.stored import PERSON, has_keep_annotation, has_our_label, has_our_labels, is_of_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.values.names import MembershipName
    from tests.simulation.kubernetes import Kubernetes
    from tests.simulation.scheduler import Simulation


def oracle(world: Simulation) -> Iterator[str]:
    """Compare the whole state with the state that the truth alone requires, all being quiet."""
    yield from world.ledger.foreign_changes()
    left = {secret.cluster or secret.membership: secret for secret in world.ledger.ours()}
    yield from _servers(world)
    pinned = {secret.cluster for secret in left.values() if has_keep_annotation(secret)}
    for name, cluster in world.clusters.items():
        secret = left.pop(name, None)
        yield from (f"{name}: {text}" for text in _of_cluster(world, cluster, secret))
    for member_name, membership in world.memberships.items():
        if member_name.project != world.settings.fleet_project:
            continue
        if membership.cluster is None:
            secret = left.pop(member_name, None)
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
        if not has_keep_annotation(secret):
            yield f"{secret.name} is left of a cluster that is gone"


def incomplete_holds(world: Simulation) -> Iterator[str]:
    """Secrets that a sweep has just held, or whose hold it has restored, and that Argo CD still reconciles."""
    for secret in world.ledger.ours():
        if secret.hold is None or secret.hold.reason not in ("not-wanted", "left-fleet") or has_keep_annotation(secret):
            continue
        if secret.cluster is not None:
            cluster = world.clusters.get(secret.cluster)
            leaves = cluster is not None and state_of_cluster(cluster, world.settings, CENTRAL) is State.UNSELECTED
        else:
            member = world.memberships.get(secret.membership) if secret.membership else None
            leaves = member is None or state_of_attached(member, world.settings) is State.UNSELECTED
        skips = secret.annotations.get(cluster_secret.SKIP_RECONCILE) == "true"
        if leaves and not (skips and secret.labels.get(HELD) == secret.hold.reason):
            yield f"{secret.name} is held, and lacks a mark of the hold"


def _servers(world: Simulation) -> Iterator[str]:
    """No Secret of ours leads Argo CD into another cluster than its own, unless a person pinned it."""
    for secret in world.ledger.ours():
        membership = world.memberships.get(secret.membership) if secret.membership else None
        taken = membership is not None and membership.cluster not in (None, secret.cluster)
        if taken and secret.cluster is not None and secret.hold is None and not has_keep_annotation(secret):
            yield f"{secret.name} leads to {membership and membership.cluster} and is not held"


def blocked(world: Simulation, cluster: Cluster) -> bool:
    """Whether an unmanaged object conflicts with a cluster."""
    own = cluster.name.membership(world.settings.fleet_project)
    registered = world.memberships.get(cluster.membership or own)
    if registered is not None and registered.cluster != cluster.name:
        return True
    if any(each.cluster == cluster.name and each.is_stale(cluster) for each in world.memberships.values()):
        return True
    if any(
        secret.membership == (cluster.membership or own) and secret.cluster not in (None, cluster.name)
        for secret in world.ledger.ours()
    ):
        return True  # the membership is a reused one, and the first cluster's Secret stays until a person decides
    name = (rbac.BINDINGS, _binding(world))
    binding = world.kubernetes[cluster.id].objects.get(name)
    if binding is not None and not has_our_label(binding):
        return True
    return _foreign_twin(world, cluster.name.secret_name, cluster.membership or own, gke=True)


def _foreign_twin(world: Simulation, name: str, membership: MembershipName, *, gke: bool) -> bool:
    server = membership.gateway_url(world.settings.fleet_project_number, gke=gke)
    others = (ClusterSecret.read(manifest) for manifest in world.secrets().values())
    fleet = world.settings.fleet_project
    return any(
        not (has_our_labels(other) and is_of_fleet(other, fleet))
        and (other.name == name or other.clashes_with(name, server))
        for other in others
    )


def _of_cluster(world: Simulation, cluster: Cluster, secret: ClusterSecret | None) -> Iterator[str]:
    state = state_of_cluster(cluster, world.settings, CENTRAL)
    if state is State.CENTRAL:
        if secret:
            yield "the central cluster has a Secret"
        return
    inside = world.kubernetes[cluster.id]
    binding = inside.objects.get((rbac.BINDINGS, _binding(world)))
    ours = binding is not None and has_our_label(binding)
    if state is State.UNSELECTED and secret is not None and not has_keep_annotation(secret):
        yield "is not wanted and has a Secret"
    if _is_reachable(world, cluster):
        yield from _bindings(world, inside, state, secret)
    if state is State.UNKNOWN and secret is not None and not has_keep_annotation(secret):
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


def _is_reachable(world: Simulation, cluster: Cluster) -> bool:
    """Whether a way leads to a cluster's bindings: it is in a source project, and a membership of the fleet is its own."""
    names = {cluster.membership, cluster.name.membership(FLEET)} - {None}
    ways = [world.memberships.get(name) for name in names if name is not None and name.project == FLEET]
    registered = any(
        way is not None and way.cluster == cluster.name and not way.is_of_earlier(cluster) and not way.is_stale(cluster)
        for way in ways
    )
    return registered and cluster.name.project in world.settings.source_projects


def _bindings(world: Simulation, inside: Kubernetes, state: State, secret: ClusterSecret | None) -> Iterator[str]:
    """Every binding of ours belongs to a Secret of ours, for Argo CD's present identity, or is reported.

    A pinned Secret, a held one and one whose access is not verified yet are reported, or asked for at each sweep.
    """
    found = [
        name
        for (collection, name), stored in inside.objects.items()
        if collection == rbac.BINDINGS and has_our_label(stored)
    ]
    if state is State.UNSELECTED and secret is None and found:
        yield f"is not wanted, has no Secret, and has our binding {found}"
    if state is not State.SELECTED or secret is None or secret.annotations.get(GRANT) != world.settings.grant:
        return
    email = world.settings.argocd_service_account
    if earlier := [name for name in found if not name.endswith(f":{email}")]:
        yield f"has {earlier}, of an earlier identity"


def _of_attached(world: Simulation, membership: Membership, secret: ClusterSecret | None) -> Iterator[str]:
    state = state_of_attached(membership, world.settings)
    inside = world.kubernetes[membership.unique_id]
    if inside.admits_us:
        yield from _bindings(world, inside, state, secret)
    if state is State.UNSELECTED and secret is not None and not has_keep_annotation(secret):
        yield "is not wanted and has a Secret"
    if (
        state is not State.SELECTED
        or not inside.admits_us
        or _foreign_twin(world, membership.name.secret_name, membership.name, gke=False)
    ):
        return
    binding = inside.objects.get((rbac.BINDINGS, _binding(world)))
    if binding is not None and not has_our_label(binding):
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
    elif cluster_secret.SKIP_RECONCILE in secret.annotations and secret.uid not in world.ledger.skipped:
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
