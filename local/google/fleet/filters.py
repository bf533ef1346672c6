"""The filter and the pages of a list of memberships."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from local.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

TERM = re.compile(r'(NOT\s+|-)?([\w.-]+)\s*(!=|=|:)\s*("[^"]*"|\S+)')


def parse(text: str) -> Callable[[Json], bool]:
    """Understand `labels.k = v`, `state = READY`, `name : x*` and the resource link, joined by AND (gkehub.v1, list)."""
    terms = []
    for part in re.split(r"\s+AND\s+", text.strip()) if text.strip() else []:
        match = TERM.fullmatch(part.strip())
        if match is None:
            raise GoogleError(400, f'Invalid filter "{text}".')
        not_, path, operator, value = match.groups()
        terms.append((bool(not_) != (operator == "!="), path, value.strip('"')))

    def holds(membership: Json, path: str, value: str) -> bool:
        if path == "state":
            return bool(membership["state"]["code"] == value)
        if path == "name":
            return fnmatchcase(membership["name"], value) or fnmatchcase(membership["name"].rpartition("/")[2], value)
        found: Any = membership
        for key in path.split(".", 1) if path.startswith("labels.") else path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return found is not None and fnmatchcase(str(found), value)

    return lambda membership: all(holds(membership, path, value) != inverted for inverted, path, value in terms)


def page(found: list[Json], size: int, token: str) -> Json:
    """Return one page of a list; size 0 stands for all there are."""
    try:
        start = int(token or 0)
    except ValueError as error:
        raise GoogleError(400, "Invalid page token.") from error
    part = found[start : start + size] if size else found[start:]
    answer: Json = {"resources": part} if part else {}
    return answer | ({"nextPageToken": str(start + len(part))} if start + len(part) < len(found) else {})
