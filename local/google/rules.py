"""Rules about what goes wrong on demand: which match, how often each was met, and when it acts."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(kw_only=True)
class Rule:
    """The first `skip` matches pass; then the rule acts on `times` matches (0: on all, until it is removed)."""

    skip: int = 0
    times: int = 1
    id: str = ""
    hits: int = 0

    def counts(self) -> bool:
        """Count a match, and return whether the rule acts on it."""
        self.hits += 1
        return self.hits > self.skip and (self.times == 0 or self.hits <= self.skip + self.times)


R = TypeVar("R", bound=Rule)


@dataclass
class Rules(Generic[R]):
    """Rules in the order in which they were added; ids begin with `prefix`."""

    prefix: str
    rules: list[R] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, rule: R) -> R:
        """Add a rule and give it an id."""
        rule.id = f"{self.prefix}{next(self._ids)}"
        self.rules.append(rule)
        return rule

    def remove(self, id_: str | None = None) -> None:
        """Remove one rule, or all of them."""
        self.rules = [rule for rule in self.rules if id_ is not None and rule.id != id_]

    def acting(self, matches: Callable[[R], bool]) -> R | None:
        """Return the first rule that matches and acts; each that matches until then is counted."""
        return next((rule for rule in self.rules if matches(rule) and rule.counts()), None)

    def as_json(self) -> list[dict[str, Any]]:
        """All rules with how often each was met."""
        return [asdict(rule) for rule in self.rules]
