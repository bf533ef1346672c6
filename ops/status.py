"""`ops status`: whether functions and queues work, what waits, and what is wrong. Reads only, with the operator's identity."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from ops.dead_letter_subscription import peek
from ops.doctor.api import Api, attempt
from ops.doctor.expected import Expected
from ops.doctor.findings import Read, Unread
from ops.doctor.observed import at
from ops.doctor.reading_google import Reader
from ops.health import Backlog, Seen, as_json, as_text, judge
from ops.partial import SECONDS, shortly, survey_in_parts
from ops.survey import connected, operator
from ops.terminal import MistakeError
from shared.values.errors import ReconcileError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from datetime import datetime

    from ops.letters import DeadLetter
    from shared.runtime.services import Services

LETTER_SECONDS: Final = 10.0
# Cloud Monitoring has these samples after some minutes (metrics list of Pub/Sub).
SAMPLES: Final = timedelta(minutes=10)
METRICS: Final = {"messages": "num_undelivered_messages", "oldest": "oldest_unacked_message_age"}


def run(options: argparse.Namespace) -> int:
    """Show the status; 0 everything works, 2 something is wrong, 3 something could not be read."""
    services = connected()
    expected = Expected(services.settings)
    api = Api(services.session, os.environ, SECONDS)
    reader = Reader(api, expected, _member(services))
    now = services.now()
    with ThreadPoolExecutor(4) as pool:
        survey = pool.submit(survey_in_parts, services)
        letters = pool.submit(_letters, services)
        backlogs = pool.submit(attempt, lambda: read_backlogs(api, expected.project, now), reader.member)
        delivery = reader.delivery(now)
        seen = Seen(expected, delivery, backlogs.result(), letters.result(), survey.result(), services.now())
    health = judge(seen)
    print(json.dumps(as_json(health), indent=2) if options.json else as_text(health))
    return health.code


def read_backlogs(api: Api, project: str, now: datetime) -> Mapping[str, Backlog]:
    """Return what waits in each subscription, from Cloud Monitoring's last samples. Raises RefusedError."""
    found: dict[str, dict[str, float]] = {}
    for key, metric in METRICS.items():
        series = api.pages(
            "monitoring",
            f"v3/projects/{project}/timeSeries",
            "timeSeries",
            **{
                "filter": f'metric.type="pubsub.googleapis.com/subscription/{metric}" AND resource.type="pubsub_subscription"',
                "interval.startTime": (now - SAMPLES).isoformat(),
                "interval.endTime": now.isoformat(),
            },
        )
        for one in series:
            name = str(at(one, "resource", "labels", "subscription_id"))
            found.setdefault(name, {})[key] = _newest(one.get("points"))
    return {name: Backlog(int(one.get("messages", 0)), one.get("oldest", 0.0)) for name, one in found.items()}


def _newest(points: Any) -> float:
    """Return the value of the newest point: Cloud Monitoring sends the newest first."""
    value = at(points[0], "value") if isinstance(points, list) and points else None
    number = at(value, "int64Value") or at(value, "doubleValue") or 0
    return float(number)


def _letters(services: Services) -> Read[tuple[DeadLetter, ...]]:
    try:
        return tuple(shortly(lambda: peek(services), "reading the dead letters", LETTER_SECONDS))
    except (ReconcileError, MistakeError) as error:
        return Unread(str(error))


def _member(services: Services) -> str:
    email = operator(services)
    return f"{'serviceAccount' if email.endswith('gserviceaccount.com') else 'user'}:{email}" if "@" in email else ""
