"""What was measured, beside what it is compared with: rows, the printed table, and how noisy the machine was meanwhile."""

from __future__ import annotations

import hashlib
import os
import statistics
import textwrap
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One line. `ok` is None where nothing is to be held; `binding` is a count, memory or loss: when it is not held, the run fails."""

    what: str
    measured: str
    compared: str = ""
    ratio: float | None = None
    hold: str = ""
    ok: bool | None = None
    binding: bool = False

    @property
    def verdict(self) -> str:
        """The text of the last column."""
        if self.ok is None:
            return ""
        return "yes" if self.ok else "NO" if self.binding else "over"


@dataclass
class Noise:
    """The same small work done again and again between the measurements: what it takes when nobody else wants the processor."""

    samples: list[float] = field(default_factory=list)
    load: float = 0.0

    def sample(self) -> None:
        """Do the work once."""
        began = time.perf_counter()
        digest = b"noise"
        for _ in range(4000):
            digest = hashlib.sha256(digest).digest()
        self.samples.append(time.perf_counter() - began)
        self.load = max(self.load, os.getloadavg()[0])

    def __str__(self) -> str:
        if not self.samples:
            return "not sampled"
        fastest = min(self.samples)
        median, slow = (part / fastest for part in (statistics.median(self.samples), quantile(self.samples, 0.9)))
        return f"median {median:.2f} x, slowest tenth from {slow:.2f} x of the fastest of {len(self.samples)}; load up to {self.load:.1f}"


def quantile(values: list[float], part: float) -> float:
    """The value below which `part` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def spread(values: list[float]) -> str:
    """Median, slowest tenth and slowest, in milliseconds."""
    three = (statistics.median(values), quantile(values, 0.9), max(values))
    return " / ".join(f"{value * 1000:,.0f}" for value in three) + " ms"


def printed(rows: list[Row]) -> str:
    """The table, as a person reads it."""
    heads = ("what", "measured", "floor or compared with", "ratio", "hold", "ok")
    widths = (46, 38, 46, 7, 14, 4)
    lines = [
        [row.what, row.measured, row.compared, f"{row.ratio:.2f}" if row.ratio else "", row.hold, row.verdict]
        for row in rows
    ]
    text = []
    for line in (list(heads), ["-" * width for width in widths], *lines):
        cells = [textwrap.wrap(cell, width) or [""] for cell, width in zip(line, widths, strict=True)]
        for number in range(max(map(len, cells))):
            parts = [cell[number] if number < len(cell) else "" for cell in cells]
            text.append("  ".join(f"{part:{width}}" for part, width in zip(parts, widths, strict=True)).rstrip())
    return "\n".join(text)
