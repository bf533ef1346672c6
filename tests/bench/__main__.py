"""`make bench`: measures the numbers of docs/scale.md#measurements beside their bounds, and prints one table.

Times are shown with what they are compared with and never fail the run: machines differ, and have neighbours. Counts,
memory and losses do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import burst, calls, cold, doctor, latency, local_cloud, paced, page, plots, registrars, sweep
from tests.bench.cloud import ROOT, cloud
from tests.bench.table import Noise, Row, printed

# They share one local cloud, so that their figures can be compared.
SHARED = ("calls", "latency", "burst")
PARTS = (*SHARED, "paced", "registrars", "cold", "sweep", "page", "doctor", "local")


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure the numbers and print the table."
    )
    parser.add_argument("--quick", action="store_true", help="smaller numbers and no paced bursts; draws nothing")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part (may be repeated)")
    parser.add_argument("--plots", type=Path, default=ROOT / "docs", help="where the plots go (default: docs)")
    return parser


def main() -> int:
    """Measure, print, draw; 1 where a count, memory or loss is not held."""
    options = command_line().parse_args()
    parts = tuple(options.only or (part for part in PARTS if not (options.quick and part == "paced")))
    rows: list[Row] = []
    noise = {part: Noise() for part in parts}
    hops: latency.Hops | None = None
    sweeps: list[sweep.Swept] = []
    if set(parts) & set(SHARED):
        with tempfile.TemporaryDirectory() as directory, cloud(Path(directory)) as chain:
            home = Path(directory)
            alone = 0.1
            if "calls" in parts:
                _report("calls")
                rows += calls.measured(chain)[0]
            if "latency" in parts:
                _report("latency")
                found, hops = latency.measured(chain, home, 50 if options.quick else 200, noise["latency"])
                alone = statistics.median(hops.whole)
                rows += found
            if "burst" in parts:
                _report("burst")
                rows += burst.measured(chain, 100 if options.quick else 500, alone, noise["burst"])
    if "paced" in parts:
        _report("paced bursts")
        rows += paced.measured(50 if options.quick else 500, noise["paced"])
    if "registrars" in parts:
        _report("two registrars")
        rows += registrars.measured()
    if "cold" in parts:
        _report("cold starts")
        with tempfile.TemporaryDirectory() as directory, cloud(Path(directory)) as chain:  # its functions are stopped
            targets = ("register_membership", "write_secret") if options.quick else tuple(cold.CLIENTS)
            rows += cold.measured(chain, Path(directory), 3 if options.quick else 7, targets, noise["cold"])
    if "sweep" in parts:
        _report("sweeps")
        if options.quick:
            found, sweeps = sweep.measured((1_000, sweep.HELD), (), noise["sweep"])
        else:
            found, sweeps = sweep.measured((1_000, sweep.HELD, 100_000), (sweep.HELD, 100_000), noise["sweep"])
        rows += found
    if "page" in parts:
        _report("the status page")
        rows += page.measured(1_000 if options.quick else page.CLUSTERS, noise["page"])
    if "doctor" in parts:
        _report("ops doctor")
        rows += doctor.measured(noise["doctor"])
    if "local" in parts:
        _report("the local cloud")
        rows += local_cloud.measured(1 if options.quick else 5, noise["local"])
    rows += [
        Row(f"noise during {part}: the same work", str(one), f"{os.cpu_count()} processors; the load is also our own")
        for part, one in noise.items()
        if one.samples
    ]
    print(printed(rows))  # noqa: T201
    if not options.quick:
        for path in plots.drawn(options.plots, hops, sweeps):
            print(f"drawn: {path}")  # noqa: T201
    missed = [row.what for row in rows if row.binding and row.ok is False]
    print("\nnot held: " + "; ".join(missed) if missed else "\ncounts, memory and losses are held")  # noqa: T201
    return 1 if missed else 0


def _report(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what} …", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
