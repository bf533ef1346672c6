"""State with its history, so that a read can be late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from tests.simulation.scheduler import Simulation


K = TypeVar("K")
V = TypeVar("V")


class Past(dict[K, V], Generic[K, V]):
    """A dictionary that remembers what it was: answers may lag."""

    def __init__(self, clock: Simulation) -> None:
        super().__init__()
        self._clock = clock
        self._before: dict[K, list[tuple[float, V | None]]] = {}

    def __setitem__(self, key: K, value: V) -> None:
        self._before.setdefault(key, []).append((self._clock.t, self.get(key)))
        super().__setitem__(key, value)
        self._clock.ledger.came(value)

    def __delitem__(self, key: K) -> None:
        self._before.setdefault(key, []).append((self._clock.t, self.get(key)))
        super().__delitem__(key)

    def pop(self, key: K, *fallback: Any) -> Any:
        """Remove and return a value."""
        found = self.get(key, *fallback)
        if key in self:
            del self[key]
        return found

    def at(self, key: K, time: float) -> V | None:
        """The object at that time."""
        for changed, before in self._before.get(key, ()):
            if changed > time:
                return before
        return self.get(key)

    def all_at(self, time: float) -> list[V]:
        """All objects at that time."""
        return [value for key in self._before if (value := self.at(key, time)) is not None]
