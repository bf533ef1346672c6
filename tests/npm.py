"""Files of pinned npm packages, fetched once by npm into the cache outside of the checkout: mermaid and Renovate's schema."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from tests.infra.terraform import MissingError, alone, cache


@dataclass(frozen=True, slots=True)
class Package:
    """A file of a package; `sha512` is the package's integrity, as npm writes it."""

    name: str
    sha512: str
    file: str


MERMAID: Final = Package(
    "mermaid@11.17.2",
    "V6K3C8EBdEsPFZXSKMJe6ppQOENxuHARr9GvHX4hh47lAbhMRD9qf4oEK7LoaRQxULMa80/qt5gHO73aCleBBg==",
    "dist/mermaid.min.js",
)
RENOVATE: Final = Package(
    "renovate@44.121.2",
    "gNsY+POw2UN3B4e8x0B5UK3onH1qF7wMirKGaUnJcSx3+xEWH4n35RS4rvVEtTIIV/BoZoFbsIo7njTb9Mydxg==",
    "renovate-schema.json",
)


def fetched(package: Package) -> Path:
    """Return the file, fetched at the first call; raises MissingError."""
    made = cache() / package.name / Path(package.file).name
    with alone(package.name.partition("@")[0]):
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=cache()) as directory:
                text = _unpacked(_packed(package, Path(directory)), package)
            made.parent.mkdir(exist_ok=True)
            partial = made.with_suffix(".part")
            partial.write_bytes(text)
            partial.rename(made)
    return made


def _packed(package: Package, directory: Path) -> Path:
    command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(directory), package.name]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, cwd=directory)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip()[-300:]
        raise MissingError(f"{package.name} cannot be fetched: {reason}") from error
    return next(directory.glob("*.tgz"))


def _unpacked(archive: Path, package: Package) -> bytes:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != package.sha512:
        raise MissingError(f"{package.name} is not the pinned package: its sha512 is {digest}")
    with tarfile.open(archive) as packed, cast("IO[bytes]", packed.extractfile(f"package/{package.file}")) as found:
        return found.read()
