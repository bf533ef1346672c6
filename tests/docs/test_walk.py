"""A reader can follow the documents: what they mark as `sh local` runs in order, as it is typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs import sources, tools
from tests.docs.reading import SHELL, Document, documents, read
from tests.docs.shell import statements
from tests.docs.test_documents import show
from tests.docs.walk import reader

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = {path.as_posix(): read(path) for path in documents()}
WALKED = [name for name, document in DOCUMENTS.items() if any(block.runs_locally for block in document.blocks)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", WALKED)
def test_a_reader_can_follow_the_document(name: str, tmp_path: Path) -> None:
    with reader(tmp_path) as one:
        one.read(DOCUMENTS[name])
    found = tools.faults(sources.commands(one.printed))
    assert not found, show(found)
    if one.left_out:
        pytest.skip(f"left out, because the tools are not installed here: {'; '.join(one.left_out)}")


def test_the_pages_for_newcomers_are_followed() -> None:
    assert {"README.md", "local/README.md", "docs/deploy.md", "docs/operate.md", "infra/argocd/README.md"} <= {*WALKED}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_block_on_the_local_cloud_is_run(document: Document) -> None:
    """Only the parts that must be built first are left to `make test-real`."""
    local = [block for block in document.blocks if block.language == SHELL and "-m local " in block.text]
    assert [block.text for block in local if not block.runs_locally and "real" not in block.text] == []


def test_a_command_that_fails_ends_the_walk(tmp_path: Path) -> None:
    with reader(tmp_path) as one, pytest.raises(AssertionError, match="exit code 1"):
        one.run("ls no-such-file && true || false")


def test_a_command_in_the_background_does_not_hold_the_walk() -> None:
    assert statements("sleep 9 >log 2>&1 &\nkill %1  # it\n") == ["sleep 9 >log 2>&1 &", "kill %1"]


def test_what_a_command_sets_stays_for_the_next(tmp_path: Path) -> None:
    with reader(tmp_path) as one:
        one.run("export TEAM=team-a")
        assert one.run('echo "$TEAM in $PWD"') == f"demo-apps in {tmp_path}/fleet-registrar\n\n"
