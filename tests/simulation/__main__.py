"""The long form of the simulation: `python -m tests.simulation --lives 100000`, or --runs, or --seconds. `make simulate`.

Prints progress, and for a broken promise the seed and the shortest story that still breaks it; then exits with 1.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context

from tests.simulation.chunks import Sum, chunk, lying, paired

CHUNK = 100


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--runs", type=int, default=0, help="how many runs")
    parser.add_argument("--lives", type=int, default=0, help="how many life cycles of clusters (default 100000)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop after so long (default an hour)")
    parser.add_argument("--seed", type=int, default=None, help="seed of the first run; the others count on from it")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--pairs", type=int, default=0, help="and so many life cycles with two registrars")
    parser.add_argument("--sweeps", type=int, default=0, help="and so many sweeps on lists that lie")
    return parser


def main(arguments: list[str]) -> int:
    """Run until enough is done."""
    given = command_line().parse_args(arguments)
    if not given.runs and not given.lives:
        given.lives = 100_000
    first = secrets.randbits(40) if given.seed is None else given.seed
    total = Sum()
    began = last = time.monotonic()
    asked = 0
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        waiting: set[Future[Sum]] = set()

        def more() -> bool:
            late = time.monotonic() - began > given.seconds
            return not (
                late
                or total.found
                or (given.runs and asked >= given.runs)
                or (given.lives and total.lives >= given.lives)
            )

        while waiting or more():
            while len(waiting) < given.jobs and more():
                count = min(CHUNK, given.runs - asked) if given.runs else CHUNK
                waiting.add(pool.submit(chunk, first + asked, count))
                asked += count
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for each in done:
                total.add(each.result())
            if time.monotonic() - last > 5 or not (waiting or more()):
                last = time.monotonic()
                rate = total.lives / max(total.seconds, 0.001)
                _say(
                    f"{total.runs} runs from seed {first}: {total.lives} lives, {total.events} events,"
                    f" {total.deliveries} deliveries, {total.faults} faults, {len(total.found)} violations;"
                    f" {rate:.0f} lives per second and core, {last - began:.0f} s"
                )
    wrong = 0
    if given.sweeps and not total.found:
        messages, wrong = lying(given.sweeps, first)
        _say(f"{given.sweeps} sweeps on lists that lie, {messages} messages: {wrong} wrong deletions or holds")
    if given.pairs and not total.found:
        with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
            shares = [
                pool.submit(paired, given.pairs // given.jobs, first + index * 10**6) for index in range(given.jobs)
            ]
            results = [share.result() for share in shares]
        broken = [one for _, found in results for one in found]
        _say(f"{sum(lives for lives, _ in results)} lives with two registrars, {len(broken)} violations")
        total.found += broken
    for story in total.found:
        _say(f"\nA promise is broken. {story}")
    return 1 if total.found or wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
