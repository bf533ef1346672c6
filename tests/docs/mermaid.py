"""The pinned script that draws the diagrams of the documentation's site, fetched once by npm into the cache."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import IO, cast

from tests.infra.terraform import MissingError, alone, cache

MERMAID = "mermaid@11.17.2"
INTEGRITY = "V6K3C8EBdEsPFZXSKMJe6ppQOENxuHARr9GvHX4hh47lAbhMRD9qf4oEK7LoaRQxULMa80/qt5gHO73aCleBBg=="  # sha512
FILE = "package/dist/mermaid.min.js"


def script() -> Path:
    """Return the script, fetched at the first call; raises MissingError."""
    made = cache() / MERMAID / "mermaid.min.js"
    with alone("mermaid"):
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=cache()) as directory:
                packed = _packed(Path(directory))
                digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
                if digest != INTEGRITY:
                    raise MissingError(f"{MERMAID} is not the pinned package: its sha512 is {digest}")
                with tarfile.open(packed) as archive, cast("IO[bytes]", archive.extractfile(FILE)) as found:
                    text = found.read()
                made.parent.mkdir(exist_ok=True)
                partial = made.with_suffix(".part")
                partial.write_bytes(text)
                partial.rename(made)
    return made


def _packed(directory: Path) -> Path:
    command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(directory), MERMAID]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, cwd=directory)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip()[-300:]
        raise MissingError(f"{MERMAID} cannot be fetched, so diagrams stay text: {reason}") from error
    return next(directory.glob("*.tgz"))
