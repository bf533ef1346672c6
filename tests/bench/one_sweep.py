"""One sweep in a process of its own, so that its memory is its own: the real function on the real clients.

Only what is not counted is replaced: the identity (a token), and Pub/Sub (requests are counted). With `--fetch` the same
pages are fetched and thrown away: the floor of the time.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

import urllib3
from google.oauth2.credentials import Credentials

from functions import sweep
from shared.runtime.services import Services
from shared.values import settings
from shared.values.messages import Message
from tests.bench.fleet_apis import ENVIRONMENT, WRITTEN

if TYPE_CHECKING:
    from collections.abc import Mapping


class CountingBus:
    """Counts what would be published."""

    def __init__(self) -> None:
        self.topics: list[str] = []

    def publish(self, _topic: str, _data: bytes, _attributes: Mapping[str, str]) -> None:
        """Take an event: it is no request."""

    def publish_object(self, topic: str, _body: Mapping[str, Any], _attributes: Mapping[str, str]) -> None:
        """Count one request."""
        self.topics.append(topic)


class SweepServices(Services):
    """The real services, with a token for an identity."""

    @functools.cached_property
    def credentials(self) -> Credentials:
        return Credentials(token="a-token")


def mebibytes() -> int:
    """The most memory that this process has had; `ru_maxrss` is in KiB on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def swept(url: str) -> dict[str, Any]:
    """Sweep once, and tell what it took."""
    endpoints = ("CONTAINER", "GKEHUB", "CONNECTGATEWAY")
    overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": f"{url}/" for name in endpoints}
    services = SweepServices(settings.load(ENVIRONMENT | overrides))
    services.bus = bus = CountingBus()
    services.gke, services.fleet, services.gateway  # noqa: B018 - the imports are counted as cold start, not here
    before = mebibytes()
    began, worked = time.perf_counter(), time.process_time()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        plan = sweep.run(Message(b"{}", {}, "1", WRITTEN), services, "")
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - worked,
        "before": before,
        "peak": mebibytes(),
        "requests": len(plan.requests),
        "checks": plan.counts.get("check", 0),
        "findings": len(plan.findings),
        "published": len(bus.topics),
    }


def fetched(url: str, pages: list[str]) -> dict[str, Any]:
    """Fetch the pages and throw them away."""
    pool = urllib3.PoolManager()
    began = time.perf_counter()
    size = sum(len(pool.request("GET", url + page, timeout=60.0).data) for page in pages)
    return {"seconds": time.perf_counter() - began, "bytes": size, "peak": mebibytes()}


def main() -> None:
    """Do one of the two, and print it as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--fetch", action="store_true", help="the pages to fetch come on standard input")
    options = parser.parse_args()
    measured = fetched(options.url, json.load(sys.stdin)) if options.fetch else swept(options.url)
    print(json.dumps(measured))  # noqa: T201


if __name__ == "__main__":
    main()
