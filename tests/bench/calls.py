"""How many calls of Google's APIs each story costs, from the local cloud's own log, beside what must be read and written at least."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.bench.cloud import TEAMS, outside
from tests.bench.table import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chain.running import Chain

# What cannot be left out if one process did all of it and nobody else wrote meanwhile.
FLOOR = {
    "onboarding, GKE": "8: read the cluster, register, bind, prove, find our Secret and others', create, look once more",
    "onboarding, attached": "10: read it, bind three, prove two, find our Secret and others', create, look once more",
    "label change": "3: read the cluster, find its Secret, change it",
    "offboarding, GKE": "9: going: read, find, hold; gone: read, list, find, delete; read and delete the membership",
    "a needless look (nothing differs)": "2: read the cluster, its Secret",
    "a check of a role binding": "4: read the cluster, its membership, its binding, its Secret",
}
HOLDS = {
    "onboarding, GKE": 13,
    "onboarding, attached": 15,
    "label change": 5,
    "offboarding, GKE": 13,
    "a needless look (nothing differs)": 4,
}
# Events routed and steps run: each writes one line with a decision.
INVOCATIONS = {"onboarding, GKE": 6, "onboarding, attached": 4, "label change": 2, "offboarding, GKE": 7}


def measured(chain: Chain) -> tuple[list[Row], dict[str, dict[str, int]]]:
    """The rows, and the calls of each story by API."""
    counts: dict[str, Counter[str]] = {}
    invocations: dict[str, int] = {}
    warm = chain.create_cluster("warm", project=TEAMS[0], labels={"env": "prod"})
    chain.onboarded(warm)
    chain.wait_quiet()
    chain.delete_cluster(warm)
    chain.wait_quiet()  # from here on every function is warm, and knows the central cluster

    def story(name: str, act: Callable[[], object]) -> None:
        since, before = time.time(), _decisions(chain)
        act()
        chain.wait_quiet()
        invocations[name] = _decisions(chain) - before
        counts[name] = Counter(call["api"] for call in outside(chain, since))

    made: list[str] = []
    story(
        "onboarding, GKE",
        lambda: made.append(chain.create_cluster("counted", project=TEAMS[0], labels={"env": "prod"})),
    )
    story("onboarding, attached", lambda: chain.attach("counted-edge", admit=True))
    story("label change", lambda: chain.set_labels(made[0], {"env": "dev"}))
    story(
        "a needless look (nothing differs)",
        lambda: chain.publish("write-secret", {"cluster": made[0]}),
    )
    story(
        "a check of a role binding",
        lambda: chain.publish("grant-rbac", {"cluster": made[0], "membership": chain.membership(made[0])}),
    )
    story("offboarding, GKE", lambda: chain.delete_cluster(made[0], seconds=1))
    rows = []
    for name, floor in FLOOR.items():
        count, least, hold = counts[name].total(), int(floor.partition(":")[0]), HOLDS.get(name)
        by_api = ", ".join(f"{api} {number}" for api, number in sorted(counts[name].items()))
        rows.append(
            Row(
                f"calls: {name}",
                f"{count} ({by_api})",
                floor,
                count / least,
                f"<= {hold}" if hold else "",
                count <= hold if hold else None,
                binding=True,
            )
        )
    rows += [
        Row(
            f"invocations: {name}",
            str(invocations[name]),
            hold=f"<= {most}",
            ok=invocations[name] <= most,
            binding=True,
        )
        for name, most in INVOCATIONS.items()
    ]
    rows += _sweeps(chain, counts)
    chain.detach(next(name for name in chain.state()["memberships"] if name.endswith("/counted-edge")))
    chain.wait_quiet()
    return rows, {name: dict(count) for name, count in counts.items()}


def _decisions(chain: Chain) -> int:
    return sum(len(chain.lines(log.removesuffix(".log"), '"decision"')) for log in chain.logs())


def _sweeps(chain: Chain, counts: dict[str, Counter[str]]) -> list[Row]:
    """Two sweeps in which nothing differs, the second with ten more clusters: what do the ten cost?"""
    costs = []
    chain.publish("sweep", {})  # the first in a process also reads which cluster is the central one
    chain.wait_quiet()
    for batch in range(2):
        if batch:
            chain.onboarded(*(chain.create_cluster(f"unchanged-{n}", project=TEAMS[1]) for n in range(10)))
            chain.wait_quiet()
        since = time.time()
        chain.publish("sweep", {})
        chain.wait_quiet()
        costs.append([call for call in outside(chain, since) if call["caller"].startswith("fleet-sweep@")])
    more, writes = len(costs[1]) - len(costs[0]), sum(call["method"] != "GET" for calls in costs for call in calls)
    counts["sweep of 12 projects"] = Counter(call["api"] for call in costs[1])
    return [
        Row(
            "calls: unchanged sweep, each cluster",
            f"{more / 10:g} calls, {writes} writes",
            f"{len(costs[0])} calls for the whole sweep of 12 projects",
            hold="0, 0",
            ok=more == 0 and writes == 0,
            binding=True,
        )
    ]
