"""The seed of a test that draws what happens."""

from __future__ import annotations

import os
import secrets


def draw_seed() -> int:
    """Return a fresh seed, or that of `SIMULATION_SEED`. What is printed here is shown with a failure of any kind."""
    given = os.environ.get("SIMULATION_SEED")
    seed = int(given) if given else secrets.randbits(40)
    print(f"SIMULATION_SEED={seed} repeats it")  # noqa: T201
    return seed
