"""Memberships that a step creates or deletes, judged against the truth that the ledger knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.values.model import Membership, State, state_of_cluster
from tests.simulation.ports import CENTRAL
from tests.simulation.stored import require

if TYPE_CHECKING:
    from tests.simulation.deliveries import Context
    from tests.simulation.ledger import Ledger


def registered(context: Context, made: Membership) -> None:
    """Judge a membership that a step has made."""
    require(context.topic == "register-membership", context, f"made {made.name}")
    assert made.cluster is not None
    read = context.clusters.get(made.cluster)
    wanted = read is not None and state_of_cluster(read, context.settings, CENTRAL) is State.SELECTED
    require(wanted, context, f"registered {made.cluster}, which is not wanted")


def unregistered(ledger: Ledger, context: Context, found: Membership) -> None:
    """Judge a deletion: ours, of a cluster that is gone. The API has no precondition, so the call directly before counts."""
    require(bool(found.cluster_id), context, f"deleted {found.name}, which is not ours")
    require(found.name.project == context.settings.fleet_project, context, f"deleted {found.name} of another fleet")
    ledger.destroyed(context, str(found.name))
    read = context.memberships.get(found.name)
    require(
        context.last_call == f"gkehub get {found.name}",
        context,
        f"deleted {found.name} without reading it directly before",
    )
    if read is not None and read.unique_id != found.unique_id:
        return  # re-created between two calls that lie directly behind each other: nothing protects from that
    now = ledger.world.clusters.get(found.cluster) if found.cluster else None
    require(now is None or now.id_label != found.cluster_id, context, f"deleted {found.name} of a cluster that lives")
