"""Every manifest of infra/argocd is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.infra.argocd import TREE

if TYPE_CHECKING:
    from pathlib import Path


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
