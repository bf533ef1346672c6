"""The package `fleet_registrar` of the wheel: the command `fleet-registrar` is `python -m ops`.

The wheel has this file as `fleet_registrar/__init__.py`, with `ops` and `shared` beside it: site-packages gets no package
of such a common name. The command puts that folder first on the import path.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final, TextIO, cast

CHECKOUT: Final = "python -m ops"
COMMAND: Final = "fleet-registrar"


class _Named:
    """A text stream in which the commands of a checkout have the name of the installed command."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(text.replace(CHECKOUT, COMMAND))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def main() -> int:
    """Run one command and return its exit code."""
    sys.path.insert(0, str(Path(__file__).parent))
    from ops.__main__ import main as run

    sys.stdout, sys.stderr = (cast("TextIO", _Named(stream)) for stream in (sys.stdout, sys.stderr))
    return run()
