"""What the documents say of infra/argocd: their links lead somewhere, and what they name is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.infra.argocd import ROOT, TREE

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = [TREE / "README.md", ROOT / "docs" / "blog-post.md"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        file, _, heading = target.partition("#")
        found = path.parent / file
        assert found.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings]


@pytest.mark.parametrize(
    "path", sorted(path.parent for path in TREE.rglob("kustomization.yaml")), ids=lambda path: path.name
)
def test_every_file_of_a_folder_is_used(path: Path) -> None:
    """A manifest that no kustomization names would lie there and never be applied."""
    named = (path / "kustomization.yaml").read_text()
    unnamed = [
        file.name for file in path.glob("*.yaml") if file.name != "kustomization.yaml" and file.name not in named
    ]
    assert [name for name in unnamed if name != "tenant.yaml"] == []
