"""Every document: its blocks parse, its commands are accepted by their tools, its links and file names exist."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import pytest

from tests.docs import documentation, gcloud, tools
from tests.docs.reading import ROOT, Document, documents, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.faults import Fault

PATHS = documents()
document = pytest.mark.parametrize("path", PATHS, ids=[path.as_posix() for path in PATHS])
reading = functools.cache(read)


def show(faults: list[Fault]) -> str:
    return "\n" + "\n".join(str(fault) for fault in faults)


@pytest.fixture(scope="module", autouse=True)
def linted() -> None:
    if "gcloud" not in tools.missing():
        gcloud.lint(command for path in PATHS for command in documentation.commands(reading(path)))


@document
def test_blocks_have_a_language_and_parse(path: Path) -> None:
    found = documentation.block_faults(reading(path))
    assert not found, show(found)


@document
def test_commands_are_accepted_by_their_tools(path: Path) -> None:
    found = tools.faults(documentation.commands(reading(path)))
    assert not found, show(found)


@document
def test_links_lead_to_a_file_and_a_heading(path: Path) -> None:
    found = documentation.link_faults(reading(path))
    assert not found, show(found)


@document
def test_named_files_exist(path: Path) -> None:
    found = documentation.name_faults(reading(path))
    assert not found, show(found)


def test_the_site_has_every_page_of_docs() -> None:
    """mkdocs is strict: a page outside its navigation fails the build."""
    pages = {path.relative_to("docs").as_posix() for path in PATHS if path.parts[0] == "docs"}
    assert pages - set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text())) == set()


@pytest.mark.parametrize("tool", tools.CHECKS)
def test_the_tool_checks_its_commands_here(tool: str) -> None:
    """Says which commands were not checked because the machine lacks their tool."""
    if tool in tools.missing():
        pytest.skip(f"left out: {tool} commands in the documentation; {tool} is not installed here")


def test_every_excused_command_is_in_a_document() -> None:
    everywhere: list[Document] = [reading(path) for path in PATHS]
    named = {command.name for one in everywhere for command in documentation.commands(one)}
    assert {tool for tool in tools.UNCHECKED if tool not in named} <= set(tools.SHELL)
