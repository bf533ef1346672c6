"""Two plots as SVG, by a few lines of our own: where the latency of an onboarding goes, and how a sweep grows."""

from __future__ import annotations

import math
import statistics
from html import escape
from typing import TYPE_CHECKING

from tests.bench.table import quantile

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.latency import Hops
    from tests.bench.sweep import Swept

WIDTH, HEIGHT = 760, 340
COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2")


def drawn(directory: Path, hops: Hops | None, sweeps: list[Swept]) -> list[Path]:
    """Write what there is something to draw for."""
    written = []
    for name, text in (("latency.svg", _latency(hops) if hops else ""), ("sweep.svg", _sweeps(sweeps))):
        if text:
            (directory / name).write_text(text)
            written.append(directory / name)
    return written


def _svg(parts: list[str], title: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">'
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return "\n".join([head, ground, _text(20, 24, title, size=15), *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'


def _latency(hops: Hops) -> str:
    """A bar for the median, for the slowest tenth and for the median under load, cut into hops; below, the bare calls."""
    bars = {
        "median": {step: statistics.median(seconds) for step, seconds in hops.alone.items()},
        "slowest tenth": {step: quantile(seconds, 0.9) for step, seconds in hops.alone.items()},
        "median under load": {step: statistics.median(seconds) for step, seconds in hops.under_load.items()},
        "bare calls, median": {"bare": statistics.median(hops.bare)},
    }
    scale = 560 / max(sum(bar.values()) for bar in bars.values())
    parts = []
    for row, (name, bar) in enumerate(bars.items()):
        x, y = 150.0, 50 + row * 48
        parts.append(_text(140, y + 22, name, anchor="end"))
        for place, (step, seconds) in enumerate(bar.items()):
            colour = "#9d9d9d" if step == "bare" else COLOURS[place]
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{seconds * scale:.1f}" height="34" fill="{colour}"/>')
            if seconds * scale > 34:
                parts.append(_text(x + seconds * scale / 2, y + 21, f"{seconds * 1000:.0f} ms", anchor="middle"))
            x += seconds * scale
    for place, step in enumerate(hops.alone):
        parts.append(f'<rect x="{150 + place * 150}" y="262" width="12" height="12" fill="{COLOURS[place]}"/>')
        parts.append(_text(168 + place * 150, 273, step))
    loaded = len(next(iter(hops.under_load.values())))
    caption = (
        f"{len(hops.whole)} clusters one after another; under load {loaded}, each at its time, the last one done or not"
    )
    parts.append(_text(150, 305, caption))
    return _svg(parts, "RUNNING to Secret: where the time goes; each hop with its delivery")


def _sweeps(sweeps: list[Swept]) -> str:
    """Processor time (waiting depends on the neighbours) and memory over the number of clusters, all logarithmic."""
    if len(sweeps) < 2:
        return ""
    curves = {
        "processor time, s": [(one.clusters, one.cpu) for one in sweeps],
        "peak memory, MiB": [(one.clusters, float(one.peak)) for one in sweeps],
    }
    points = [point for curve in curves.values() for point in curve]
    low, high = (math.log10(edge(y for _, y in points)) for edge in (min, max))
    low, high = math.floor(low), math.ceil(high)
    left, right = (math.log10(edge(x for x, _ in points)) for edge in (min, max))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - left) / (right - left)
        return 80 + across * 480, 290 - (math.log10(y) - low) / (high - low) * 240

    parts = []
    for power in range(low, high + 1):
        _, y = place(10**left, 10**power)
        parts.append(f'<line x1="80" y1="{y:.1f}" x2="560" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(_text(72, y + 4, f"{10**power:g}", anchor="end"))
    for x, _ in curves["processor time, s"]:
        parts.append(_text(place(x, 10**low)[0], 310, f"{x:,} clusters", anchor="middle"))
    for colour, (name, curve) in zip(COLOURS, curves.items(), strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curve))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in curve:
            spot = place(x, y)
            parts.append(f'<circle cx="{spot[0]:.1f}" cy="{spot[1]:.1f}" r="3" fill="{colour}"/>')
            parts.append(_text(spot[0], spot[1] - 8, f"{y:,.0f}" if y >= 10 else f"{y:.1f}", anchor="middle"))
        end = place(*curve[-1])
        parts.append(_text(end[0] + 26, end[1] + 4, name))
    return _svg(parts, "A sweep in which nothing differs, 100 projects")
