"""Windows of random stories: people edit, release and relabel one cluster while sweeps decide on it.

Drawn apart from the rest of a story, so that the rest does not depend on it.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from tests.simulation.cast import ATTACHED, LABELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SHARE = 0.3  # of all stories
SELECTORS = ("", "env", "env=prod", "tier", "env!=prod", "!tier")
_OF_HOLDS = ("unskip", "unheld", "unnoted", "garbled", "future", "unlabelled")
EDITS = (*_OF_HOLDS, *_OF_HOLDS, "label", "drift", "skip", "skip for good", "grant", "agent", "facts")
# How a cluster leaves, and what may come between any two of these events.
_LEAVES = ("leave", "sweep", "release", "edit", "sweep", "edit", "sweep")
_BETWEEN = ("edit", "edit", "sweep", "sweep", "release", "leave", "return", "stop", "settings", "pin", "unpin")
_GAPS = (0.1, 2.0, 15.0, 60.0, 320.0, 700.0)


def draw_window(
    seed: int, begun: Sequence[tuple[float, str]], settings: Mapping[str, Any]
) -> Iterator[tuple[float, str, str, Mapping[str, Any]]]:
    """Draw the events of a window: when, what, to which cluster, and how. `begun`: when each cluster came."""
    random = Random(f"window {seed}")
    if random.random() >= SHARE:
        return
    began, who = random.choice(begun)
    time = began + random.choice((400.0, 900.0, 2500.0))
    if random.random() < 0.5:
        yield time, "settings", "", {**settings, "limited": True, "most": random.randint(0, 1)}
    chosen = [each for each in _LEAVES if random.random() < 0.8]
    for each in random.choices(_BETWEEN, k=random.randint(1, 5)):
        chosen.insert(random.randint(0, len(chosen)), each)
    for each in chosen:
        time += random.choice(_GAPS) * random.uniform(0.5, 1.5)
        yield time, *_event(random, each, who)


def _event(random: Random, what: str, who: str) -> tuple[str, str, Mapping[str, Any]]:
    attached = who in ATTACHED
    match what:
        case "edit":
            return what, who, {"what": random.choice(EDITS)}
        case "sweep":
            return what, "", {"times": 1}
        case "release":
            return what, "", {"after": random.choice((0, 0, 20, 100))}
        case "settings":
            return what, "", {"selector": random.choice(SELECTORS)}
        case "leave" if attached and random.random() < 0.3:
            return "detach", who, {}
        case "return" if attached and random.random() < 0.3:
            return "attach", who, {"labels": random.choice((LABELS[0], LABELS[-1]))}
        case "stop" if attached:
            return "reattach", who, {}
        case "stop":
            return "delete", who, {"takes": random.choice((2, 60)), "ends": random.choice(("RUNNING", "ERROR"))}
        case "leave" | "return":
            how = {"labels": LABELS[-1 if what == "leave" else 0]}
            return "relabel_attached" if attached else "relabel", who, how
        case _:
            return what, who, {}
