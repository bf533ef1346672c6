"""Runs the fast tests against mutants: pytest collects once, and each mutant runs in a fork of that process.

In the fork, the code object of the mutated function replaces the original one. No file is written, nothing is imported
again, so a mutant costs some milliseconds and the tests that reach its lines.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import json
import os
import resource
import signal
import sys
import threading
import time
import types
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.mutation.operators import Mutant, changed_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".local" / "mutation"
MUTATED = ("functions", "shared", "ops")
WALL_SECONDS = 15  # of a mutant that waits instead of computing; and 10 for each measured second of its tests
MEASURE_SECONDS = 60
CHEAP_SECONDS = 0.02
CACHES = ("", "functools.lru_cache", 0)  # among the functions: what must forget the answers of the unchanged ones
MEMORY = 4 << 30
Lines = dict[str, list[int]]


class Session:
    """A pytest plugin that replaces the test loop.

    `seconds` bounds the tests of one mutant, by their measured CPU time: the shortest variant of each test runs first.
    """

    def __init__(
        self, mutants: Iterable[Mutant], jobs: int, seconds: float, report: Callable[[Mutant, str], None]
    ) -> None:
        self._mutants, self._jobs, self._seconds, self._report = mutants, jobs, seconds, report

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measure what each test reaches, then run each mutant."""
        gc.collect()
        gc.freeze()
        reached = self._reached(session)
        functions = _functions()
        items = {item.nodeid: item for item in session.items}
        running: dict[int, tuple[Mutant, float]] = {}  # until when each may run
        for mutant in self._mutants:
            tests = self._tests(mutant, reached)
            if not tests:
                self._report(mutant, "not reached")
                continue
            while len(running) >= self._jobs:
                self._wait(running)
            seconds = sum(reached[name][0] for name in tests)
            chosen = [items[name] for name in tests]
            process = _fork(functools.partial(_try, mutant, functions, chosen, int(5 + 4 * seconds)))
            running[process] = (mutant, time.monotonic() + WALL_SECONDS + 10 * seconds)
        while running:
            self._wait(running)
        return True

    def _tests(self, mutant: Mutant, reached: dict[str, tuple[float, Lines]]) -> list[str]:
        found = sorted(
            (seconds, name)
            for name, (seconds, lines) in reached.items()
            if any(line in mutant.lines for line in lines.get(mutant.file, ()))
        )
        # The cheap tests first. Of the others, one variant of each parametrized test first: the rest tests the same rule.
        variants: Counter[str] = Counter()
        ordered = []
        for seconds, name in found:
            variants[name.partition("[")[0]] += 1
            ordered.append((0 if seconds < CHEAP_SECONDS else variants[name.partition("[")[0]], seconds, name))
        chosen: list[str] = []
        total = 0.0
        for _, seconds, name in sorted(ordered):
            total += seconds
            if chosen and total > self._seconds:
                break
            chosen.append(name)
        return chosen

    def _wait(self, running: dict[int, tuple[Mutant, float]]) -> None:
        while True:
            for process, (mutant, until) in list(running.items()):
                done, status = os.waitpid(process, os.WNOHANG)
                if not done and time.monotonic() > until:
                    os.kill(process, signal.SIGKILL)
                    done, status = os.waitpid(process, 0)
                if done:
                    del running[process]
                    self._report(mutant, _verdict(status))
                    return
            time.sleep(0.005)

    def _reached(self, session: pytest.Session) -> dict[str, tuple[float, Lines]]:
        """The CPU seconds and the lines of each test.

        Kept for a file of tests until that file, a file beside the tests, or the product where these tests reach it changes.
        """
        by_file: dict[Path, list[pytest.Item]] = defaultdict(list)
        for item in session.items:
            by_file[item.path].append(item)
        CACHE.mkdir(parents=True, exist_ok=True)
        base = _hash(
            [
                *_sources("local"),
                *(p for p in _sources("tests") if not p.name.startswith("test_") and p.parent.name != "mutation"),
            ]
        )
        kept = {path: CACHE / f"lines-{path.stem}-{_hash([path], base)}.json" for path in by_file}
        running: dict[int, Path] = {}
        for path, items in by_file.items():
            if _is_current(kept[path]):
                continue
            if len(running) >= self._jobs:
                _finished(running)
            for old in CACHE.glob(f"lines-{path.stem}-*.json"):
                old.unlink()
            running[_fork(functools.partial(_measure, items, kept[path]))] = path
        while running:
            _finished(running)
        reached: dict[str, tuple[float, Lines]] = {}
        for file in filter(Path.exists, kept.values()):
            for name, (seconds, lines) in json.loads(file.read_text())["reached"].items():
                if seconds < 0:
                    print(f"left out, for it fails in a fork without any mutant: {name}")  # noqa: T201
                else:
                    reached[name] = (seconds, lines)
        return reached


def _is_current(measured: Path) -> bool:
    if not measured.exists():
        return False
    product = json.loads(measured.read_text())["product"]
    return all((ROOT / file).exists() and _hash([ROOT / file]) == made for file, made in product.items())


def _finished(running: dict[int, Path]) -> None:
    """Wait for one measurement; a file of tests that takes too long is left out."""
    process, status = os.wait()
    path = running.pop(process)
    if os.WIFSIGNALED(status):
        print(f"left out, for it takes more than {MEASURE_SECONDS} s of CPU: {path.relative_to(ROOT)}")  # noqa: T201
    elif status:
        raise SystemExit(f"{path.relative_to(ROOT)}: could not be measured")


def _verdict(status: int) -> str:
    if os.WIFSIGNALED(status):
        return "killed (time)"
    return {0: "survived", 1: "killed", 3: "not applicable"}.get(os.WEXITSTATUS(status), "killed")


def _fork(run: Callable[[], int]) -> int:
    """Run in a child without output; its exit status is what `run` returns."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        if not os.environ.get("MUTATION_OUTPUT"):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        code = run()
    finally:
        os._exit(code)


class _StopAtFailure:
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(1)


class _NoteFailures:
    def __init__(self) -> None:
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)


def _run(items: list[pytest.Item], plugin: object) -> Iterator[pytest.Item]:
    """Run the tests one after the other, and yield each before it runs."""
    items[0].config.pluginmanager.register(plugin)
    for index, item in enumerate(items):
        yield item
        following = items[index + 1] if index + 1 < len(items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _try(mutant: Mutant, functions: dict[tuple[str, str, int], list[Any]], items: list[pytest.Item], limit: int) -> int:
    code = _code(mutant)
    originals = functions.get((mutant.file, mutant.function, mutant.first_line), [])
    if code is None or not originals:
        return 3
    try:
        for function in originals:
            function.__code__ = code
    except ValueError:  # the mutant uses other variables of its surroundings
        return 3
    for cache in functions[CACHES]:
        cache.cache_clear()
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    for _ in _run(items, _StopAtFailure()):
        pass
    return 0


def _code(mutant: Mutant) -> types.CodeType | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = compile(changed_module(mutant), str(ROOT / mutant.file), "exec")
    rest = [module]
    while rest:
        code = rest.pop()
        if (code.co_qualname, code.co_firstlineno) == (mutant.function, mutant.first_line):
            return code
        rest += [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return None


def _functions() -> dict[tuple[str, str, int], list[Any]]:
    """The functions of the mutated packages that exist now, by file, qualified name and first line."""
    gc.unfreeze()
    found: dict[tuple[str, str, int], list[Any]] = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, types.FunctionType) and (file := _mutated(each.__code__.co_filename)):
            found[file, each.__code__.co_qualname, each.__code__.co_firstlineno].append(each)
        elif isinstance(each, functools._lru_cache_wrapper) and str(each.__module__).split(".")[0] in MUTATED:
            found[CACHES].append(each)
    gc.freeze()
    return found


def _mutated(filename: str) -> str:
    """The path below the repository, or '' for a file that is not mutated."""
    root = f"{ROOT}/"
    file = filename.removeprefix(root)
    return file if filename.startswith(root) and file.split("/", 1)[0] in MUTATED else ""


def _measure(items: list[pytest.Item], into: Path) -> int:
    """Write the CPU seconds and the reached lines of each test."""
    lines: dict[str, set[int]] = defaultdict(set)
    files: dict[str, str] = {}

    def local(frame: types.FrameType, event: str, _: object) -> Any:
        if event == "line":
            lines[files[frame.f_code.co_filename]].add(frame.f_lineno)
        return local

    def trace(frame: types.FrameType, _event: str, _: object) -> Any:
        name = frame.f_code.co_filename
        if name not in files:
            files[name] = _mutated(name)
        return local if files[name] else None

    reached: dict[str, tuple[float, Lines]] = {}
    name, began = "", 0.0

    def kept() -> None:
        if name:
            reached[name] = (time.process_time() - began, {file: sorted(each) for file, each in lines.items()})
        lines.clear()

    failures = _NoteFailures()
    resource.setrlimit(resource.RLIMIT_CPU, (MEASURE_SECONDS, MEASURE_SECONDS))
    threading.settrace(trace)
    for item in _run(items, failures):
        kept()
        name, began = item.nodeid, time.process_time()
        sys.settrace(trace)
    sys.settrace(None)
    kept()
    reached |= {name: (-1.0, reached[name][1]) for name in failures.failed if name in reached}
    part = into.with_suffix(f".{os.getpid()}")
    product = {file: _hash([ROOT / file]) for _, lines in reached.values() for file in lines}
    part.write_text(json.dumps({"product": product, "reached": reached}))
    part.replace(into)
    return 0


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _hash(paths: list[Path], salt: str = "") -> str:
    made = hashlib.sha256(salt.encode())
    for path in paths:
        made.update(str(path).encode())
        made.update(path.read_bytes())
    return made.hexdigest()[:16]
