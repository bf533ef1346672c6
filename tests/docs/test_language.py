"""The language of documentation and code: CONTRIBUTING.md#language."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.language import HABITS, configuration, documents, habits, lines, prose, remarks, sources

if TYPE_CHECKING:
    from pathlib import Path

# How many of these expressions code may have.
LEFT_IN_CODE = {
    ("main.py", "functions/**/*.py", "shared/**/*.py"): 0,
    ("ops/**/*.py",): 0,
    ("local/**/*.py",): 0,
    ("tests/**/*.py",): 0,
}


@pytest.mark.parametrize("path", documents(), ids=str)
def test_a_document_uses_the_words_of_the_field(path: Path) -> None:
    assert habits(prose(path)) == []


@pytest.mark.parametrize("folders", LEFT_IN_CODE, ids=lambda folders: folders[0].split("/")[0])
def test_code_uses_the_words_of_the_field(folders: tuple[str, ...]) -> None:
    found = [one for path in sources(*folders) if path.parts[:2] != ("tests", "docs") for one in habits(remarks(path))]
    assert len(found) <= LEFT_IN_CODE[folders], f"{len(found)}\n" + "\n".join(found[:40])


def test_configuration_uses_the_words_of_the_field() -> None:
    assert [one for path in configuration() for one in habits(lines(path))] == []


def test_the_expressions_are_recognised() -> None:
    sentence = "The binding stands, told anew to whoever mends it, held against the list at rest, left alone."
    found = [word for pattern in HABITS for word in re.findall(rf"\b(?:{pattern})\b", sentence)]
    assert found == ["stands", "told", "anew", "whoever", "mends", "held against", "at rest", "left alone"]


@pytest.mark.parametrize("path", documents(), ids=str)
def test_no_prose_line_is_longer_than_120_characters(path: Path) -> None:
    long = [line.where for line in prose(path) if line.kind not in ("table", "heading") and len(line.raw) > 120]
    assert long == []


@pytest.mark.parametrize("path", documents(), ids=str)
def test_a_paragraph_has_one_sentence_per_line(path: Path) -> None:
    ends = re.compile(r"[a-z0-9)`]\. +[A-Z`\[]")
    assert [line.where for line in prose(path) if line.kind == "paragraph" and ends.search(line.text)] == []
