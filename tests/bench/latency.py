"""RUNNING → Secret, one cluster after another and under load: each hop, beside the same calls in series in one warm process, and polling."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from tests.bench.cloud import ONBOARDING, ROOT, TEAMS, Way, environment, ways
from tests.bench.table import Noise, Row, spread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chain.running import Chain

POLL_SECONDS = 10
HOLD_SECONDS = 1.5


@dataclass(frozen=True)
class Hops:
    """Seconds of each cluster: by step one after another and under load, the whole way, and the calls in series alone."""

    alone: dict[str, list[float]]
    under_load: dict[str, list[float]]
    whole: list[float]
    bare: list[float]


def measured(chain: Chain, home: Path, clusters: int, noise: Noise) -> tuple[list[Row], Hops]:
    """The rows, and the seconds of each hop. The two are measured by turns, so that both meet the same neighbours."""
    names: list[str] = []
    bare: list[float] = []
    chain.onboarded(chain.create_cluster("one-warm", project=TEAMS[0]))
    chain.wait_quiet()  # from here on every function is warm
    with _bare(chain, home) as process:
        for batch in range(10):
            for number in range(clusters // 10):
                names.append(
                    chain.create_cluster(f"one-{batch}-{number}", project=TEAMS[batch], labels={"env": "prod"})
                )
                chain.wait_quiet()
                noise.sample()
            rule = chain.add_event_rule("lose", times=0)
            for number in range(max(2, clusters // 40)):
                name = chain.create_cluster(f"bare-{batch}-{number}", project=TEAMS[batch], labels={"env": "prod"})
                bare.append(_onboarded_bare(process, name))
                noise.sample()
            chain.remove_event_rules(rule["id"])
    found = ways(chain, names)
    whole = [way.whole for way in found]
    hops = {step: [way.hops[place] for way in found] for place, step in enumerate(ONBOARDING)}
    middle, floor = statistics.median(whole), statistics.median(bare)
    polled = POLL_SECONDS / 2 + floor
    rows = [
        Row(
            f"latency: RUNNING -> Secret, {clusters} in turn",
            f"{spread(whole)} (median/p90/max)",
            f"bare calls in series, one warm process: {spread(bare)}",
            middle / floor,
            f"<= {HOLD_SECONDS:g} s",
            middle <= HOLD_SECONDS,
        ),
        Row(
            "latency: RUNNING -> Secret, against polling",
            f"{middle * 1000:,.0f} ms median",
            f"a poll every {POLL_SECONDS} s: {polled * 1000:,.0f} ms expected (half of it, and the calls)",
            middle / polled,
        ),
    ]
    loaded = _under_load(chain, clusters // 2, middle, noise)
    rows.append(
        Row(
            f"latency: RUNNING -> Secret, {len(loaded)} under load",
            f"{spread([way.whole for way in loaded])} (median/p90/max)",
            f"a new cluster every {middle * 1000:,.0f} ms, whether or not the last one is done; in turn: {middle * 1000:,.0f} ms",
            statistics.median(way.whole for way in loaded) / middle,
            f"<= {HOLD_SECONDS:g} s",
            statistics.median(way.whole for way in loaded) <= HOLD_SECONDS,
        )
    )
    under_load = {step: [way.hops[place] for way in loaded] for place, step in enumerate(ONBOARDING)}
    for step, seconds in hops.items():
        part = statistics.median(seconds) / middle
        note = f"{part:.0%} of the whole; under load {spread(under_load[step])}"
        rows.append(Row(f"latency: hop {step}", spread(seconds), note))
    return rows, Hops(hops, under_load, whole, bare)


def _under_load(chain: Chain, clusters: int, interval: float, noise: Noise) -> list[Way]:
    """Clusters come at a steady pace, as fast as one after another would: the ways of all of them."""
    names = []
    began = time.monotonic()
    for number in range(clusters):
        while (left := began + number * interval - time.monotonic()) > 0:
            time.sleep(left)
        names.append(chain.create_cluster(f"load-{number}", project=TEAMS[number % len(TEAMS)], labels={"env": "prod"}))
    chain.wait_quiet()
    noise.sample()
    return ways(chain, names)


@contextmanager
def _bare(chain: Chain, home: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.bench.bare"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(chain, "you", home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        rule = chain.add_event_rule("lose", times=0)
        _onboarded_bare(process, chain.create_cluster("bare-warm", project=TEAMS[0]))
        chain.remove_event_rules(rule["id"])
        yield process
        _pipe(process.stdin).close()


def _onboarded_bare(process: subprocess.Popen[str], cluster: str) -> float:
    _pipe(process.stdin).write(cluster + "\n")
    _pipe(process.stdin).flush()
    return float(json.loads(_pipe(process.stdout).readline()))


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
