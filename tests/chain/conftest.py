"""One local cloud per worker, shared by all tests that need no settings of their own; what each test leaves wrong is mended.

A module that needs other settings has a `cloud` fixture of its own, made with `running`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.chain.running import Chain, running, tail

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A running cloud."""
    with running(tmp_path_factory.mktemp("chain")) as chain:
        yield chain


@pytest.fixture(autouse=True)
def healthy(cloud: Chain) -> Iterator[None]:
    """After each test the faults are gone, all functions run, and none has met anything that nobody thought of."""
    before = {name: len(text) for name, text in cloud.logs().items()}
    yield
    cloud.restore()
    for name, text in cloud.logs().items():
        new = text[before.get(name, 0) :]
        assert "not expected:" not in new, f"{name}:\n{tail(new)}"
        assert "Traceback" not in new, f"{name}:\n{tail(new)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    chain: Any = getattr(item, "funcargs", {}).get("cloud")
    if report.failed and isinstance(chain, Chain):
        for name, text in chain.logs().items():
            report.sections.append((f"the end of {name}", tail(text, 8)))
    return report
