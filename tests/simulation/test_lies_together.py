"""GET and list both deny clusters that live: a sweep's limit bounds the damage, and the truth repairs all of it.

No proof holds against an API that lies twice. So what a sweep believes gone counts against a limit of its own.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from shared.decisions import sweep_plan
from shared.decisions.sweep_plan import Plan
from shared.values.names import ClusterName, MembershipName
from tests.simulation.one_thread import one_thread_no_logs, replaced
from tests.simulation.seeds import draw_seed
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.values.findings import Differences
    from shared.values.model import Cluster, Membership

CLUSTERS = 60


class Denying(World):
    """A world whose APIs deny some clusters and memberships, in every answer."""

    denied: frozenset[ClusterName | MembershipName] = frozenset()

    def seen_cluster(self, name: ClusterName) -> Cluster | None:
        return None if name in self.denied else super().seen_cluster(name)

    def seen_clusters(self, project: str) -> tuple[list[Cluster], frozenset[str]]:
        found, missing = super().seen_clusters(project)
        return [cluster for cluster in found if cluster.name not in self.denied], missing

    def seen_in_list(self, name: ClusterName) -> bool:
        return name not in self.denied and super().seen_in_list(name)

    def seen_membership(self, name: MembershipName) -> Membership | None:
        return None if name in self.denied else super().seen_membership(name)

    def seen_memberships(self) -> tuple[list[Membership], frozenset[str]]:
        found, missing = super().seen_memberships()
        return [membership for membership in found if membership.name not in self.denied], missing

    def seen_in_fleet(self, name: MembershipName) -> bool:
        return name not in self.denied and super().seen_in_fleet(name)


def onboarded(*, attached: int = 0) -> Denying:
    world = Denying()
    for number in range(CLUSTERS):
        world.create(ClusterName("demo-apps", "europe-west1", f"c{number:02}"), {"env": "prod"})
    for number in range(attached):
        world.attach(MembershipName("demo-fleet", "global", f"a{number:02}"), {"env": "prod"})
    sweep(world)
    assert len(world.secrets()) == CLUSTERS + attached
    return world


def sweep(world: World) -> None:
    world.publish("sweep", {})
    world.settle(3000)


def deny(world: Denying, names: Iterable[ClusterName | MembershipName]) -> None:
    world.denied = frozenset(names)


def gke(world: Denying) -> list[ClusterName]:
    return sorted(name for name in world.clusters if name.cluster != "central")


@pytest.mark.parametrize(("denied", "removed"), [(10, 10), (15, 15), (16, 0), (CLUSTERS, 0)])
def test_a_sweep_removes_at_most_a_quarter(denied: int, removed: int) -> None:
    world = onboarded()
    deny(world, gke(world)[:denied])
    sweep(world)
    assert len(world.secrets()) == CLUSTERS - removed
    deny(world, ())
    sweep(world)
    assert len(world.secrets()) == CLUSTERS


def test_attached_clusters_that_the_fleet_denies_are_held_at_most() -> None:
    world = onboarded(attached=20)
    deny(world, [name for name, member in world.memberships.items() if member.cluster is None])
    for _ in range(4):
        sweep(world)
        world.now += world.settings.hold
    assert len(world.secrets()) == CLUSTERS + 20


def test_random_denials_never_pass_the_limit_and_are_repaired() -> None:
    seed = draw_seed()
    random = Random(seed)
    with one_thread_no_logs():
        world = onboarded()
        for _ in range(8):
            before = len(world.secrets())
            deny(world, random.sample(gke(world), random.randint(0, CLUSTERS)))
            sweep(world)
            assert len(world.secrets()) >= before - max(10, before // 4), f"seed {seed}"
        deny(world, ())
        sweep(world)
        sweep(world)
    assert len(world.secrets()) == CLUSTERS, f"seed {seed}"
    for name in gke(world):
        assert world.inside(name).objects, f"seed {seed}: {name} has no binding"


def test_without_the_limit_a_denial_of_all_would_empty_the_list() -> None:
    def none(found: Differences, _: object) -> Plan:
        return Plan(found.requests, found.findings)

    world = onboarded()
    deny(world, gke(world))
    with replaced((sweep_plan, "limit", none)):
        sweep(world)
    assert world.secrets() == {}
