"""Reads what the status page shows, with the identity of the process. Writes nothing and leases no dead letter."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ops import activity, explain
from ops.activity import FAILURES, Log
from ops.doctor.api import Api, RefusedError, attempt
from ops.doctor.expected import Expected
from ops.doctor.findings import Read, Unread
from ops.doctor.observed import at
from ops.doctor.reading_cluster import gateway_limit, gateway_peak
from ops.doctor.reading_google import Reader, member_of
from ops.evidence import Evidence
from ops.health import Backlog, Seen
from ops.pace import GATEWAY_REQUESTS
from ops.page.board import Board, Budget, build
from ops.partial import SECONDS, survey_in_parts
from ops.survey import find, operator
from shared.runtime.services import Services
from shared.values.codes import Decision
from shared.values.messages import DEAD_LETTERS
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

T = TypeVar("T")

LOOK_BACK: Final = timedelta(days=1)
# Cloud Monitoring has these samples after some minutes (metrics list of Pub/Sub).
SAMPLES: Final = timedelta(minutes=10)
METRICS: Final = {"messages": "num_undelivered_messages", "oldest": "oldest_unacked_message_age"}
ENTRIES: Final = 300
SWEEPS: Final = 10
# Visitors who click from page to page see one reading; Cloud Logging takes 60 reads a minute in a project.
FRESH_SECONDS: Final = 15.0
NOT_LEASED: Final = "reading leases them, so this page does not. See: python -m ops dead-letters list"


def read_board(services: Services, letters: Callable[[], Read[int]] | None = None) -> Board:
    """Read everything at a time. `letters` counts the dead letters; by default Cloud Monitoring does."""
    expected = Expected(services.settings)
    identity = operator(services)
    api = Api(services.session, os.environ, SECONDS)
    reader = Reader(api, expected, member_of(identity))
    now = services.now()
    with ThreadPoolExecutor(6) as pool:

        def start(read: Callable[[], T]) -> Any:
            return pool.submit(contextvars.copy_context().run, read)

        survey = start(lambda: survey_in_parts(services))
        counted = start(letters) if letters is not None else None
        backlogs = start(lambda: attempt(lambda: read_backlogs(api, expected.project, now), reader.member))
        log = start(lambda: read_log(api, expected.project, now))
        budget = start(lambda: _budget(api, services.settings.fleet_project, now))
        delivery = reader.chain(now)
        waiting: Read[Mapping[str, Backlog]] = backlogs.result()
        number = counted.result() if counted is not None else _letters(waiting)
        seen = Seen(expected, delivery, waiting, number, survey.result(), services.now(), log.result())
        return build(seen, budget.result(), identity)


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


def _letters(backlogs: Read[Mapping[str, Backlog]]) -> Read[int]:
    return backlogs if isinstance(backlogs, Unread) else backlogs.get(DEAD_LETTERS, Backlog()).messages


def read_log(api: Api, project: str, now: datetime) -> Log:
    """Return what the functions logged in the last day: three calls, whatever the number of clusters."""
    since = now - LOOK_BACK

    def entries(body: Object) -> tuple[activity.Entry, ...]:
        return activity.parse(api.entries(body))

    try:
        return Log(
            entries(activity.recent_query(project, since, ENTRIES)),
            entries(activity.decided_query(project, FAILURES, since, ENTRIES)),
            entries(activity.decided_query(project, [Decision.SWEPT], since, SWEEPS)),
        )
    except RefusedError as error:
        return Log(unread=str(error))


def _budget(api: Api, project: str, now: datetime) -> Budget:
    peak = attempt(lambda: gateway_peak(api, project, now), "")
    limit = attempt(lambda: gateway_limit(api, project), "")
    return Budget(
        peak=None if isinstance(peak, Unread) else peak,
        limit=GATEWAY_REQUESTS if isinstance(limit, Unread) else limit,
        unread="; ".join(one.why for one in (peak, limit) if isinstance(one, Unread)),
    )


class Live:
    """The deployment as it is now: a reading serves all visitors of some seconds."""

    def __init__(self, connect: Callable[[], Services], fresh: float = FRESH_SECONDS) -> None:
        self._connect = connect
        self._fresh = fresh
        self._lock = threading.Lock()
        self._services: Services | None = None
        self._board: tuple[float, Board] | None = None

    def board(self) -> Board:
        """Return a reading that is not older than some seconds. Raises ReconcileError for wrong settings."""
        services = self._connected()
        with self._lock:
            if self._board is None or time.monotonic() - self._board[0] > self._fresh:
                self._board = time.monotonic(), read_board(services)
            return self._board[1]

    def _connected(self) -> Services:
        with self._lock:
            if self._services is None:
                self._services = self._connect()
            return self._services

    def evidence(self, text: str) -> Evidence:
        """Read the evidence about one cluster, as `ops explain` does. Raises MistakeError if no cluster has the name."""
        board = self.board()
        services = self._connected()
        seen = board.seen.survey
        name = find(text, seen, dict(services.settings.numbers))
        return explain.collect(name, seen, services, [], NOT_LEASED)
