"""The local cloud itself: how long it takes to start, and to be empty again."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.table import Noise, Row
from tests.chain.running import running
from tests.forked_clouds import start_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

CLUSTERS = 50
START_SECONDS, RESET_SECONDS = 3.0, 1.0


def measured(rounds: int, noise: Noise) -> list[Row]:
    """The rows: medians over some starts, and over as many resets of a cloud with 50 clusters."""
    starts: list[float] = []
    resets: list[float] = []
    for _ in range(rounds):
        noise.sample()
        began = time.monotonic()
        with (
            tempfile.TemporaryDirectory() as directory,
            running(Path(directory), "--create-seconds", "0", start=start_alone) as cloud,
        ):
            starts.append(time.monotonic() - began)
            for number in range(CLUSTERS):
                cloud.create_cluster(f"c{number}")
            cloud.wait_for(lambda: len(cloud.secrets()) == CLUSTERS, 120, "a Secret for each cluster")
            cloud.wait_quiet(120)
            began = time.monotonic()
            cloud.reset()
            resets.append(time.monotonic() - began)
            assert cloud.secrets() == []
    return [
        _row("start of the local cloud, until `ready`", starts, START_SECONDS),
        _row(f"reset of a local cloud with {CLUSTERS} clusters", resets, RESET_SECONDS),
    ]


def _row(what: str, seconds: Sequence[float], bound: float) -> Row:
    middle = statistics.median(seconds)
    measured = f"{middle:.2f} s (slowest of {len(seconds)}: {max(seconds):.2f})"
    return Row(what, measured, hold=f"< {bound:g} s", ok=middle < bound)
