"""`make dist-check`: what `make dist` built, installed in empty environments and run. It fetches packages.

The wheel: its command answers outside of a checkout, also through pipx and uvx. The bundle: functions-framework serves each entry point with the
packages of requirements.txt alone.
"""

# ruff: noqa: T201 - a command, which talks to a person

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from shared.values.version import VERSION
from tests.docs.language import ROOT
from tests.infra.terraform import virtual_environment

DIST = ROOT / "dist"
CLEAN = {"PATH": os.defpath, "HOME": os.environ.get("HOME", "/")}
SERVE = """
import functions_framework, sys
for target in sys.argv[1:]:
    functions_framework.create_app(target, "main.py", "cloudevent")
loaded = {name.partition(".")[0] for name in sys.modules} & {"ops", "local", "tests"}
assert not loaded, loaded
"""
# How people run a program of a wheel without an environment of their own.
RUNNERS = {
    "pipx": ("pipx==1.18.4", ("run", "--spec", "{wheel}")),
    "uvx": ("uv==0.13.9", ("--quiet", "--from", "{wheel}")),
}
TARGETS = (
    "route_event", "register_membership", "grant_rbac", "write_secret", "remove_secret", "revoke_rbac",
    "unregister_membership", "sweep",
)  # fmt: skip


def environment(directory: Path, *requirements: str) -> Path:
    """Make an empty virtual environment with these packages; return its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    programs = directory / "bin"
    command = [str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check", *requirements]
    subprocess.run(command, check=True)
    return programs


def check_wheel(directory: Path) -> None:
    """Install the wheel with the versions that the functions have, and run its command."""
    (wheel,) = DIST.glob("*.whl")
    pins = directory / "pins.txt"
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins.write_text("".join(f"{line.split()[0]}\n" for line in lines if line[:1].isalnum() and "==" in line))
    programs = environment(directory / "wheel", "--constraint", str(pins), str(wheel))
    for arguments in (["--version"], ["--help"], ["plan", "--help"]):
        command = [str(programs / "fleet-registrar"), *arguments]
        done = subprocess.run(command, cwd=directory, env=CLEAN, capture_output=True, text=True, check=True)
        assert "python -m ops" not in done.stdout
        print(done.stdout.splitlines()[0])
    done = subprocess.run(
        [str(programs / "fleet-registrar"), "plan"],
        cwd=directory,
        env=CLEAN,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done  # the settings are missing
    assert "Traceback" not in done.stderr, done.stderr


def check_runners(directory: Path) -> None:
    """Run the wheel's command with pipx and uvx, each with a cache of its own."""
    (wheel,) = DIST.glob("*.whl")
    for name, (package, arguments) in RUNNERS.items():
        program = virtual_environment(package.partition("=")[0], package).with_name(name)
        own = {"PIPX_HOME": str(directory / "pipx"), "UV_CACHE_DIR": str(directory / "uv")}
        words = [argument.format(wheel=wheel) for argument in arguments]
        done = subprocess.run(
            [str(program), *words, "fleet-registrar", "--version"],
            cwd=directory, env=os.environ | own, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout == f"fleet-registrar {VERSION}\n", done
        print(f"{name}: {done.stdout.strip()}")


def check_bundle(directory: Path) -> None:
    """Unpack the bundle, install what it pins, and load each entry point as the framework does."""
    (bundle,) = DIST.glob("*.zip")
    source = directory / "source"
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(source)
    pinned = ["--require-hashes", "--requirement", str(source / "requirements.txt")]
    programs = environment(directory / "bundle", *pinned)
    subprocess.run([str(programs / "python"), "-c", SERVE, *TARGETS], cwd=source, env=CLEAN, check=True)
    listed = subprocess.run(
        [str(programs / "pip"), "list", "--format=freeze", "--disable-pip-version-check"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    packages = [line for line in listed.stdout.splitlines() if line.partition("==")[0] not in ("pip", "setuptools")]
    size = sum(file.lstat().st_size for file in (directory / "bundle" / "lib").rglob("*") if file.is_file())
    print(f"bundle {VERSION}: {len(TARGETS)} entry points load; {len(packages)} packages, {size / 1e6:.0f} MB with pip")


def main() -> None:
    """Check both."""
    with tempfile.TemporaryDirectory() as directory:
        check_wheel(Path(directory))
        check_runners(Path(directory))
        check_bundle(Path(directory))


if __name__ == "__main__":
    main()
