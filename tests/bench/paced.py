"""Many clusters at once before a gateway that enforces its quota: with our own pace, and without one."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from shared.clients.request_budget import RequestBudget
from tests.bench.burst import GATEWAY_PER_MINUTE
from tests.bench.cloud import TEAMS, cloud
from tests.bench.table import Noise, Row

# Terraform's share for us (settings.gateway_requests), for four functions of one instance each on the local cloud.
OURS: Final = 2000
FUNCTIONS: Final = 4
WITHIN: Final = 900


def measured(clusters: int, noise: Noise) -> list[Row]:
    """The rows: as Terraform deploys it, and with `GATEWAY_REQUESTS=0`. Fewer clusters get a smaller quota."""
    quota = GATEWAY_PER_MINUTE * clusters // 500
    share = OURS * clusters // 500 // FUNCTIONS
    return [
        *_rows("spread over time", clusters, quota, share, noise, binding=True),
        *_rows("without a pace of ours", clusters, quota, 0, noise, binding=False),
    ]


def calculated(clusters: int, requests: int, a_minute: int) -> float:
    """Seconds until the last cluster has begun the step that makes so many requests for each, with one instance."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    budget = RequestBudget(a_minute, clock=lambda: now, sleep=sleep)
    for _ in range(clusters):
        budget.wait()
        for _ in range(requests):
            budget.spend()
    return now


def _rows(title: str, clusters: int, quota: int, share: int, noise: Noise, *, binding: bool) -> list[Row]:
    options = ("--quotas", "--setting", f"GATEWAY_REQUESTS={share}")
    with tempfile.TemporaryDirectory() as directory, cloud(Path(directory), *options) as chain:
        service = "connectgateway.googleapis.com"
        chain.do("quotas", "change", service, f"{service}/requests", quota)
        began = time.time()
        names = [
            chain.create_cluster(f"paced-{number}", project=TEAMS[number % len(TEAMS)]) for number in range(clusters)
        ]

        def done() -> bool:
            noise.sample()
            there = len(chain.listed() & set(names))
            return there + chain.state()["queues"]["dead-letters"]["backlog"] >= clusters and chain.quiet()

        chain.wait_for(done, WITHIN, "each cluster in Argo CD, or its message a dead letter,")
        took = time.time() - began
        there = len(chain.listed() & set(names))
        calls = [call for call in chain.calls(began) if call["api"] == "connectgateway"]
        queues = chain.state()["queues"]
    refused = sum(call["status"] == 429 for call in calls)
    times = [call["at"] for call in calls if call["status"] != 429]
    busiest = max(sum(start <= at < start + 60 for at in times) for start in times[:: max(1, len(times) // 50)])
    step, requests = Counter(call["caller"].partition("@")[0] for call in calls).most_common(1)[0]
    each = round(requests / clusters)
    pace = f"{step} makes {each} of {len(calls) / clusters:.0f} requests"
    pace += f": {calculated(clusters, each, share):.0f} s calculated" if share else ""
    most = max(queue["most_deliveries"] for queue in queues.values())
    letters = queues["dead-letters"]["backlog"]
    what = f"{clusters} clusters before a quota of {quota:,} gateway requests a minute, {title}"
    held = refused == 0 and letters == 0 and there == clusters
    return [
        Row(
            f"{what}: refused requests, dead letters",
            f"{refused}, {letters}",
            f"most deliveries of one message: {most}",
            hold="0, 0" if binding else "",
            ok=held if binding else None,
            binding=binding,
        ),
        Row(
            f"{what}: in Argo CD, quiet after",
            f"{there} of {clusters}, {took:.0f} s",
            f"{pace}; {busiest:,} in the busiest minute",
        ),
    ]
