"""One stub provider and one plan of each kind for all tests of the infrastructure."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.infra import terraform
from tests.infra.inputs import FULL, LEAST, SOURCES
from tests.infra.terraform import MissingError, Module, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def reattach() -> Iterator[str]:
    """Where terraform finds the stub provider."""
    try:
        terraform.binary()
        with terraform.provider() as found:
            yield found
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def module(reattach: str, tmp_path_factory: pytest.TempPathFactory) -> Module:
    """An initialised copy of infra/terraform that no test changes."""
    return Module.copy(tmp_path_factory.mktemp("infra"), reattach)


@pytest.fixture
def changed(module: Module, tmp_path: Path) -> Module:
    """A copy for a test to change."""
    home = tmp_path / "copy"
    shutil.copytree(module.directory.parents[1], home)
    return Module(home / "infra" / "terraform", module.reattach)


@pytest.fixture(scope="session")
def plans(module: Module) -> dict[str, Plan]:
    """A plan for each kind of source."""
    return {kind: module.plan(**LEAST, sources=sources) for kind, sources in SOURCES.items()}


@pytest.fixture(scope="session", params=SOURCES)
def plan(plans: dict[str, Plan], request: pytest.FixtureRequest) -> Plan:
    """Each of the plans."""
    return plans[request.param]


@pytest.fixture(scope="session")
def full(module: Module) -> Plan:
    """A plan in which every input is given, with the functions in another project than the fleet."""
    return module.plan(**FULL)
