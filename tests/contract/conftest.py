"""A local cloud with everything that is deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.deployed import Deployed, deployed

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="session")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One cloud for the tests that change nothing."""
    with deployed(tmp_path_factory.mktemp("cloud")) as running:
        yield running
