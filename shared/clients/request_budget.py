"""Spreads an instance's requests to Connect Gateway over time, so that a burst of clusters stays within the fleet's quota.

The gateway takes 2,400 requests a minute for a whole fleet project
(https://cloud.google.com/kubernetes-engine/enterprise/multicluster-management/gateway/quotas). Instances do not know of each
other, so each has its share (`GATEWAY_REQUESTS`). A step waits before it begins and never between its calls: what it has
read would grow old. So its own requests may overdraw the budget, and the next step waits for that.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from shared.clients import deadline
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError

if TYPE_CHECKING:
    from collections.abc import Callable

# A step may wait for half of its time (deadline.STEP_SECONDS) and must do its work in the other half.
LONGEST_WAIT: Final = 100.0
# One sixth of a minute's share may be used at once: after a quiet time nobody waits for the first clusters.
BURST_SECONDS: Final = 10.0


class RequestBudget:
    """The requests that are left now: up to a burst after a quiet time, below zero where steps have overdrawn it.

    `a_minute` is the most in any minute, apart from what the running steps overdraw; 0 means no limit.
    """

    def __init__(
        self,
        a_minute: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._burst = max(1.0, a_minute * BURST_SECONDS / 60)
        self._a_second = (a_minute - self._burst) / 60 if a_minute > self._burst else a_minute / 60
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._left, self._at = self._burst, clock()

    def wait(self) -> None:
        """Wait until a step may begin. Raises RetryableError if that takes too long: the message is delivered again."""
        while (seconds := self._missing_seconds()) > 0.001:  # below the clock's resolution
            if seconds > deadline.remaining(LONGEST_WAIT):
                raise RetryableError(
                    f"this instance has used its share of Connect Gateway's quota (GATEWAY_REQUESTS) for {seconds:.0f} s ahead:"
                    " the message is delivered again",
                    ErrorCode.RATE_LIMITED,
                )
            self._sleep(seconds)

    def spend(self) -> None:
        """Count one request."""
        with self._lock:
            self._refill()
            self._left -= 1

    def exhaust(self) -> None:
        """The gateway refuses requests (429), because others use the quota as well: the steps of this instance wait."""
        with self._lock:
            self._refill()
            self._left = min(self._left, -self._a_second * BURST_SECONDS)

    def _missing_seconds(self) -> float:
        with self._lock:
            if not self._a_second:
                return 0.0
            self._refill()
            return max(0.0, (1.0 - self._left) / self._a_second)

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._a_second)
        self._at = now
