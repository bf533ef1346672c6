"""The lines that functions log, as entries of Cloud Logging."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.google.run.state import Service

Json = dict[str, Any]

MOST_BYTES = 20_000_000  # read from the end of one function's log
# A line's field → the entry's own field (https://cloud.google.com/logging/docs/structured-logging).
_SPECIAL = {
    "logging.googleapis.com/trace": "trace",
    "logging.googleapis.com/spanId": "spanId",
    "logging.googleapis.com/labels": "labels",
}


def entries(service: Service, log: Path) -> Iterator[Json]:
    """Return the lines that a function has logged, as Cloud Run hands them to Cloud Logging."""
    if not log.exists():
        return
    with log.open("rb") as file:
        place = file.seek(max(0, file.seek(0, 2) - MOST_BYTES))
        lines = file.read().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()  # it is being written
    changed = datetime.fromtimestamp(log.stat().st_mtime, UTC).isoformat()
    for raw in lines:
        line, insert_id = raw.decode(errors="replace").rstrip("\r\n"), f"{service.short}-{place:012}"
        place += len(raw)
        try:
            payload = json.loads(line)
        except ValueError:
            payload = line
        entry: Json = {
            "insertId": insert_id,
            "resource": service.monitored_resource,
        }
        if isinstance(payload, dict):
            entry["logName"] = f"projects/{service.project}/logs/run.googleapis.com%2Fstdout"
            time = str(payload.pop("time", changed))
            entry["severity"] = payload.pop("severity", "DEFAULT")
            entry |= {ours: payload.pop(name) for name, ours in _SPECIAL.items() if name in payload}
            entry["jsonPayload"] = payload
        else:
            entry["logName"] = f"projects/{service.project}/logs/run.googleapis.com%2Fstderr"
            time, entry["textPayload"] = changed, line
        entry["timestamp"] = entry["receiveTimestamp"] = time.replace("+00:00", "Z")
        yield entry
