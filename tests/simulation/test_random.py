"""Random lives: every promise of docs/architecture.md#promises, at every write, and all of it true in the end.

A failing seed is printed and shrunk to a short story; `SIMULATION_SEED=… make test` repeats exactly that run, and
`SIMULATION_SEED=fresh` draws new ones. The long form is `make simulate`, on fresh seeds.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.simulation.one_thread import one_thread_no_logs
from tests.simulation.runs import run, shrink
from tests.simulation.seeds import draw_seed

RUNS = 400
SECONDS = 12.0


def test_random_lives_keep_every_promise() -> None:
    first = draw_seed()
    runs = 1 if os.environ.get("SIMULATION_SEED", "").isdigit() else RUNS
    until = time.monotonic() + SECONDS
    done = lives = 0
    with one_thread_no_logs():
        for seed in range(first, first + runs):
            found = run(seed)
            if found.violation:
                pytest.fail(f"SIMULATION_SEED={seed} tells it again\n{shrink(found)}", pytrace=False)
            done, lives = done + 1, lives + found.lives
            if time.monotonic() > until:
                break
    assert done
    print(f"{done} runs, {lives} lives, from seed {first}")  # noqa: T201


def test_a_seed_repeats_the_same_run() -> None:
    with one_thread_no_logs():
        once, again = run(4711), run(4711)
        replayed = run(4711, once.story, once.faults)
    assert (once.faults, once.deliveries, once.lives) == (again.faults, again.deliveries, again.lives)
    assert (replayed.faults, replayed.deliveries) == (once.faults, once.deliveries)
