"""The seed of a test that draws what happens."""

from __future__ import annotations

import os
import secrets

# Always the same one: a change is judged by what it does, not by luck. `make simulate` draws fresh seeds.
SEED = 20_261_128


def draw_seed() -> int:
    """Return the seed; `SIMULATION_SEED` gives another one, or a fresh one (`fresh`). A failure shows what is printed here."""
    given = os.environ.get("SIMULATION_SEED", "")
    seed = secrets.randbits(40) if given == "fresh" else int(given or SEED)
    print(f"SIMULATION_SEED={seed} repeats it")  # noqa: T201
    return seed
