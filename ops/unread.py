"""What could not be read, grouped by its cause: one missing permission is one line, and not one for each project. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FEW: Final = 3  # up to so many with the same problem have an item each; of a larger group so many are named
_NUMBER: Final = re.compile(r"\d{5,}")  # a project's number, a request's


def by_cause(missing: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what could not be read and why; of more than `FEW` with one cause, the first names and the first reason."""
    groups: dict[str, list[str]] = defaultdict(list)
    for what, why in missing.items():
        groups[_cause(what, why)].append(what)
    return [pair for group in groups.values() for pair in _shown(group, missing)]


def _cause(what: str, why: str) -> str:
    """Return the reason without the names in it that differ from project to project, or cluster to cluster."""
    for part in sorted(what.split("/"), key=len, reverse=True):
        why = why.replace(part, "…") if len(part) > 1 and part not in {"projects", "locations"} else why
    return _NUMBER.sub("…", why)


def _shown(group: list[str], missing: Mapping[str, str]) -> list[tuple[str, str]]:
    if len(group) <= FEW:
        return [(what, missing[what]) for what in group]
    return [(f"{', '.join(group[:FEW])} and {len(group) - FEW} more", missing[group[0]])]
