"""`python -m tests.mutation [MODULE …]`: the mutation score of the decisions, the steps, the clients and the commands.

A module is a path or a folder below the repository. Killed mutants of unchanged functions are not run again (`--fresh`
runs them). tests/mutants.md names the equivalent mutants, which do not count.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.mutation.operators import Mutant, mutants
from tests.mutation.session import CACHE, MUTATED, ROOT, Session

EQUIVALENT = ROOT / "tests" / "mutants.md"
TESTS = (
    "tests/unit",
    "tests/simulation",
    *(f"tests/contract/test_{name}.py" for name in ("fleet", "gateway", "gke", "grant_signer", "reading")),
    "tests/contract/pubsub/test_operators_letters.py",
)
# They repeat random runs for many seconds each; one of them mutates the product itself.
LEFT_OUT = tuple(
    f"tests/simulation/test_{name}.py" for name in ("mutants", "random", "fuzz", "wrong_deletions", "forged")
)


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(MUTATED), metavar="MODULE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="CPU seconds of tests for one mutant (default 3)")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after this time; the next run goes on")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="only these tests: a lower bound, in less time")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth mutant: a quick estimate")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--fresh", action="store_true", help="run killed mutants again")
    return parser


def main() -> int:
    """Print the score; exit code 1 when it is below `--at-least`."""
    options = command_line().parse_args()

    chosen = [each for file in _files(options.modules) for each in mutants(ROOT / file, file)][:: options.every]
    results = Results(CACHE / "killed.json", chosen, fresh=options.fresh)
    until = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
    rest = (each for each in results.rest() if time.monotonic() < until)
    session = Session(rest, options.jobs, options.seconds, results.add)
    paths = [str(ROOT / path) for path in options.tests or TESTS]
    ignored = [f"--ignore={ROOT / path}" for path in LEFT_OUT]
    status = pytest.main(["-q", "-s", "-p", "no:xdist", f"--rootdir={ROOT}", *ignored, *paths], plugins=[session])
    results.save()
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return int(status)
    return 0 if results.show() >= options.at_least else 1


class Results:
    """The verdict of each mutant; killed ones are kept between runs."""

    def __init__(self, path: Path, chosen: list[Mutant], *, fresh: bool) -> None:
        self._path, self._chosen = path, chosen
        self._kept: dict[str, str] = json.loads(path.read_text()) if path.exists() and not fresh else {}
        self._equivalent = equivalent()
        self._verdicts = {each.key: self._kept[each.key] for each in chosen if each.key in self._kept}
        self._began, self._done = time.monotonic(), 0

    def rest(self) -> list[Mutant]:
        """The mutants that must run."""
        return [each for each in self._chosen if each.key not in self._verdicts and each.name not in self._equivalent]

    def add(self, mutant: Mutant, verdict: str) -> None:
        """Note one verdict; survivors are printed."""
        self._verdicts[mutant.key] = verdict
        self._done += 1
        if verdict.startswith("killed"):
            self._kept[mutant.key] = verdict
        elif verdict != "not applicable":
            print(f"{verdict}: {mutant.file}:{mutant.lines.start} {mutant.function}: {mutant.change}", flush=True)  # noqa: T201
        if self._done % 200 == 0:
            self.save()
            print(f"… {self._done} run, {time.monotonic() - self._began:.0f} s", file=sys.stderr, flush=True)  # noqa: T201

    def save(self) -> None:
        """Keep what was killed."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(self._kept))
        part.replace(self._path)

    def show(self) -> float:
        """Print the score of each folder; return the score of all, in percent."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for each in self._chosen:
            verdict = "equivalent" if each.name in self._equivalent else self._verdicts.get(each.key, "not run")
            for part in (str(Path(each.file).parent), "all"):
                counts[part][verdict.split(" (")[0]] += 1
        files = {each.file for each in self._chosen}
        for name in sorted(self._equivalent - {each.name for each in self._chosen}):
            if name[0] in files:
                print(f"no mutant any more: {' '.join(name)}")  # noqa: T201
        print(f"{'':28}{'mutants':>9}{'killed':>9}{'survived':>10}{'equivalent':>12}{'not run':>9}{'score':>9}")  # noqa: T201
        score = 100.0
        for part, count in sorted(counts.items(), key=lambda each: (each[0] == "all", each[0])):
            killed, survived = count["killed"], count["survived"] + count["not reached"]
            score = 100 * killed / (killed + survived) if killed + survived else 100.0
            total = sum(count.values()) - count["not applicable"]
            print(  # noqa: T201
                f"{part:28}{total:9}{killed:9}{survived:10}{count['equivalent']:12}{count['not run']:9}{score:8.1f} %"
            )
        return score


def equivalent() -> set[tuple[str, str, str]]:
    """The mutants that tests/mutants.md names: rows of `file`, `function`, `change` and a reason."""
    found = set()
    for line in EQUIVALENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.removeprefix("|").replace("\\|", "\0").split("|")]
        if len(cells) >= 4 and cells[0].startswith("`"):
            found.add((*(cell.strip("`").replace("\0", "|") for cell in cells[:2]), cells[2][1:-1].replace("\0", "|")))
    return found  # type: ignore[return-value]


def _files(modules: list[str]) -> list[str]:
    found: list[str] = []
    for module in modules:
        path = (ROOT / module).resolve()
        paths = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        found += [str(each.relative_to(ROOT)) for each in paths]
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    raise SystemExit(main())
