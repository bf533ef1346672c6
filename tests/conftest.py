"""What all tests share: property tests that leave nothing behind, the order of the files, and the garbage collector."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

# Always the same examples: a change is judged by what it does, not by luck. `--hypothesis-profile=fresh` draws others.
settings.register_profile(
    "project",
    max_examples=120,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("fresh", settings.get_profile("project"), derandomize=False)
settings.load_profile("project")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector away from modules and collected tests, which stay: searching them is a tenth of a run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000)
        gc.enable()


@pytest.fixture(scope="module")
def without_collection() -> Iterator[None]:
    """For a module with JSON that is nested too deep: a collection inside of it has no stack left for finalizers."""
    gc.disable()
    yield
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers that fork commands, for all workers. A server imports its packages when it is needed."""
    if sys.platform != "linux" or hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        return
    from tests import forked_clouds, forked_gcloud, forked_ops

    for make in (forked_clouds.clouds, forked_clouds.functions, forked_gcloud.server, forked_ops.server):
        server = make()
        if server is not None:
            server.share()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.scheduling import Files

    return Files(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return
    from tests.scheduling import rank

    tests = config.rootpath / "tests"
    ranks: dict[Path, int] = {}
    for item in items:
        if item.path not in ranks:
            ranks[item.path] = rank(item.path.relative_to(tests).as_posix())
    items.sort(key=lambda item: ranks[item.path])
