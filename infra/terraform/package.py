"""Writes the functions' bundle: what Cloud Functions builds from, and nothing else.

The same sources give the same bytes everywhere (sorted, no times, not compressed), because the bundle's hash is what makes
Terraform deploy, and because a plan made in one build is applied in another.
"""

# ruff: noqa: INP001 - a script beside what needs it, not a package

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = Path(__file__).resolve().parent / ".build" / "functions.zip"


def sources(root: Path = ROOT) -> list[Path]:
    """Return what belongs in: the entry points, the functions, what they share, the status page, and their pinned packages."""
    modules = [path for folder in ("functions", "ops", "shared") for path in (root / folder).rglob("*.py")]
    templates = [path for path in (root / "ops" / "page" / "templates").iterdir() if path.is_file()]
    single = [root / "main.py", root / "requirements.txt", root / "infra" / "roles.json"]
    return sorted([*single, *modules, *templates])


def write(bundle: Path = BUNDLE, root: Path = ROOT) -> Path:
    """Write the bundle, and return where it is."""
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_STORED) as archive:
        for path in sources(root):
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix())
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return bundle


if __name__ == "__main__":
    sys.stdout.write(f"{write(Path(sys.argv[1]) if sys.argv[1:] else BUNDLE)}\n")
