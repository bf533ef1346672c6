"""Sweeps on lists that lie: empty, refused, broken, partial, late. Nothing may be removed or held because of them.

A list may say anything here; the GET of one cluster says what is true, or nothing. `test_lies_together.py` has the
answers in which both deny a cluster that lives.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from shared.values.errors import RetryableError
from shared.values.names import ClusterName, MembershipName
from tests.simulation.ports import CENTRAL
from tests.simulation.world import World

if TYPE_CHECKING:
    from shared.values.model import Cluster, Membership

LIES = ("true", "true", "empty", "403", "503", "partial", "stale", "shortened")


class Lying(World):
    """A world whose lists lie, each as it likes."""

    lies: tuple[str, ...] = ("true",)
    random = Random(0)

    def _lie(self) -> str:
        lie = self.random.choice(self.lies)
        if lie in ("403", "503"):
            raise RetryableError(lie)
        return lie

    def seen_clusters(self, project: str) -> tuple[list[Cluster], frozenset[str]]:
        lie = self._lie()
        found = [cluster for name, cluster in self.clusters.items() if name.project == project]
        match lie:
            case "partial":
                zones = frozenset(self.random.sample(("europe-west1-b", "europe-west1-c", "europe-west4-a"), 2))
                hidden = [c for c in found if any(zone.startswith(c.name.location) for zone in zones)]
                return [cluster for cluster in found if cluster not in hidden], zones
            case "empty" | "stale":
                return [], frozenset()
            case "shortened":
                return found[: len(found) // 2], frozenset()
        return found, frozenset()

    def seen_in_list(self, name: ClusterName) -> bool:
        return name in self.clusters if self._lie() in ("true", "partial") else False

    def seen_cluster(self, name: ClusterName) -> Cluster | None:
        if self.lies != ("true",) and self.random.random() < 0.2:
            raise RetryableError("503")
        return self.clusters.get(name)

    def seen_memberships(self) -> tuple[list[Membership], frozenset[str]]:
        lie = self._lie()
        found = [*self.memberships.values()]
        match lie:
            case "partial":
                return [m for m in found if m.name.location != "global"], frozenset({"global"})
            case "empty" | "stale":
                return [], frozenset()
            case "shortened":
                return found[: len(found) // 2], frozenset()
        return found, frozenset()

    def seen_in_fleet(self, name: MembershipName) -> bool:
        return name in self.memberships if self._lie() in ("true", "partial") else False


def sweeps(count: int, seed: int) -> tuple[int, int]:
    """Sweep so often on lists that lie. Returns how many messages that made, and how many things were removed or held."""
    world = Lying()
    world.random = Random(seed)
    world.select("env")
    for project, location, name in (
        ("demo-apps", "europe-west1", "blue"),
        ("demo-apps", "europe-west1-b", "green"),
        ("demo-fleet", "europe-west1", "navy"),
        ("demo-fleet", "europe-west4", "red"),
    ):
        world.create(ClusterName(project, location, name), {"env": "prod"})
    edge = world.attach(MembershipName("demo-fleet", "global", "edge"), {"env": "prod"})
    world.sweep()
    before = _snapshot(world)
    assert len(world.secrets()) == 5
    wrong = 0
    for _ in range(count):
        world.lies = LIES
        world.publish("sweep", {})
        for _ in range(30):  # what is raised is delivered again: some of it, the rest is left to the next sweep
            if not world.queue:
                break
            world.deliver(world.queue.pop(0))
        world.queue.clear()
        world.now += world.settings.hold
        world.memberships[edge.name] = replace(edge, last_connection=world.now)
        if _snapshot(world) != before:
            wrong += 1
            before = _snapshot(world)
        world.calls.clear()
    return len(world.published), wrong


def _snapshot(world: World) -> object:
    """What there is, by name, and which versions: nothing differs, so nothing is written either."""
    inside = {id_: cluster.writes for id_, cluster in world.kubernetes.items()}
    versions = {name: stored["metadata"]["resourceVersion"] for name, stored in world.secrets().items()}
    assert CENTRAL in world.clusters
    return inside, versions, {name: m.unique_id for name, m in world.memberships.items()}
