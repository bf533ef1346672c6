"""The fault matrix, as a table: every outside call of every step, gone wrong once in every way, on the running chain.

`python -m tests.chain.matrix` (`make matrix`). `same`: the fault was met, and the final state is the same as
without it; nothing was dead-lettered meanwhile. The tests of `test_faults_*.py` hold the same, without the table.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.chain import lives
from tests.chain.running import running

EFFECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "403": ("status", {"status": 403}),
    "404": ("status", {"status": 404}),
    "429": ("status", {"status": 429}),
    "500": ("status", {"status": 500}),
    "time-out": ("timeout", {"seconds": 0.5}),
    "answer lost": ("drop", {}),
    "slow": ("slow", {"seconds": 0.5}),
}


def main() -> int:
    """Print the table; returns 1 when an end state differed."""
    outcomes: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as directory, running(Path(directory), *lives.OPTIONS) as cloud:
        for name, (effect, fault) in EFFECTS.items():
            try:
                lives.lived(cloud, effect, **fault)
                outcomes[name] = "same"
            except (AssertionError, TimeoutError) as error:
                outcomes[name] = "DIFFERS"
                sys.stdout.write(f"{name}: {error}\n")
                cloud.restore()
    row = "{:<13} {:<22} {:<58}" + " {:<12}" * len(outcomes) + "\n"
    sys.stdout.write(row.format("STAGE", "STEP", "CALL", *outcomes))
    for stage, steps in lives.CALLS.items():
        for step, calls in steps.items():
            for call in calls:
                sys.stdout.write(row.format(stage, step, call, *outcomes.values()))
    return int("DIFFERS" in outcomes.values())


if __name__ == "__main__":
    sys.exit(main())
