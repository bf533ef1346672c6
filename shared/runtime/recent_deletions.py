"""Which clusters were deleted recently: `route-event` then ignores the deletion of their memberships (docs/decisions/0012)."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Final

from shared.values.names import MembershipName

# By then our chain has deleted the membership.
KEPT_FOR: Final = timedelta(minutes=10)
_KEPT: Final = 1000


class RecentDeletions:
    """The memberships of the clusters whose deletion this process has routed, each with the time.

    The chain of the deleted cluster also deletes its membership, so the event of that deletion needs no second chain.
    Thread-safe. Keeps the last 1,000; a forgotten one costs a redundant message.
    """

    def __init__(self) -> None:
        self._deleted: dict[MembershipName, datetime] = {}
        self._lock = threading.Lock()

    def note(self, membership: MembershipName, now: datetime) -> None:
        """Note that the cluster whose membership would have this name is deleted."""
        with self._lock:
            self._deleted.pop(membership, None)
            self._deleted[membership] = now
            while len(self._deleted) > _KEPT:
                del self._deleted[next(iter(self._deleted))]

    def forget(self, membership: MembershipName) -> None:
        """Forget the deletion, because a cluster of that name exists again and needs its membership."""
        with self._lock:
            self._deleted.pop(membership, None)

    def take(self, membership: MembershipName, now: datetime) -> bool:
        """Return whether the cluster's deletion was noted less than KEPT_FOR ago, and forget it: it covers one event."""
        with self._lock:
            noted = self._deleted.pop(membership, None)
        return noted is not None and timedelta() <= now - noted < KEPT_FOR
