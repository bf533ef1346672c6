"""Everything that a sweep has read, as one value, and the lists that it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from shared.values.cluster_secret import ClusterSecret
from shared.values.model import Cluster, Membership
from shared.values.names import EVERYWHERE, ClusterName, MembershipName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """A list: the items, the places that the API left out of it, and the items that cannot be read (name → why)."""

    items: Sequence[T] = ()
    missing: frozenset[str] = frozenset()
    unreadable: Mapping[Any, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The content of all lists: our Secrets and others', the memberships and the clusters.

    `listed` are the projects that were read; `missing_zones` (by project) and `unreachable` (locations of the fleet) are what
    the answers leave out; `unread` says why a project was not read, `unreadable` why one cluster or membership in a list
    cannot be read: nothing is concluded about that one, and its neighbours count.
    """

    secrets: Sequence[ClusterSecret] = ()
    unmanaged: tuple[ClusterSecret, ...] = ()
    memberships: Mapping[MembershipName, Membership] = field(default_factory=dict)
    unreachable: frozenset[str] = frozenset()
    clusters: Mapping[ClusterName, Cluster] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    missing_zones: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    unreadable: Mapping[ClusterName | MembershipName, str] = field(default_factory=dict)

    def knows(self, name: ClusterName) -> bool:
        """Whether the cluster would be here if it existed: its project was read, and nothing of its location is missing.

        A zone that is missing also hides the clusters of its region.
        """
        missing = self.missing_zones.get(name.project, frozenset())
        hidden = EVERYWHERE in missing or any(
            zone == name.location or zone.startswith(f"{name.location}-") or name.location.startswith(f"{zone}-")
            for zone in missing
        )
        return name.project in self.listed and not hidden and name not in self.unreadable

    def knows_membership(self, name: MembershipName) -> bool:
        """Whether the membership would be here if it existed."""
        return not {name.location, EVERYWHERE} & self.unreachable and name not in self.unreadable
