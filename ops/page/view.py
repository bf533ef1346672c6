"""Which clusters of the table a visitor sees: search, filters, sorting and paging, from the address. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ops.overview import Row, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SIZES: Final = (50, 100, 500)
PROBLEMS: Final = "problems"
_KEYS: Final[Mapping[str, Callable[[Row], Any]]] = {
    "problem": lambda row: not row.stage.is_problem,
    "name": lambda row: row.name.short,
    "project": lambda row: row.name.project,
    "location": lambda row: row.name.location,
    "kind": lambda row: row.kind,
    "stage": lambda row: [*Stage].index(row.stage),
    "written": lambda row: row.written,
}
SORTS: Final = tuple(_KEYS)
_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class View:
    """What the address selects. '' does not filter; `stage` is a code of `Stage`, or `problems`."""

    q: str = ""
    project: str = ""
    location: str = ""
    kind: str = ""
    stage: str = ""
    label: str = ""
    sort: str = "problem"
    descending: bool = False
    page: int = 1
    size: int = SIZES[0]

    def address(self, **changes: Any) -> str:
        """Return the query of this view with some fields changed; another filter or order begins at page 1."""
        view = replace(self, **({"page": 1} | changes))
        parameters = {
            "q": view.q,
            "project": view.project,
            "location": view.location,
            "kind": view.kind,
            "stage": view.stage,
            "label": view.label,
            "sort": "" if view.sort == "problem" else view.sort,
            "order": "desc" if view.descending else "",
            "page": "" if view.page == 1 else str(view.page),
            "size": "" if view.size == SIZES[0] else str(view.size),
        }
        return "?" + urlencode({key: value for key, value in parameters.items() if value})

    @property
    def is_filtered(self) -> bool:
        """Whether some clusters may be left out."""
        return any((self.q, self.project, self.location, self.kind, self.stage, self.label))


def parse(query: Mapping[str, str]) -> View:
    """Return the view of an address; invalid parameters are ignored."""

    def number(key: str, fallback: int) -> int:
        text = query.get(key, "")
        return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 7 and int(text) else fallback

    texts = {key: query.get(key, "").strip()[:_TEXT] for key in ("q", "project", "location", "kind", "stage", "label")}
    size, sort = number("size", SIZES[0]), query.get("sort", "")
    return View(
        **texts,
        sort=sort if sort in SORTS else "problem",
        descending=query.get("order") == "desc",
        page=number("page", 1),
        size=size if size in SIZES else SIZES[0],
    )


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page. `matching` counts all rows that the filters leave, `pages` is at least 1."""

    rows: tuple[Row, ...]
    matching: int
    pages: int
    view: View


def select(rows: Sequence[Row], view: View) -> Page:
    """Filter, sort and cut; a page beyond the last is the last."""
    found = [row for row in rows if _matches(row, view)]
    if view.sort != "problem" or view.descending:
        found.sort(key=lambda row: (_KEYS[view.sort](row), str(row.name)), reverse=view.descending)
    pages = max(1, -(-len(found) // view.size))
    view = replace(view, page=min(view.page, pages))
    start = (view.page - 1) * view.size
    return Page(tuple(found[start : start + view.size]), len(found), pages, view)


def _matches(row: Row, view: View) -> bool:
    name = row.name
    if view.stage and view.stage != row.stage and not (view.stage == PROBLEMS and row.stage.is_problem):
        return False
    if any(wanted not in ("", value) for wanted, value in _exact(row, view)):
        return False
    if view.label and not _has_label(row.labels, view.label):
        return False
    words = view.q.casefold().split()
    text = f"{name} {row.stage.text} {row.reason} {row.membership}".casefold() if words else ""
    return all(word in text for word in words)


def _exact(row: Row, view: View) -> tuple[tuple[str, str], ...]:
    return (view.project, row.name.project), (view.location, row.name.location), (view.kind, row.kind)


def _has_label(labels: Mapping[str, str], asked: str) -> bool:
    key, equals, value = asked.partition("=")
    return key in labels and (not equals or labels[key] == value)
