"""Whether the local cloud that the environment names still runs. Without it, every call would wait for a closed port."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

RESTART = "start it with `python -m local up`, then `source .local/env` again"


def stopped(environment: Mapping[str, str]) -> str:
    """Return that the local cloud of `LOCAL_CLOUD` is stopped; '' if it runs, or the environment names none."""
    named = environment.get("LOCAL_CLOUD")
    if not named:
        return ""
    directory = Path(named)
    if (directory / "instance.json").exists() and _locked(directory / "lock"):
        return ""
    return f"the local cloud in {directory} is stopped: {RESTART}"


def _locked(path: Path) -> bool:
    """A running cloud holds the lock, and a killed one does not."""
    try:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
