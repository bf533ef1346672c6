"""Many runs at a time, for the long form: what a process of its own does, and what comes back from it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.simulation.lists import sweeps
from tests.simulation.one_thread import one_thread_no_logs
from tests.simulation.pairs import KINDS, run_pair
from tests.simulation.runs import run, shrink


@dataclass
class Sum:
    """What some runs came to."""

    runs: int = 0
    lives: int = 0
    deliveries: int = 0
    faults: int = 0
    events: int = 0
    seconds: float = 0.0
    found: list[str] = field(default_factory=list)

    def add(self, other: Sum) -> None:
        """Take another one in."""
        for name in ("runs", "lives", "deliveries", "faults", "events", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.found += other.found


def chunk(first: int, count: int) -> Sum:
    """Tell the runs of some seeds."""
    done = Sum()
    began = time.process_time()
    with one_thread_no_logs():
        for seed in range(first, first + count):
            one = run(seed)
            done.runs += 1
            done.lives += one.lives
            done.deliveries += one.deliveries
            done.faults += len(one.faults)
            done.events += len(one.story)
            if one.violation:
                done.found.append(f"python -m tests.simulation --runs 1 --seed {seed}\n{shrink(one)}")
    done.seconds = time.process_time() - began
    return done


def lying(count: int, seed: int) -> tuple[int, int]:
    """Sweep on lists that lie."""
    with one_thread_no_logs():
        return sweeps(count, seed)


def paired(lives: int, seed: int) -> tuple[int, list[str]]:
    """Tell stories of two registrars until so many lives began; return their number, and the promises that were broken."""
    done = 0
    found: list[str] = []
    with one_thread_no_logs():
        while done < lives and not found:
            for kind in KINDS:
                begun, broken = run_pair(seed, kind)
                done += begun
                if broken:
                    found.append(f"two registrars ({kind}), seed {seed}: {broken}")
            seed += 1
    return done, found
