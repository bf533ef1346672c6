"""Apply a story event to the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation import clusters, people
from tests.simulation.stories import WEIGHTS, StoryEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.simulation.scheduler import Simulation


def apply(world: Simulation, event: StoryEvent) -> None:
    """Apply one event of a story, if it fits the state."""
    world.current = None
    _EFFECTS[event.what](world, event.who, **event.how)


_EFFECTS: Mapping[str, Callable[..., None]] = {
    what: getattr(clusters if hasattr(clusters, f"do_{what}") else people, f"do_{what}") for what, _, _ in WEIGHTS
}
