"""Tables on a terminal, as wide as the terminal; a cell that is too long continues in the next line."""

from __future__ import annotations

import re
import shutil
import textwrap
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST = 6  # characters of a column


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a title, and rows of cells under their heads."""
    print(f"\n{title}: {'' if rows else 'none'}".rstrip())
    if rows:
        print("\n".join(table(heads, rows, shutil.get_terminal_size().columns)))


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> list[str]:
    """Return the lines of a table of at most `width` characters, as far as columns of a few characters allow."""
    cells = [[one_line(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = max(width - 2 * len(widths), LEAST * len(widths))
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return [line for row in cells for line in _lines(row, widths)]


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    parts = [_broken(cell, width) for cell, width in zip(row, widths, strict=True)]
    return [
        "  " + "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in zip_longest(*parts, fillvalue="")
    ]


def _broken(cell: str, width: int) -> list[str]:
    return _Wrapper(width).wrap(cell) or [""]


class _Wrapper(textwrap.TextWrapper):
    """Breaks at spaces and behind the slashes of names."""

    def _split(self, text: str) -> list[str]:
        return re.findall(r"\s+|[^\s/]*/|[^\s/]+", text)


def one_line(cell: Any) -> str:
    """Show control characters as escapes: anybody can choose labels."""
    text = "" if cell is None else str(cell)
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
