"""`ops shards`: shows how Argo CD's clusters are spread over its application controllers, and gives Secrets their shard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ops.pace import paced
from ops.survey import connected
from ops.terminal import MistakeError, Progress, pluralize, table
from ops.unread import by_cause
from shared.decisions import shards
from shared.runtime.services import Services
from shared.values.cluster_secret import ClusterSecret
from shared.values.errors import ReconcileError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def run(options: argparse.Namespace) -> int:
    """Show the distribution and the moves; with `--assign` write them. 2: something is without a right shard, 1: an error."""
    services = connected()
    number = services.settings.argocd_shards
    if not number:
        raise MistakeError("ARGOCD_SHARDS is 0: set it to the number of Argo CD's application controllers")
    everything = services.central.cluster_secrets()
    managed = [secret for secret in everything if secret.is_of_instance(services.settings)]
    moves = shards.assignments(managed, everything, number)
    wrong = [(secret.name, text) for secret in everything if (text := shards.problem(secret, services.settings))]
    if options.json:
        failed = assign(moves, services, options.rate) if options.assign else []
        summary = {
            "clusters": {str(shard): count for shard, count in shards.usage(everything, number).items()},
            "moves": [{"secret": secret.name, "shard": shard} for secret, shard in moves],
            "assigned": options.assign,
            "failed": dict(failed),
            "wrong": dict(wrong),
        }
        print(json.dumps(summary, indent=2))
        return 1 if failed else 2 if wrong or (moves and not options.assign) else 0
    print(table(("SHARD", "CLUSTERS", "AFTER THE MOVES"), _rows(everything, moves, number)))
    for name, text in wrong:
        print(f"wrong: {name}: {text}")
    others = sum(not secret.data.get("shard") for secret in everything) - len(moves)
    if others:
        print(f"{pluralize(others, 'Secret')} of others without a shard: Argo CD's algorithm decides")
    if not moves:
        print("Every Secret of this instance names its shard.")
        return 2 if wrong else 0
    print("\n" + table(("SECRET", "SHARD"), [(secret.name, str(shard)) for secret, shard in moves]) + "\n")
    if not options.assign:
        print(f"{pluralize(len(moves), 'Secret')} without a shard. Give them these: python -m ops shards --assign")
        return 2
    failed = assign(moves, services, options.rate)
    for name, text in by_cause(dict(failed)):
        print(f"failed: {name}: {text}")
    print(
        f"{len(moves) - len(failed)} of {pluralize(len(moves), 'Secret')} got a shard. Run it again to see the distribution."
    )
    return 1 if failed else 2 if wrong else 0


def _rows(
    everything: Sequence[ClusterSecret], moves: list[tuple[ClusterSecret, int]], number: int
) -> list[tuple[str, str, str]]:
    now = shards.usage(everything, number)
    gained = [shard for _, shard in moves]
    return [(str(shard), str(now[shard]), str(now[shard] + gained.count(shard))) for shard in now]


def assign(moves: list[tuple[ClusterSecret, int]], services: Services, a_minute: int) -> list[tuple[str, str]]:
    """Write the shards, paced; return the Secrets that failed, and why. A Secret that changed meanwhile is one of them."""
    progress = Progress(len(moves), "Secrets tried")
    failed = []
    for secret, shard in paced(moves, a_minute):
        try:
            services.central.patch(secret, shards.shard_patch(secret, shard))
        except ReconcileError as error:
            failed.append((secret.name, str(error)))
        progress.step()
    return failed
