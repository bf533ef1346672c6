"""The deletion of a cluster and that of its membership are one departure: what `route-event` remembers between events."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Final

from shared.values.names import MembershipName

# By then our chain has deleted the membership, and a sweep is due soon.
KEPT_FOR: Final = timedelta(minutes=10)
_KEPT: Final = 1000


class RecentDeletions:
    """The memberships of the clusters whose deletion this process has routed, each with the time.

    The chain of the deleted cluster deletes its membership. The event of that needs no chain of its own.
    Thread-safe. Holds the last 1,000; a forgotten one costs a redundant message.
    """

    def __init__(self) -> None:
        self._deleted: dict[MembershipName, datetime] = {}
        self._lock = threading.Lock()

    def note(self, membership: MembershipName, now: datetime) -> None:
        """Note that the cluster for which we would make this membership is deleted."""
        with self._lock:
            self._deleted.pop(membership, None)
            self._deleted[membership] = now
            while len(self._deleted) > _KEPT:
                del self._deleted[next(iter(self._deleted))]

    def forget(self, membership: MembershipName) -> None:
        """Forget it: a cluster of that name exists again, and its membership must not be missing."""
        with self._lock:
            self._deleted.pop(membership, None)

    def take(self, membership: MembershipName, now: datetime) -> bool:
        """True if its cluster's deletion was noted less than KEPT_FOR ago. A membership is deleted once: forget it then."""
        with self._lock:
            noted = self._deleted.pop(membership, None)
        return noted is not None and timedelta() <= now - noted < KEPT_FOR
