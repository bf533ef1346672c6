"""Kubernetes label selectors, as in `kubectl get -l`: parsed once from the settings, asked for every cluster.

Pure. The grammar is that of https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors,
on the raw labels of the source: values that Kubernetes would refuse can be selected too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shared.values.labels import LABEL_CHARACTER

if TYPE_CHECKING:
    from collections.abc import Mapping

# What neither Google nor Kubernetes has in a label is no part of a selector either: `a>3`, `env:prod` or an invisible
# character must not pass for a key or value that nothing carries, because such a selector selects no cluster.
_CHARACTER = LABEL_CHARACTER
_KEY = rf"(?P<key>{_CHARACTER}+)"
_SET = re.compile(
    rf"{_KEY}\s+(?P<op>in|notin)\s*\(\s*(?=[^\s)])(?P<values>{_CHARACTER}*(?:\s*,\s*{_CHARACTER}*)*)\s*\)"
)
_EQUAL = re.compile(rf"{_KEY}\s*(?P<op>==|=|!=)\s*(?P<value>{_CHARACTER}*)")
_EXISTS = re.compile(rf"(?P<op>!?)\s*{_KEY}")
_COMMA = re.compile(r",(?![^()]*\))")


class InvalidSelectorError(ValueError):
    """The text is not a label selector."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One part of a selector. As in Kubernetes, `notin` and `!=` also select what lacks the key."""

    key: str
    operator: Literal["in", "notin", "exists", "absent"]
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """True if the labels match this requirement."""
        match self.operator:
            case "in":
                return labels.get(self.key) in self.values
            case "notin":
                return self.key not in labels or labels[self.key] not in self.values
            case "exists":
                return self.key in labels
            case "absent":
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must be met; none selects everything."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Parse `env=prod,tier in (a, b),!legacy,team`. Raises InvalidSelectorError, naming the part that is wrong."""
        if not text.strip():
            return cls()
        return cls(tuple(_requirement(part.strip()) for part in _COMMA.split(text)))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels are selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def _requirement(part: str) -> Requirement:
    if found := _SET.fullmatch(part):
        values = frozenset(value.strip() for value in found["values"].split(","))
        return Requirement(found["key"], "in" if found["op"] == "in" else "notin", values)
    if found := _EQUAL.fullmatch(part):
        return Requirement(found["key"], "notin" if found["op"] == "!=" else "in", frozenset({found["value"]}))
    if found := _EXISTS.fullmatch(part):
        return Requirement(found["key"], "absent" if found["op"] else "exists")
    raise InvalidSelectorError(
        f"{part!r} is not a requirement: write key=value, key!=value, key in (a,b), key notin (a,b), key or !key"
    )
