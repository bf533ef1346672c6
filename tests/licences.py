"""`make licences`: the licences of the packages that the functions and the wheel bring along, against a list of allowed ones.

It reads the metadata of the installed packages, so it needs no network.
"""

# ruff: noqa: T201 - a command, which talks to a person

from __future__ import annotations

import re
import sys
from importlib import metadata

from packaging.requirements import Requirement

from tests.docs.language import ROOT

# Licences that permit redistribution beside Apache-2.0 code; MPL-2.0 is copyleft by file, and the file is unchanged.
ALLOWED = {
    "Apache-2.0", "Apache License 2.0", "Apache License, Version 2.0", "Apache 2.0", "Apache Software License",
    "BSD", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "3-Clause BSD License", "MIT", "MIT-0", "MIT License", "ISC",
    "PSF-2.0", "Python Software Foundation License", "Python-2.0", "MPL-2.0", "0BSD",
    "Mozilla Public License 2.0 (MPL 2.0)", "Unlicense", "Public Domain",
}  # fmt: skip


def pinned() -> list[str]:
    """Return the packages of requirements.txt that this Python installs."""
    found = []
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line[:1].isalnum():
            requirement = Requirement(line.rstrip("\\ "))
            if requirement.marker is None or requirement.marker.evaluate():
                found.append(requirement.name)
    return found


def licences(package: str) -> set[str]:
    """Return the licences that a package's metadata names."""
    meta = metadata.metadata(package)
    if "License-Expression" in meta:
        return set(re.split(r" (?:AND|OR) |[()]", meta["License-Expression"])) - {""}
    classified = {
        text.rpartition(" :: ")[2] for text in meta.get_all("Classifier", []) if text.startswith("License :: ")
    } - {"OSI Approved"}
    return classified or {meta.get_all("License", [""])[0].strip().partition("\n")[0]}


def main() -> int:
    """Print each package whose licence is not allowed, and return the exit code."""
    packages = pinned()
    wrong = {package: found - ALLOWED for package in packages if (found := licences(package)) - ALLOWED}
    for package, found in sorted(wrong.items()):
        print(f"{package}: {', '.join(sorted(found)) or 'no licence'} is not on the list in tests/licences.py")
    print(f"{len(packages)} packages: {len(wrong)} with a licence that is not allowed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
