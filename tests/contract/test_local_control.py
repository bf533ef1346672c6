"""The control API of a running local cloud, and the commands that call it; one cloud without functions for all tests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from local.cloud import Cloud
from local.config import SETTINGS, Config
from local.control import ControlError, LocalCloud
from local.control_api import control_app
from tests.contract.background import BackgroundLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("control")
    quick = Config(
        folder, targets=(), create_seconds=0, delete_seconds=0, update_seconds=0, membership_seconds=0, retry_min=0.05
    )
    running = Cloud(quick, control_app)
    with BackgroundLoop() as loop:
        loop.run(running.start())
        try:
            yield folder
        finally:
            loop.run(running.stop())


@pytest.fixture
def cloud(directory: Path) -> LocalCloud:
    return LocalCloud.from_env(directory)


def _do(directory: Path, *, token: str | None = None, **headers: str) -> int:
    instance = json.loads((directory / "instance.json").read_text())
    headers |= {"Authorization": f"Bearer {instance['token'] if token is None else token}"}
    body = {"part": "cloud", "method": "quiet"}
    return requests.post(f"{instance['control']}/do", json=body, headers=headers, timeout=60).status_code


def test_only_its_owner_can_read_the_token(directory: Path) -> None:
    assert (directory / "instance.json").stat().st_mode & 0o777 == 0o600


def test_a_call_needs_the_token(directory: Path) -> None:
    assert _do(directory) == 200
    assert _do(directory, token="another") == 401
    assert _do(directory, token="") == 401


def test_a_foreign_host_is_refused(directory: Path) -> None:
    assert _do(directory, Host="attacker.example") == 400
    assert _do(directory, Host="localhost") == 200


@pytest.mark.parametrize("origin", ["https://attacker.example", "http://127.0.0.1", "null"])
def test_a_web_page_is_refused(directory: Path, origin: str) -> None:
    assert _do(directory, Origin=origin) == 403


def test_no_emulated_api_answers_a_web_page(cloud: LocalCloud) -> None:
    urls = [url for url in cloud.state()["endpoints"].values() if url.startswith("http")]
    assert len(urls) > 20
    authority = str(cloud.directory / "ca.pem")
    with requests.Session() as session:
        session.trust_env = False
        page = {"Origin": "https://attacker.example"}
        found = {session.get(url, headers=page, verify=authority, timeout=60).status_code for url in urls}
    assert found == {403}


def test_health_needs_no_token(directory: Path) -> None:
    control = json.loads((directory / "instance.json").read_text())["control"]
    answer = requests.get(f"{control}/health", timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"status": "running"})


def test_redeploy_changes_only_documented_settings(cloud: LocalCloud) -> None:
    with pytest.raises(ControlError, match="PYTHONPATH"):
        cloud.redeploy("sweep", {"PYTHONPATH": "/tmp"})


def test_the_settings_of_a_deployment_are_the_documented_ones() -> None:
    documented = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    ours = [name for name in documented if not name.startswith("CLOUDSDK_") and name != "PUBSUB_EMULATOR_HOST"]
    assert sorted(ours) == list(SETTINGS)
