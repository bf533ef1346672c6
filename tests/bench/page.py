"""The status page of a large fleet: time to its first byte beside the bare lists, bytes, and the memory of the function."""

from __future__ import annotations

import json
import urllib.request

from tests.bench.sweep import apis, child
from tests.bench.table import Noise, Row

CLUSTERS = 10_000
HOLD_SWEEPS, HOLD_BYTES, HOLD_MEBIBYTES = 3, 1_000_000, 512


def measured(clusters: int, noise: Noise) -> list[Row]:
    """The rows of one fleet."""
    with apis(clusters, drift=True) as url:
        noise.sample()
        figures = child("tests.bench.one_page", [url], "")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/asked") as answer:
            asked = [one for one in json.load(answer) if is_list(one)]
        noise.sample()
        swept = child("tests.bench.one_sweep", [url], "")
        bare = child("tests.bench.one_sweep", [url, "--fetch"], json.dumps(asked))
        noise.sample()
    what = f"status page: {clusters:,} clusters"
    ratio = figures["first"] / swept["seconds"]
    return [
        Row(
            f"{what}: first byte",
            f"{figures['first']:.1f} s; {figures['again'] * 1000:.0f} ms for the visitors of the next 15 s",
            f"a sweep: {swept['seconds']:.1f} s; the same {len(asked)} pages fetched and thrown away: {bare['seconds']:.1f} s",
            ratio,
            f"<= {HOLD_SWEEPS} sweeps",
            ratio <= HOLD_SWEEPS,
        ),
        Row(
            f"{what}: bytes",
            f"{figures['bytes'] / 1000:,.0f} kB",
            f"status.json: {figures['json_bytes'] / 1e6:.1f} MB",
            hold=f"< {HOLD_BYTES // 1_000_000} MB",
            ok=figures["bytes"] < HOLD_BYTES,
            binding=True,
        ),
        Row(
            f"{what}: peak memory",
            f"{figures['peak']} MiB",
            f"{figures['before']} MiB with the clients imported",
            hold=f"<= {HOLD_MEBIBYTES} MiB",
            ok=figures["peak"] <= HOLD_MEBIBYTES,
            binding=True,
        ),
        Row(
            f"{what}: shown",
            f"{figures['clusters']:,} clusters",
            "; ".join(figures["unknown"]) or "everything could be read",
            hold="all",
            ok=figures["clusters"] >= clusters and not figures["unknown"],
            binding=True,
        ),
    ]


def is_list(path: str) -> bool:
    """Whether a request was for a page of clusters, memberships or Secrets."""
    return path.partition("?")[0].endswith(("/clusters", "/memberships", "/secrets"))
