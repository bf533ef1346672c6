"""The status page of one fleet in a process of its own, so that its memory is its own: the real page on the real clients.

As in `one_sweep`, only the identity is replaced. The page is asked for over HTTP: first with nothing read, then once more.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import threading
import time
from typing import Any

from ops.page.reading import Live
from ops.serve import open_server
from shared.values import settings
from tests.bench.fleet_apis import ENVIRONMENT
from tests.bench.one_sweep import SweepServices, mebibytes

LISTS = ("CONTAINER", "GKEHUB", "CONNECTGATEWAY")
OTHERS = ("CLOUDFUNCTIONS", "CLOUDSCHEDULER", "LOGGING", "MONITORING", "PUBSUB", "SERVICEUSAGE")


def shown(url: str) -> dict[str, Any]:
    """Serve the page, ask for it, and return what it took."""
    overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": f"{url}/" for name in (*LISTS, *OTHERS)}
    os.environ.update(overrides)  # the page reads most APIs by their overrides in the environment
    services = SweepServices(settings.load(ENVIRONMENT | overrides))
    services.gke, services.fleet, services.gateway, services.session  # noqa: B018 - the imports are counted as cold start
    before = mebibytes()
    with open_server(Live(lambda: services, fresh=3600.0)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        first, size, _ = _asked(server.server_port, "/")
        again, _, _ = _asked(server.server_port, "/?q=c009999&size=500")
        seconds, whole, body = _asked(server.server_port, "/status.json")
        server.shutdown()
    status = json.loads(body)
    return {
        "first": first,
        "again": again,
        "json": seconds,
        "bytes": size,
        "json_bytes": whole,
        "before": before,
        "peak": mebibytes(),
        "clusters": status["counts"]["all"],
        "unknown": [one["text"] for one in status["problems"] if one["unknown"]],
    }


def _asked(port: int, path: str) -> tuple[float, int, bytes]:
    """Return the seconds to the first byte, the size and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    seconds = time.perf_counter() - began
    body = answer.read()
    assert answer.status == 200, body[:500]
    connection.close()
    return seconds, len(body), body


def main() -> None:
    """Show it, and print what it took as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    print(json.dumps(shown(parser.parse_args().url)))  # noqa: T201


if __name__ == "__main__":
    main()
