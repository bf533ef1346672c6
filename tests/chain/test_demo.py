"""`make demo` as a person reads it: each thing that happens is one line, below its chapter, in order."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.chain.running import ROOT

# The chapters in which a step may act on each cluster. A sweep may look at any cluster.
CHAPTERS = {"shop": {1, 5, 8}, "batch": {2, 7}, "lab": {3, 6}, "edge": {4}}
STEP_LINE = re.compile(r" +([\d.]+) s      ([a-z-]+) +(\S.*)")
LINE = re.compile(r" +([\d.]+) s  .*\S")


@pytest.fixture(scope="module")
def output() -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "local", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def chapters(output: str) -> dict[int, list[str]]:
    """The lines of each chapter."""
    story = output.partition("\nArgo CD's list of clusters:")[0]
    parts = re.split(r"^(\d)/8  .*\n", story, flags=re.MULTILINE)[1:]
    numbers, texts = parts[::2], parts[1::2]
    return {int(number): text.split("\n\n")[0].splitlines() for number, text in zip(numbers, texts, strict=True)}


def test_every_chapter_has_lines_and_no_line_is_elsewhere(output: str, chapters: dict[int, list[str]]) -> None:
    assert list(chapters) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(len(lines) > 1 for lines in chapters.values())
    story = output.partition("\nArgo CD's list of clusters:")[0].splitlines()
    assert sum(map(len, chapters.values())) == len([line for line in story if LINE.fullmatch(line)])


def test_no_step_acts_on_a_cluster_below_another_chapter(chapters: dict[int, list[str]]) -> None:
    for number, lines in chapters.items():
        for found in filter(None, map(STEP_LINE.fullmatch, lines)):
            named = {name for name in CHAPTERS if re.search(rf"/{name}(-[0-9a-f]{{8}})?\b", found[3])}
            assert found[2] == "sweep" or all(number in CHAPTERS[name] for name in named), found[0]


def test_lines_come_in_the_order_of_their_times(chapters: dict[int, list[str]]) -> None:
    times = [float(found[1]) for lines in chapters.values() for found in filter(None, map(LINE.fullmatch, lines))]
    assert times == sorted(times)


def test_no_line_is_repeated_in_a_chapter(chapters: dict[int, list[str]]) -> None:
    for lines in chapters.values():
        texts = [line.partition(" s ")[2] for line in lines]
        assert len(texts) == len(set(texts))


@pytest.mark.parametrize(
    ("chapter", "cause", "effect"),
    [
        (1, "write-secret +created the Secret", "shop is in Argo CD's list"),
        (1, "register-membership +.* was registered", "Argo CD's identity is refused"),
        (4, "write-secret +created the Secret", "edge is in Argo CD's list"),
        (5, "write-secret +updated the Secret", "shop: env=staging"),
        (6, "remove-secret +held the Secret", "lab is held"),
        (6, "remove-secret +deleted the Secret", "lab is out of Argo CD's list"),
        (7, "unregister-membership +deleted", "batch is gone"),
    ],
)
def test_results_are_printed_below_the_action(
    chapters: dict[int, list[str]], chapter: int, cause: str, effect: str
) -> None:
    places = [
        next(place for place, line in enumerate(chapters[chapter]) if re.search(text, line))
        for text in (cause, f" s  {effect}")
    ]
    assert places == sorted(places)


def test_the_tables_close_the_story(output: str) -> None:
    last = output.partition("\nArgo CD's list of clusters:\n")[2]
    assert re.findall(r"^  (demo-fleet\.\S+)", last, re.MULTILINE) == [
        "demo-fleet.europe-west1.shop",
        "demo-fleet.global.memberships.edge",
    ]
    assert re.search(r"^API calls made by the functions: \d+$", last, re.MULTILINE)
    assert "\nall 8 chapters went well\n" in last
