"""What a plain HTTP request to the local cloud gets."""

from __future__ import annotations

import urllib.error
import urllib.request


def http_status(request: urllib.request.Request) -> int:
    """Send a request past every proxy and return the HTTP status."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
