"""What happens to clusters and memberships: one function for each effect."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.values.names import ClusterName, MembershipName
from tests.simulation.cast import ATTACHED, CLUSTERS, FLEET, SHARED
from tests.simulation.entries import emit_cluster_event, emit_membership_event
from tests.simulation.kubernetes import Kubernetes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.values.model import Cluster, Membership
    from tests.simulation.scheduler import Simulation


def do_create(
    world: Simulation, who: str, labels: Mapping[str, str], takes: float, *, fleet: str = "", fails: bool = False
) -> None:
    name = CLUSTERS[who]
    if name in world.clusters:
        return
    made = world.create(name, labels, "PROVISIONING")
    world.lives += 1
    emit_cluster_event(world, name, "CreateCluster", "started")

    def finished() -> None:
        now = world.clusters.get(name)
        if now is None or now.id != made.id or now.status != "PROVISIONING":
            return
        world.change(name, status="ERROR" if fails else "RUNNING")
        if fleet and not fails:
            _join(world, name, SHARED if fleet == "shared" else _id_of_gke(name))
        emit_cluster_event(world, name, "CreateCluster", "finished", failed=fails)

    world.at(max(takes, 30.0), finished)


def _id_of_gke(name: ClusterName) -> MembershipName:
    return MembershipName(FLEET, "europe-west1", f"{name.project}-{name.cluster}")


def _join(world: Simulation, name: ClusterName, membership: MembershipName) -> None:
    """GKE or a person registers a cluster: an id of their own, no mark of ours."""
    current = world.memberships.get(membership)
    if current is None or (current.cluster == name and not current.cluster_id):
        emit_membership_event(world, "created", world.join(name, membership))


def do_delete(world: Simulation, who: str, takes: float, ends: str = "gone", cleans: bool = False) -> None:
    name = CLUSTERS[who]
    found = world.clusters.get(name)
    if found is None or found.status == "STOPPING":
        return
    world.change(name, status="STOPPING")
    emit_cluster_event(world, name, "DeleteCluster", "started")

    def finished() -> None:
        now = world.clusters.get(name)
        if now is None or now.id != found.id or now.status != "STOPPING":
            return
        if ends != "gone":
            world.change(name, status=ends)
            emit_cluster_event(world, name, "DeleteCluster", "finished", failed=True)
            return
        world.delete(name)
        member = now.membership and world.memberships.get(now.membership)
        if cleans and member and not world.ledger.registrations.get(member.name):
            _drop(world, member)
        emit_cluster_event(world, name, "DeleteCluster", "finished")

    world.at(takes, finished)


def _drop(world: Simulation, member: Membership) -> None:
    """A membership goes, by a person or by Google."""
    world.memberships.pop(member.name)
    cluster = world.clusters.get(member.cluster) if member.cluster else None
    if cluster is not None and cluster.membership == member.name:
        world.change(cluster.name, fleet_project="", membership=None)
    emit_membership_event(world, "deleted", member)


def _alive(world: Simulation, who: str) -> Cluster | None:
    found = world.clusters.get(CLUSTERS[who])
    return found if found is not None and found.status not in ("PROVISIONING", "STOPPING") else None


def do_relabel(world: Simulation, who: str, labels: Mapping[str, str]) -> None:
    found = _alive(world, who)
    if found is not None:
        world.change(found.name, labels=dict(labels))
        emit_cluster_event(world, found.name, "SetLabels", "done")


def do_status(world: Simulation, who: str, status: str) -> None:
    found = _alive(world, who)
    if found is not None:
        world.change(found.name, status=status)
        emit_cluster_event(world, found.name, "UpdateCluster", "finished")


def do_other_fleet(world: Simulation, who: str) -> None:
    found = _alive(world, who)
    if found is None:
        return
    member = found.membership and world.memberships.get(found.membership)
    if member:
        _drop(world, member)
    world.change(found.name, fleet_project="999", membership=None)
    emit_cluster_event(world, found.name, "UpdateCluster", "finished")


def do_back_to_our_fleet(world: Simulation, who: str) -> None:
    found = _alive(world, who)
    if found is not None and found.fleet_project == "999":
        world.change(found.name, fleet_project="", membership=None)
        emit_cluster_event(world, found.name, "UpdateCluster", "finished")


def do_unregister(world: Simulation, who: str) -> None:
    found = _alive(world, who)
    member = found and found.membership and world.memberships.get(found.membership)
    if member and member.name not in world.ledger.registrations:
        _drop(world, member)


def do_register(world: Simulation, who: str, shared: bool = False) -> None:
    found = _alive(world, who)
    if found is not None and not found.fleet_project:
        _join(world, found.name, SHARED if shared else MembershipName(FLEET, "global", f"by-hand-{who}"))


def do_attach(
    world: Simulation, who: str, labels: Mapping[str, str], admits: bool = True, inside: Kubernetes | None = None
) -> None:
    if ATTACHED[who] in world.memberships:
        return
    made = world.attach(ATTACHED[who], labels)
    world.kubernetes[made.unique_id] = inside or Kubernetes(admits_us=admits)
    world.lives += 1
    world.lost_agents.discard(made.name)
    emit_membership_event(world, "created", made)


def do_detach(world: Simulation, who: str) -> None:
    member = world.memberships.get(ATTACHED[who])
    if member is not None:
        _drop(world, member)


def do_reattach(world: Simulation, who: str) -> None:
    """The same cluster, registered again under its name."""
    member = world.memberships.get(ATTACHED[who])
    if member is not None:
        _drop(world, member)
        do_attach(world, who, member.labels, inside=world.kubernetes[member.unique_id])


def do_relabel_attached(world: Simulation, who: str, labels: Mapping[str, str]) -> None:
    member = world.memberships.get(ATTACHED[who])
    if member is not None:
        world.memberships[member.name] = replace(member, labels=dict(labels))
        emit_membership_event(world, "updated", world.memberships[member.name])


def do_disconnect(world: Simulation, who: str) -> None:
    member = world.memberships.get(ATTACHED[who])
    if member is not None and member.name not in world.lost_agents:
        world.memberships[member.name] = replace(member, last_connection=world.now)
        world.lost_agents.add(member.name)


def do_reconnect(world: Simulation, who: str) -> None:
    world.lost_agents.discard(ATTACHED[who])
