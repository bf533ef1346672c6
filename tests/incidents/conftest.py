"""One local cloud per worker: Pub/Sub gives up after 12 attempts in 27 s, as after 20 in two hours at Google."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.chain.running import Chain, running
from tests.incidents.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTEMPTS = 12
QUICKLY = ("--attempts", str(ATTEMPTS), "--retry-min", "0.5", "--retry-max", "3", "--selector", "env=prod")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """The cloud of all incidents."""
    with running(tmp_path_factory.mktemp("incidents"), *QUICKLY) as chain:
        yield chain


@pytest.fixture
def cloud(shared: Chain, request: pytest.FixtureRequest) -> Iterator[Chain]:
    """The cloud, healthy before and after each incident."""
    with shared.repaired(request.session, quiet=True):
        yield shared
    shared.dead_letters("")


@pytest.fixture
def console(cloud: Chain) -> Iterator[Console]:
    """The operator's terminal. A pasted `get-credentials` changes kubectl's context, until the test ends."""
    terminal = Console(cloud)
    yield terminal
    if shutil.which("kubectl"):
        terminal.paste("kubectl config use-context central")
