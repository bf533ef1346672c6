"""Injected failures of operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Failure:
    """The next operation `verb` on a resource whose full name matches `name` (a shell pattern) ends in this error."""

    verb: str
    name: str
    message: str
    code: int
    status: str = ""  # the resource's state afterwards


@dataclass
class Failures:
    """Injected failures in their order; each happens once."""

    waiting: list[Failure] = field(default_factory=list)

    def add(self, failure: Failure) -> None:
        self.waiting.append(failure)

    def take(self, verb: str, name: str) -> Failure | None:
        """Return and remove the failure of an operation that ends now."""
        for failure in self.waiting:
            if failure.verb == verb and fnmatchcase(name, failure.name):
                self.waiting.remove(failure)
                return failure
        return None
