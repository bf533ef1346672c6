"""Several changes of one cluster within seconds become one read: what a process remembers between messages."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Final

from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.messages import StepRequest

PAUSE: Final = timedelta(seconds=5)
# A read covers a message that was published at least this long before: clocks differ a little.
MARGIN: Final = timedelta(seconds=1)
_KEPT: Final = 1000


class RecentReads:
    """When this process last began to read each cluster, for requests that name a cluster and nothing else.

    `route-event` sends these for changes; a request with more in it is never held back. Only finished reads count: their
    next messages are published. Thread-safe. Holds the last 1,000 clusters; a forgotten one costs a redundant read.
    """

    def __init__(self) -> None:
        self._began: dict[StepRequest, datetime] = {}
        self._lock = threading.Lock()

    def covers(self, request: StepRequest, published: datetime | None, now: datetime) -> bool:
        """True if a read began after the message was published, so it has seen the change.

        Raises RetryableError if the last read is younger than PAUSE: the redelivery covers every change in between.
        """
        with self._lock:
            began = self._began.get(request)
        if began is None or not _is_change(request):
            return False
        if published is not None and published < began - MARGIN:
            return True
        if timedelta() <= now - began < PAUSE:
            raise RetryableError(
                f"{request.cluster} was read less than {PAUSE.seconds} s ago: it is read again later, for all changes"
                " in between",
                ErrorCode.READ_JUST_NOW,
            )
        return False

    def finished(self, request: StepRequest, began: datetime) -> None:
        """Note a read that began at `began`, after its next message is published."""
        if not _is_change(request):
            return
        with self._lock:
            latest = max(began, self._began.pop(request, began))
            self._began[request] = latest
            while len(self._began) > _KEPT:
                del self._began[next(iter(self._began))]


def _is_change(request: StepRequest) -> bool:
    return request.cluster is not None and request == StepRequest(request.cluster)
