"""Many clusters at once, in ten projects, and then all of them deleted at once: is anything lost, how long does the last one wait?"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from tests.bench.cloud import ONBOARDING, TEAMS, done, events, ways
from tests.bench.table import Noise, Row, quantile

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chain.running import Chain

GATEWAY_PER_MINUTE = 2400  # a fleet's project, for everybody (https://cloud.google.com/kubernetes-engine/enterprise/multicluster-management/gateway/quotas)
MOST_DELIVERIES = 3
ENDS = ("cluster-events", "dead-letters")
WITHIN = 300


def measured(chain: Chain, clusters: int, alone: float, noise: Noise) -> list[Row]:
    """The rows. `alone` is the median latency of one cluster, in seconds."""
    before = set(chain.listed())
    names: list[str] = []

    def create(seconds: Callable[[], float]) -> None:
        for number in range(clusters):
            team = TEAMS[number % len(TEAMS)]
            labels = {"env": "prod", "number": str(number)}
            names.append(chain.create_cluster(f"burst-{number}", project=team, labels=labels, seconds=seconds()))

    def delete(seconds: Callable[[], float]) -> None:
        for name in names:
            chain.delete_cluster(name, seconds=seconds())

    rows = []
    began, queues = _at_once(chain, create, clusters, noise)
    found = ways(chain, names)
    waits = [way.whole for way in found]
    took = max(way.steps[-1] for way in found) - min(way.running for way in found)
    missing = len(set(names) - chain.listed())
    rows += _rows(chain, "created", clusters, waits, took, alone, missing, began, queues)

    medians = (statistics.median(way.hops[place] for way in found) for place in range(len(ONBOARDING)))
    hops = ", ".join(f"{step} {seconds:.1f}" for step, seconds in zip(ONBOARDING, medians, strict=True))
    rows.append(Row(f"burst: {clusters} created at once: hops, median s", hops, "each with the wait for its turn"))

    began, queues = _at_once(chain, delete, clusters, noise)
    ended, gone = events(chain, "DeleteCluster.finished"), done(chain, "remove-secret", "deleted")
    waits = [gone[name] - ended[name] for name in names if name in gone]
    took = max(gone.values()) - min(ended[name] for name in names)
    state = chain.state()
    left = sum(str(one["cluster"]).rpartition("/")[2].startswith("burst-") for one in state["memberships"].values())
    rows += _rows(chain, "deleted", clusters, waits, took, alone, len(chain.listed() ^ before) + left, began, queues)
    return rows


def _at_once(
    chain: Chain, act: Callable[[Callable[[], float]], None], clusters: int, noise: Noise
) -> tuple[float, dict[str, Any]]:
    """Ask for all of it so that all of it happens in the same moment, and wait until nothing is on its way."""
    queues = chain.state()["queues"]
    began, moment = time.time(), time.monotonic() + 1 + clusters / 150
    act(lambda: max(0.0, moment - time.monotonic()))

    def quiet() -> bool:
        noise.sample()
        return chain.quiet()

    chain.wait_for(quiet, WITHIN, "quiet")
    return began, queues


def _rows(  # noqa: PLR0917
    chain: Chain,
    what: str,
    clusters: int,
    waits: list[float],
    took: float,
    alone: float,
    wrong: int,
    began: float,
    before: dict[str, Any],
) -> list[Row]:
    after = {name: queue for name, queue in chain.state()["queues"].items() if name not in ENDS}
    came_again = {
        name: (queue["deliveries"] - queue["acknowledged"])
        - (before[name]["deliveries"] - before[name]["acknowledged"])
        for name, queue in after.items()
    }
    again = sum(came_again.values())
    # A queue's count is of its whole life: what came again before the burst is not the burst's.
    most = max((after[name]["most_deliveries"] for name, count in came_again.items() if count), default=1)
    letters = chain.state()["queues"]["dead-letters"]["backlog"] - before["dead-letters"]["backlog"]
    gateway = [call["at"] for call in chain.calls(began) if call["api"] == "connectgateway"]
    busiest = max(sum(start <= at < start + 60 for at in gateway) for start in gateway[:: max(1, len(gateway) // 50)])
    title = f"burst: {clusters} {what} at once in {len(TEAMS)} projects"
    return [
        Row(
            f"{title}: lost or left behind",
            f"{wrong}, {letters} dead letters",
            hold="0",
            ok=wrong == 0 and letters == 0,
            binding=True,
        ),
        Row(
            f"{title}: most deliveries of one message",
            f"{most} ({again} came again)",
            hold=f"<= {MOST_DELIVERIES}",
            ok=most <= MOST_DELIVERIES,
            binding=True,
        ),
        Row(
            f"{title}: longest wait",
            f"{max(waits):.1f} s (median {quantile(waits, 0.5):.1f} s)",
            f"one by one they would have taken {alone * clusters:.1f} s",
            max(waits) / (alone * clusters),
        ),
        Row(
            f"{title}: throughput",
            f"{clusters / took:.0f} a second",
            f"one by one: {1 / alone:.0f} a second",
            clusters / took * alone,
        ),
        Row(
            f"{title}: gateway requests",
            f"{len(gateway) / clusters:.1f} each; {busiest:,} in the busiest minute",
            f"quota {GATEWAY_PER_MINUTE:,} a minute: it lets {GATEWAY_PER_MINUTE / (len(gateway) / clusters):.0f} clusters a minute through",
            busiest / GATEWAY_PER_MINUTE,
        ),
    ]
