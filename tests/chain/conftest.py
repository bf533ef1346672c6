"""One local cloud per worker, shared by all tests that need no settings of their own; each test repairs what it has broken.

A module that needs other settings has a `cloud` fixture of its own, made with `running`. With CHAIN_KUBE=real the same tests
run on kube-apiservers, with the admission policy of `infra/argocd/` in the central one; skipped tests have a reason.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from local.control import ControlError
from tests.chain.running import KUBE, Chain, running

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


# Tests and files of tests that a kube-apiserver decides nothing in, or that need more of them than a laptop holds (some 300 MB each).
LEFT_OUT_ON_REAL = {
    "test_dead_letters.py": "what cannot be read never reaches a cluster",
    "test_faults_cut.py": "the faults are the local gateway's, and each of some hundred calls has a cluster of its own",
    "test_faults_refused.py": "the faults are the local gateway's, and each of some hundred calls has a cluster of its own",
    "test_kills.py": "needs dozens of clusters at once",
    "test_create_delete_create_in_any_order_ends_in_the_last": "makes 48 clusters, 24 at once",
    "test_doctor_attached.py": "its access reviews are the embedded server's",
    "test_outage_of_an_api_makes_its_checks_unknown_and_nothing_red": "the outages are the local APIs'",
    "test_pubsub_emulator.py": "is about Pub/Sub, and runs beside this",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if KUBE == "real":
        for item in items:
            reason = LEFT_OUT_ON_REAL.get(item.path.name) or LEFT_OUT_ON_REAL.get(item.name)
            if reason and item.path.parent.name == "chain":
                item.add_marker(pytest.mark.skip(reason=f"left out on real clusters: {reason}"))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A running cloud."""
    with running(tmp_path_factory.mktemp("chain")) as chain:
        yield chain


@pytest.fixture(autouse=True)
def healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test the faults are gone, all functions run, and none has met anything that nobody thought of."""
    if "cloud" not in request.fixturenames:
        yield
        return
    cloud: Chain = request.getfixturevalue("cloud")
    before = {name: len(text) for name, text in cloud.logs().items()}
    current = cloud.members() if KUBE == "real" else set()
    failures = request.session.testsfailed
    with cloud.repaired(request.session):
        yield
    if KUBE == "real":
        _end(cloud, cloud.members() - current - cloud.kept)
    if request.session.testsfailed > failures:
        return  # a reset empties the logs
    for name, text in cloud.logs().items():
        new = text[before.get(name, 0) :]
        assert "not expected:" not in new, f"{name}:\n{tail(new)}"
        assert "Traceback" not in new, f"{name}:\n{tail(new)}"


def _end(cloud: Chain, members: set[str]) -> None:
    """End the clusters that a test has made: memory is what real ones need most."""
    for name in members:
        if "/memberships/" in name:
            cloud.do("cloud", "forget", membership=name)

    def gone() -> bool:
        there = {name: one["status"] for name, one in cloud.state()["clusters"].items() if name in members}
        for name, status in there.items():
            if status not in ("STOPPING", "PROVISIONING"):
                with suppress(ControlError):  # it has gone meanwhile
                    cloud.delete_cluster(name)
        return not there

    cloud.wait_for(gone, what="the clusters of the test gone")
    cloud.wait_quiet()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    chain: Any = getattr(item, "funcargs", {}).get("cloud")
    if report.failed and isinstance(chain, Chain):
        for name, text in chain.logs().items():
            report.sections.append((f"the end of {name}", tail(text, 8)))
    return report


def tail(text: str, lines: int = 12) -> str:
    """The end of a log, as short as a person wants it."""
    return "\n".join(_short(line) for line in text.splitlines()[-lines:])


def _short(line: str) -> str:
    try:
        entry = json.loads(line)
        return f"{entry['time'][14:23]} {entry['severity']} {entry['decision']} {entry.get('code')}: {entry['message']}"
    except (ValueError, KeyError, TypeError):
        return line
