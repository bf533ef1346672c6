"""`ops doctor` as a person runs it on a local cloud: seconds, processor seconds and calls, and what more clusters add."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from local.names import PERSON
from tests.bench.cloud import ROOT
from tests.bench.table import Noise, Row
from tests.chain.running import running

if TYPE_CHECKING:
    from tests.chain.running import Chain

MORE = 20
SECONDS = 10.0
COMMAND = 'source "$0" && exec "$1" -m ops doctor'
FAILED = 1  # 2 is a warning, or what the embedded API server cannot say


class Examined(NamedTuple):
    """What one run took."""

    seconds: float
    processor: float
    calls: int


def measured(noise: Noise) -> list[Row]:
    """The row: the quickest of three runs, and one with more clusters."""
    with tempfile.TemporaryDirectory() as directory, running(Path(directory), "--create-seconds", "0") as chain:
        chain.onboarded(chain.create_cluster("doctored"))
        chain.publish("sweep", {})
        chain.wait_quiet()
        runs = [_examined(chain, noise) for _ in range(3)]
        chain.onboarded(*(chain.create_cluster(f"more-{number}") for number in range(MORE)))
        chain.wait_quiet()
        larger = _examined(chain, noise)
    quickest = min(runs)
    more = (larger.calls - quickest.calls) / MORE
    return [
        Row(
            "ops doctor on a local cloud",
            f"{quickest.seconds:.1f} s ({quickest.processor:.1f} s of processor), {quickest.calls} calls",
            f"{larger.seconds:.1f} s with {MORE} more clusters, {more:g} calls for each",
            hold=f"< {SECONDS:g} s",
            ok=quickest.seconds < SECONDS,
        )
    ]


def _examined(chain: Chain, noise: Noise) -> Examined:
    noise.sample()
    since, began, before = time.time(), time.monotonic(), _processor()
    ran = subprocess.run(
        ["bash", "-c", COMMAND, str(chain.directory / "env"), sys.executable],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(chain.directory), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    assert ran.returncode != FAILED, ran.stdout + ran.stderr
    calls = [call for call in chain.calls(since) if call["caller"] == PERSON]
    return Examined(seconds, _processor() - before, len(calls))


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
