"""`ops explain CLUSTER`: one answer to "why is my cluster (not) in Argo CD". Reads only, with the operator's identity.

What this identity may not read is reported; the rest is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops import dead_letters, letters
from ops.explanation import Access, Evidence, explain
from ops.letters import DeadLetter
from ops.survey import Snapshot, connected, find, secrets_of, survey
from shared.clients.observe import find_membership, read_cluster, read_membership
from shared.decisions import rbac
from shared.decisions.rbac import Drift
from shared.runtime.services import Services
from shared.values.errors import ReconcileError
from shared.values.model import Cluster, Gone, Membership
from shared.values.names import ClusterName, Name

if TYPE_CHECKING:
    import argparse


UNSETTLED = 2


def run(options: argparse.Namespace) -> int:
    """Explain; 0 when the cluster is in Argo CD as it should be, else 2."""
    services = connected()
    seen = survey(services)
    name = find(options.cluster, seen, dict(services.settings.numbers))
    try:
        found, letters_unread = dead_letters.peek(services), ""
    except ReconcileError as error:
        found, letters_unread = [], str(error)
    said = explain(collect(name, seen, services, found, letters_unread))
    print(said)
    return 0 if said.settled else UNSETTLED


def collect(
    name: Name, seen: Snapshot, services: Services, found: list[DeadLetter], letters_unread: str = ""
) -> Evidence:
    """Read what is about this cluster, as far as this identity may."""
    cluster, membership, unread = _read(name, seen, services)
    there = membership if isinstance(membership, Membership) else None
    names = {str(name)} | ({str(there.name)} if there else set())
    return Evidence(
        name=name,
        settings=services.settings,
        seen=seen,
        cluster=cluster,
        membership=membership,
        unread=unread,
        access=_access(there, services) if there and (cluster is None or isinstance(cluster, Cluster)) else Access(),
        letters=tuple(letters.about(found, names)),
        letters_unread=letters_unread,
    )


def _read(
    name: Name, seen: Snapshot, services: Services
) -> tuple[Cluster | Gone | None, Membership | Gone | None, str]:
    """Return the cluster, its membership, and why one of them could not be read. What the lists hold is not read again."""
    inventory = seen.inventory
    cluster: Cluster | Gone | None = None
    try:
        if not isinstance(name, ClusterName):
            return None, inventory.memberships.get(name) or read_membership(name, services), ""
        cluster = inventory.clusters.get(name) or read_cluster(name, services)
        said = cluster.membership if isinstance(cluster, Cluster) else None
        hint = next((secret.membership for secret in secrets_of(name, inventory)), None)
        for each in (said, hint, name.membership(services.settings.fleet_project)):
            listed = inventory.memberships.get(each) if each else None
            if listed is not None and listed.cluster == name:
                return cluster, listed, ""
        return cluster, (find_membership(cluster, hint, services) if isinstance(cluster, Cluster) else None), ""
    except ReconcileError as error:
        return cluster, None, str(error)


def _access(membership: Membership, services: Services) -> Access:
    """Read, through the gateway, whether Argo CD's identity has access."""
    settings, attached = services.settings, membership.cluster is None
    url = settings.gateway_url(membership.name, gke=not attached)
    lines: list[str] = []
    stands = True
    for wanted in rbac.objects(settings, attached=attached):
        name = wanted["metadata"]["name"]
        try:
            difference = rbac.compare(services.gateway.get(url, rbac.collection(wanted), name), wanted)
        except ReconcileError as error:
            return Access(None, (*lines, f"could not be looked into with your identity: {error}"))
        stands = stands and difference is Drift.NONE
        lines.append(f"{wanted['kind']} {name}: {difference.value}")
    return Access(stands, tuple(lines))
