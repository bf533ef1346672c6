"""Reads everything for a sweep: first the Secrets, then memberships and clusters concurrently. No call per cluster.

The order is part of the proof of deletion: if a Secret names a cluster and a later list lacks it, the cluster is gone or
hidden. The reverse order would prove nothing (docs/decisions/0013).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING

from shared.values.errors import ReconcileError
from shared.values.inventory import Inventory
from shared.values.packed_secrets import PackedSecrets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from shared.clients.ports import Services
    from shared.values.cluster_secret import ClusterSecret
    from shared.values.inventory import Listed
    from shared.values.model import Cluster, Membership

LISTS_AT_ONCE = 8


def read_inventory(services: Services) -> Inventory:
    """Read the source projects, and every project that a Secret of ours names.

    An unreadable project is skipped and reported. Raises an error if the central cluster or the fleet cannot be read.
    """
    settings = services.settings
    projects = set(settings.source_projects)
    secrets = PackedSecrets()
    others: dict[str, ClusterSecret] = {}  # by uid: one whose labels change between the lists is in both
    for secret in services.central.managed():
        if not secret.is_of_instance(settings):
            others[secret.uid] = secret
            continue
        secrets.append(secret)
        with suppress(ReconcileError):  # the plan reports it
            projects |= {secret.cluster.project} if secret.cluster else set()
    others |= {secret.uid: secret for secret in services.central.unmanaged()}
    clusters: dict[str, Listed[Cluster]] = {}
    unread: dict[str, str] = {}

    def read(project: str) -> None:
        clusters.pop(project, None)
        try:
            clusters[project] = services.gke.list(project)
        except ReconcileError as error:
            unread[project] = str(error)

    services.fleet, services.gke  # noqa: B018 - made once, before the threads ask for them
    # Each task in a copy of this context: the step's deadline holds in the threads, too.
    with ThreadPoolExecutor(LISTS_AT_ONCE) as pool:
        memberships = pool.submit(copy_context().run, services.fleet.list, settings.fleet_project)
        tasks = [pool.submit(copy_context().run, read, project) for project in sorted(projects)]
    fleet = memberships.result()
    with ThreadPoolExecutor(LISTS_AT_ONCE) as pool:
        again = _outdated(clusters, fleet.items, settings.source_projects)
        tasks += [pool.submit(copy_context().run, read, project) for project in sorted(again)]
    for task in tasks:
        task.result()
    return Inventory(
        secrets=secrets,
        unmanaged=tuple(others.values()),
        memberships={membership.name: membership for membership in fleet.items},
        unreachable=fleet.missing,
        clusters={cluster.name: cluster for project in sorted(clusters) for cluster in clusters[project].items},
        listed=frozenset(clusters),
        missing_zones={project: found.missing for project, found in clusters.items() if found.missing},
        unread=unread,
        unreadable={
            **fleet.unreadable,
            **{name: why for found in clusters.values() for name, why in found.unreadable.items()},
        },
    )


def _outdated(
    clusters: Mapping[str, Listed[Cluster]], memberships: Iterable[Membership], projects: Collection[str]
) -> set[str]:
    """Return the source projects whose list lacks the cluster of a membership of ours: both may be younger than the list.

    We make a membership after its cluster. So a list that begins after the fleet's list proves that the cluster is gone.
    """
    names = {cluster.name for found in clusters.values() for cluster in found.items}
    return {
        name.project
        for membership in memberships
        if (name := membership.cluster) is not None
        and name not in names
        and membership.cluster_id
        and name.project in clusters
        and name.project in projects
    }
