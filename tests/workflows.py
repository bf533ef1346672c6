"""`make workflows`: actionlint and zizmor on .github/workflows. Both are fetched once, into the cache outside of the checkout.

actionlint is a Go program; zizmor comes from a pinned package. Neither is asked to use the network: zizmor's online
audits are skipped, with the reason.
"""

# ruff: noqa: T201 - a command, which talks to a person

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.docs.language import ROOT
from tests.infra.terraform import MissingError, alone, cache, virtual_environment

if TYPE_CHECKING:
    from pathlib import Path

ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.8"
ZIZMOR = "zizmor==1.32.0"
WORKFLOWS = ROOT / ".github" / "workflows"


def actionlint() -> Path:
    """Return the program, built at the first call."""
    directory = cache() / ACTIONLINT.rpartition("/")[2]
    program = directory / "actionlint"
    with alone("actionlint"):
        if not program.exists():
            environment = os.environ | {"GOBIN": str(directory), "CGO_ENABLED": "0", "GOFLAGS": ""}
            try:
                subprocess.run(
                    ["go", "install", ACTIONLINT], env=environment, check=True, capture_output=True, text=True
                )
            except (OSError, subprocess.CalledProcessError) as error:
                reason = (getattr(error, "stderr", "") or str(error)).strip()[-300:]
                raise MissingError(f"actionlint cannot be built with go: {reason}") from error
    return program


def main() -> int:
    """Check all workflows, and return the exit code."""
    files = sorted(str(path.relative_to(ROOT)) for path in WORKFLOWS.glob("*.yaml"))
    try:
        commands = [
            [str(actionlint()), "-shellcheck=", "-pyflakes=", *files],
            [str(virtual_environment("zizmor", ZIZMOR).with_name("zizmor")), "--offline", "--pedantic", *files],
        ]
    except MissingError as error:
        print(f"not checked: {error}")
        return 1
    codes = [subprocess.run(command, cwd=ROOT, check=False).returncode for command in commands]
    if not any(codes):
        print(f"{', '.join(files)}: actionlint and zizmor (offline audits) find nothing")
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
