"""Tables on a terminal."""

from __future__ import annotations

from typing import Any


def print_table(title: str, heads: list[str], rows: list[list[Any]]) -> None:
    """Print a title, and rows of cells under their heads."""
    print(f"\n{title}: {'' if rows else 'none'}")
    lines = [[str(cell) for cell in row] for row in ([heads, *rows] if rows else [])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
