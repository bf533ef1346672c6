"""The one place where tests wait for, and read, what happens elsewhere: another thread, a process, a server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds until a test gives up on what should happen within one: CI has slow cores with much to do.
PATIENCE = 100.0


def until(condition: Callable[[], Any], within: float = PATIENCE) -> Any:
    """Return what `condition` gives as soon as that is true."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"the condition is not true after {within:g} s"
        time.sleep(0.01)
    return value


def whole_lines(text: str) -> list[str]:
    """The lines of a file that another process writes: without one that is being written."""
    return text.rpartition("\n")[0].splitlines()
