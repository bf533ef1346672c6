"""What could not be read, grouped by its cause: one missing permission is one line, and not one for each project. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FEW: Final = (
    3  # up to this number, items with the same problem are shown one by one; of a larger group this number is named
)
_NUMBER: Final = re.compile(r"\d{5,}")  # a project's number, a request's


def by_cause(missing: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what could not be read and why: one reason is one pair.

    More than `FEW` reasons that differ in names alone are one too: the first names, and the first reason.
    """
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
    if len(group) <= FEW and len({missing[what] for what in group}) > 1:
        return [(what, missing[what]) for what in group]
    more = f" and {len(group) - FEW} more" if len(group) > FEW else ""
    return [(", ".join(group[:FEW]) + more, missing[group[0]])]
