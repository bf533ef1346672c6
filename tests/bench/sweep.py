"""Sweeps of fleets of growing size, each in a process of its own: time, peak memory, calls, and how they grow."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from tests.bench.cloud import ROOT
from tests.bench.table import Noise, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

HELD = 10_000
# By the number of clusters: seconds, MiB.
BOUNDS = {HELD: (60, 512), 100_000: (12, 400)}


@dataclass(frozen=True)
class Swept:
    """What one sweep took, and what fetching its pages alone took."""

    clusters: int
    drift: bool
    seconds: float
    cpu: float
    before: int
    peak: int
    asks: int
    checks: int
    calls: int
    fetching: float
    megabytes: float

    @property
    def more(self) -> int:
        """Memory that the sweep itself took, in MiB."""
        return self.peak - self.before


def measured(sizes: tuple[int, ...], drifted_sizes: tuple[int, ...], noise: Noise) -> tuple[list[Row], list[Swept]]:
    """The rows, and the figures of the sweeps in which nothing differs."""
    steady = [_swept(size, noise, drift=False) for size in sizes]
    drifted = [_swept(size, noise, drift=True) for size in drifted_sizes]
    rows = [row for one in (*steady, *drifted) for row in _rows(one)]
    for smaller, larger in itertools.pairwise(steady):
        grows = math.log(larger.clusters / smaller.clusters)
        exponents = {
            "processor time": math.log(larger.cpu / smaller.cpu) / grows,
            "memory above the start": math.log(max(1, larger.more) / max(1, smaller.more)) / grows,
            "calls": math.log(larger.calls / smaller.calls) / grows,
        }
        rows.append(
            Row(
                f"sweep: growth from {smaller.clusters:,} to {larger.clusters:,}",
                ", ".join(f"{what} n^{power:.2f}" for what, power in exponents.items()),
                "n^1 where each cluster costs the same",
            )
        )
    return rows, steady


def _rows(one: Swept) -> list[Row]:
    what = f"sweep: {one.clusters:,} clusters, {'1 % differ' if one.drift else 'nothing differs'}"
    seconds, mebibytes = BOUNDS.get(one.clusters, (None, None))
    wrong = (one.asks - one.checks == 0) is one.drift
    each = f"{one.calls} calls: {one.calls / one.clusters:.3f} for each cluster"
    return [
        Row(
            f"{what}: time",
            f"{one.seconds:.1f} s ({one.cpu:.1f} s of processor)",
            f"the same pages fetched and thrown away: {one.fetching:.1f} s, {one.megabytes:.0f} MB",
            one.seconds / one.fetching,
            f"<= {seconds} s" if seconds else "",
            one.seconds <= seconds if seconds else None,
        ),
        Row(
            f"{what}: peak memory",
            f"{one.peak} MiB",
            f"{one.before} MiB with the clients imported; {one.more * 1024 / one.clusters:.1f} KiB for each cluster",
            hold=f"<= {mebibytes} MiB" if mebibytes else "",
            ok=one.peak <= mebibytes if mebibytes else None,
            binding=True,
        ),
        Row(
            f"{what}: asked for",
            f"{one.asks - one.checks} to repair, {one.checks} checks in turn",
            each,
            hold="some" if one.drift else "0 to repair",
            ok=not wrong,
            binding=True,
        ),
    ]


def _swept(clusters: int, noise: Noise, *, drift: bool) -> Swept:
    with apis(clusters, drift=drift) as url:
        noise.sample()
        figures = child("tests.bench.one_sweep", [url], "")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/asked") as answer:
            pages = json.load(answer)
        noise.sample()
        fetched = child("tests.bench.one_sweep", [url, "--fetch"], json.dumps(pages))
        noise.sample()
    return Swept(
        clusters,
        drift,
        figures["seconds"],
        figures["cpu"],
        figures["before"],
        figures["peak"],
        figures["requests"],
        figures["checks"],
        len(pages),
        fetched["seconds"],
        fetched["bytes"] / 1e6,
    )


def child(module: str, arguments: list[str], given: str) -> dict[str, Any]:
    """Run a measuring process of ours and return what it prints."""
    ran = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=_clean(),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


@contextmanager
def apis(clusters: int, *, drift: bool) -> Iterator[str]:
    """Serve the lists of a fleet in another process; give their address."""
    command = [sys.executable, "-m", "tests.bench.fleet_apis", str(clusters), *(["--drift"] if drift else [])]
    with subprocess.Popen(
        command, cwd=ROOT, env=_clean(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield _pipe(process.stdout).readline().strip()
        _pipe(process.stdin).close()


def _clean() -> dict[str, str]:
    return {"PATH": os.defpath, "LANG": "C.UTF-8"}


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
