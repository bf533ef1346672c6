"""Functions of two versions run side by side while an upgrade is applied (docs/architecture.md#messages)."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from shared.values.messages import STEPS
from tests.chain.running import APPS, ROOT, Chain, fresh, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FUNCTIONS = ("route-event", *STEPS, "sweep")
PARTS = ("functions", "shared")
# A release, or any revision: the version before this one.
BEFORE = os.environ.get("UPGRADE_FROM", "")


def install(source: Path, directory: Path) -> None:
    """Put the version in `source` in place of the one in `directory`. Running processes keep what they have imported."""
    directory.mkdir(exist_ok=True)
    for part in PARTS:
        shutil.rmtree(directory / part, ignore_errors=True)
        shutil.copytree(source / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "main.py", directory / "main.py")


def install_revision(revision: str, directory: Path) -> None:
    archive = subprocess.run(
        ["git", "archive", revision, "main.py", *PARTS], cwd=ROOT, capture_output=True, check=True
    ).stdout
    shutil.rmtree(directory, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(directory, filter="data")


def forget_keys(directory: Path, step: str) -> None:
    """Make the version in `directory` an older one, in which the step knows no keys of its own."""
    path = directory / "shared" / "values" / "messages.py"
    text, count = re.subn(rf'("{step}": )frozenset\(\s*\{{[^}}]*\}}\s*\)', r"\1frozenset()", path.read_text())
    assert count == 1
    path.write_text(text)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a version's source."""
    return tmp_path / "source"


@pytest.fixture
def release() -> str:
    """The version before this one, by the environment variable UPGRADE_FROM or the last tag."""
    tagged = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0", "--match", "v*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if not (found := BEFORE or tagged.stdout.strip()):
        pytest.skip("there is no release yet, and UPGRADE_FROM names no revision")
    return found


def upgrade(cloud: Chain, source: Path, functions: tuple[str, ...]) -> None:
    """Install this version and restart the functions, one after the other."""
    install(ROOT, source)
    for function in functions:
        cloud.stop_function(function)
        cloud.start_function(function)


def test_a_key_that_an_older_function_does_not_know_waits_for_its_upgrade(source: Path, tmp_path: Path) -> None:
    install(ROOT, source)
    forget_keys(source, "write-secret")
    with running(tmp_path, "--source", str(source / "main.py"), "--attempts", "100") as cloud:
        cluster = cloud.create_cluster(fresh("early"), project=APPS, labels={"env": "prod"})
        cloud.logged("write-secret", cluster, decision="retry", code="unknown_key")
        assert cloud.secret(cluster) is None
        upgrade(cloud, source, ("write-secret",))
        cloud.onboarded(cluster)
        cloud.wait_quiet()
        assert not cloud.dead_letters(cluster)


def test_clusters_live_through_an_upgrade(release: str, source: Path, tmp_path: Path) -> None:
    install_revision(release, source)
    with running(tmp_path, "--source", str(source / "main.py"), "--attempts", "100") as cloud:
        staying, going = (cloud.onboard(name, project=APPS, labels={"env": "dev"}) for name in ("stays", "goes"))
        created = list(_lives(cloud, staying, going, source))
        cloud.onboarded(staying, *created)
        cloud.offboarded(going)
        cloud.wait_for(lambda: cloud.labels(staying)["env"] == "prod")
        cloud.wait_quiet()
        assert cloud.state()["dead_letters"] == 0


def _lives(cloud: Chain, staying: str, going: str, source: Path) -> Iterator[str]:
    """Upgrade one function after the other, while clusters are created, changed and deleted."""
    with ThreadPoolExecutor(1) as beside:
        upgraded = beside.submit(upgrade, cloud, source, FUNCTIONS)
        for number in range(3):
            yield cloud.create_cluster(fresh(f"new-{number}"), project=APPS, labels={"env": "prod"})
        cloud.set_labels(staying, {"env": "prod"})
        cloud.delete_cluster(going)
        upgraded.result()
    yield cloud.create_cluster(fresh("last"), project=APPS)
