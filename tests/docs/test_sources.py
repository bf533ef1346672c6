"""What the sources tell people: commands in messages are accepted by their tools, files and headings exist."""

from __future__ import annotations

import functools

import pytest

from tests.docs import gcloud, sources, tools
from tests.docs.test_documents import show

texts = functools.cache(sources.texts)
PARTS = ("functions", "shared", "ops", "local", "infra", "tests", "")


def texts_of(part: str) -> list[sources.Text]:
    """The texts of a directory; those of the root for no name."""
    return [one for path, many in texts().items() for one in many if (path.parts[0] if path.parts[1:] else "") == part]


@pytest.fixture(scope="module", autouse=True)
def linted() -> None:
    if "gcloud" not in tools.missing():
        gcloud.lint(command for many in texts().values() for command in sources.commands(many))


@pytest.mark.parametrize("part", PARTS)
def test_commands_for_people_are_accepted_by_their_tools(part: str) -> None:
    found = tools.faults(sources.commands(texts_of(part)))
    assert not found, show(found)


@pytest.mark.parametrize("part", PARTS)
def test_named_files_and_headings_exist(part: str) -> None:
    found = sources.reference_faults(texts_of(part))
    assert not found, show(found)


def test_messages_of_the_operator_commands_are_read() -> None:
    """A change of how messages are written must not hide their commands from the checks."""
    assert len({command.text for command in sources.commands(texts_of("ops"))}) >= 15
