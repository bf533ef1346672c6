"""A reader can follow the documents: what they mark as `sh local` runs in order, as it is typed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs import sources, tools
from tests.docs.reading import LOCAL, ROOT, SHELL, documents, read
from tests.docs.shell import statements
from tests.docs.test_documents import show
from tests.docs.walk import reader

if TYPE_CHECKING:
    from pathlib import Path

PATHS = documents()
# A fence that `Block.runs_locally` is true for; each worker collects the tests, and parses no document for it.
WALKED = [path for path in PATHS if re.search(rf"^ *```{SHELL} +{LOCAL}$", (ROOT / path).read_text(), re.MULTILINE)]

# Where each of the operator's commands starts by itself, and imports its packages.
STARTS = ("README.md", "docs/evaluate.md")


@pytest.mark.parametrize("path", WALKED, ids=str)
def test_a_reader_can_follow_the_document(path: Path, tmp_path: Path) -> None:
    with reader(tmp_path, forks=str(path) not in STARTS) as one:
        one.read(read(path))
    found = tools.faults(sources.commands(one.printed))
    assert not found, show(found)
    if one.left_out:
        pytest.skip(f"left out, because the tools are not installed here: {'; '.join(one.left_out)}")


def test_the_pages_for_newcomers_are_followed() -> None:
    assert {"README.md", "local/README.md", "docs/deploy.md", "docs/operate.md", "infra/argocd/README.md"} <= {
        *map(str, WALKED)
    }


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_block_on_the_local_cloud_is_run(path: Path) -> None:
    """Only the parts that must be built first are left to `make test-real`."""
    blocks = read(path).blocks
    assert any(block.runs_locally for block in blocks) == (path in WALKED)
    local = [block for block in blocks if block.language == SHELL and "-m local " in block.text]
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
