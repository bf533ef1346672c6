"""Logs: one JSON line per decision, in the fields that Cloud Logging knows. No tokens, no Secret data, no environment.

https://cloud.google.com/logging/docs/structured-logging
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from datetime import UTC, datetime
from typing import Any

from shared.decisions.cluster_events import CloudEvent
from shared.values.codes import Decision
from shared.values.errors import ReconcileError
from shared.values.messages import Outcome, StepRequest
from shared.values.objects import Object
from shared.values.version import VERSION

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def traceparent(given: str | None) -> str:
    """Return the W3C trace context that came along, or a new one."""
    if given and _TRACEPARENT.fullmatch(given):
        return given
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def line(
    severity: str,
    step: str,
    message: str,
    *,
    project: str = "",
    trace: str = "",
    labels: dict[str, str] | None = None,
    **fields: Any,
) -> None:
    """Write one line to standard output."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    entry: Object = {"time": time, "severity": severity, "message": message, "step": step, "version": VERSION}
    entry |= fields
    if (found := _TRACEPARENT.fullmatch(trace)) is not None:
        entry["logging.googleapis.com/trace"] = f"projects/{project}/traces/{found[1]}"
        entry["logging.googleapis.com/spanId"] = found[2]
    entry["logging.googleapis.com/labels"] = {
        "step": step,
        **{key: value for key, value in (labels or {}).items() if value},
    }
    sys.stdout.write(json.dumps(entry) + "\n")  # ASCII only, because input may contain unpaired surrogates
    sys.stdout.flush()


def failure(severity: str, step: str, error: ReconcileError, *, decision: Decision, **fields: Any) -> None:
    """Write the line of a step that failed."""
    if error.status:
        fields["status"] = error.status
    line(severity, step, str(error), decision=decision, code=error.code, **fields)


def names(request: StepRequest | None) -> dict[str, str]:
    """The cluster and the membership that a request names, as labels."""
    return request.names if request else {}


def outcome(
    outcome: Outcome,
    step: str,
    request: StepRequest,
    *,
    project: str,
    trace: str,
    cause: str,
    event: CloudEvent | None = None,
    requests: int = 0,
) -> None:
    """Write the line of a step's decision, with the event that subscribers got, and its requests to Connect Gateway."""
    fields: Object = {} if event is None else event.log_fields
    line(
        outcome.severity,
        step,
        outcome.message,
        project=project,
        trace=trace,
        labels={**names(request), "cause": cause},
        decision=outcome.decision,
        code=outcome.code,
        next=[message.topic for message in outcome.next],
        gateway_requests=requests,
        **fields,
    )
