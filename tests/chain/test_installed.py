"""The operator's commands, installed from the wheel instead of run in a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from shared.values.version import VERSION
from tests.chain.running import ROOT
from tests.chain.test_ops import environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chain.running import Chain

# Runs an installed console script as pip would write it: the checkout is not on the import path.
SCRIPT = "import sys; from fleet_registrar import main; sys.exit(main())"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's packages, and nothing else."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(directory), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    target = directory / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    return target


def run(installed: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=installed.parent,
        env={**(env or {"PATH": os.defpath}), "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_has_one_package(installed: Path) -> None:
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names <= {"fleet_registrar", "bin"}


def test_the_installed_command_has_its_own_name(installed: Path) -> None:
    assert run(installed, "--version").stdout == f"fleet-registrar {VERSION}\n"
    usage = run(installed, "plan", "--help").stdout
    assert usage.startswith("usage: fleet-registrar plan ")
    assert "python -m ops" not in usage


def test_the_installed_command_answers_as_a_checkout(installed: Path, cloud: Chain) -> None:
    cluster = cloud.onboard("installed")
    env = environment(cloud)
    done = run(installed, "explain", cluster, env=env)
    assert done.returncode == 0, done.stderr
    assert cluster in done.stdout
    assert run(installed, "plan", env=env).returncode in (0, 2)
