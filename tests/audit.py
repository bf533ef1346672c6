"""`make audit`: known vulnerabilities of the pinned packages, by pip-audit.

It asks the package index for its advisories, and fails for a package that the index gives none for: a mirror may lack them.
"""

# ruff: noqa: T201 - a command, which talks to a person

from __future__ import annotations

import subprocess
import sys

from tests.docs.language import ROOT
from tests.infra.terraform import MissingError, virtual_environment

PIP_AUDIT = "pip-audit==2.10.1"


def main() -> int:
    """Audit both lists of pins, and return the exit code."""
    try:
        program = virtual_environment("pip-audit", PIP_AUDIT).with_name("pip-audit")
    except MissingError as error:
        print(f"not audited: {error}")
        return 1
    lists = [f"--requirement={name}" for name in ("requirements.txt", "requirements-dev.txt")]
    command = [str(program), "--strict", "--disable-pip", "--require-hashes", "--progress-spinner=off", *lists]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
