"""What a sweep removes, how many at once, and what releases the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shared.values.codes import Limit
from shared.values.errors import RetryableError
from shared.values.messages import Scope
from shared.values.names import ClusterName, MembershipName
from tests.simulation.fleets import fleet, held, planned
from tests.simulation.given import EDGE, HELD
from tests.simulation.one_thread import one_thread_no_logs
from tests.simulation.runs import run
from tests.simulation.stories import StoryEvent

if TYPE_CHECKING:
    from tests.simulation.kubernetes import Object
    from tests.simulation.world import World

SKIP = "argocd.argoproj.io/skip-reconcile"


def test_what_is_not_wanted_leaves_in_two_sweeps() -> None:
    world = fleet(10, select="env=prod")
    world.change(ClusterName("demo-apps", "europe-west1", "c000"), labels={"env": "dev"})
    world.sweep()
    assert held(world) == ["demo-apps.europe-west1.c000"]
    world.sweep()
    assert len(world.secrets()) == 10
    world.now += timedelta(seconds=600)
    world.sweep()
    assert len(world.secrets()) == 9
    assert world.inside(ClusterName("demo-apps", "europe-west1", "c000")).objects == {}


def test_a_project_taken_out_of_the_settings_leaves_too() -> None:
    world = fleet(3)
    world.create(ClusterName("demo-fleet", "europe-west1", "stays"))
    world.sweep()
    world.settings = replace(world.settings, source_projects=frozenset({"demo-fleet"}))
    world.sweep()
    world.now += timedelta(seconds=700)
    world.sweep()
    assert set(world.secrets()) == {"demo-fleet.europe-west1.stays"}


def test_an_attached_cluster_that_left_the_fleet_leaves_in_two_sweeps() -> None:
    world = fleet(5)
    world.attach(EDGE)
    world.sweep()
    del world.memberships[EDGE]
    world.sweep()
    assert held(world) == ["demo-fleet.global.memberships.edge"]
    world.now += timedelta(seconds=700)
    world.sweep()
    assert "demo-fleet.global.memberships.edge" not in world.secrets()


def test_limit_stops_a_mistyped_selector_until_its_release() -> None:
    world = fleet(40, select="env=prod")
    world.select("env=prd")
    plan = planned(world)
    assert not plan.requests
    assert len(plan.blocked) == 40
    world.sweep()
    assert not held(world)
    world.sweep(release="0" * 16)
    assert not held(world)
    world.sweep(release=plan.reached[0].hash)
    assert len(held(world)) == 40


def test_a_plan_that_has_changed_is_not_released_by_an_old_hash() -> None:
    world = fleet(40, select="env=prod")
    world.select("env=prd")
    old = planned(world).reached[0].hash
    world.change(ClusterName("demo-apps", "europe-west1", "c000"), labels={"env": "prd"})
    world.sweep(release=old)
    assert not held(world)


def test_limit_stops_a_label_key_lost_by_the_whole_fleet() -> None:
    world = fleet(40)
    for index in range(2):
        world.change(ClusterName("demo-apps", "europe-west1", f"c{index:03}"), labels={"env": "prod"})
    world.sweep()
    assert "tier" not in world.secrets()["demo-apps.europe-west1.c000"]["metadata"]["labels"]
    for index in range(40):
        world.change(ClusterName("demo-apps", "europe-west1", f"c{index:03}"), labels={"env": "prod"})
    plan = planned(world)
    assert len(plan.blocked) == 38
    world.sweep()
    assert world.secrets()["demo-apps.europe-west1.c039"]["metadata"]["labels"]["tier"] == "web"
    world.sweep(release=plan.reached[0].hash)
    assert "tier" not in world.secrets()["demo-apps.europe-west1.c039"]["metadata"]["labels"]


def test_limit_counts_all_secrets_whatever_the_scope() -> None:
    world = fleet(40, select="env=prod")
    world.select("env=prd")
    assert planned(world, Scope(cluster=ClusterName("demo-apps", "europe-west1", "c000"))).blocked


def gone(world: World, number: int) -> None:
    """Delete clusters without their events."""
    for index in range(number):
        world.delete(ClusterName("demo-apps", "europe-west1", f"c{index:03}"))


def test_up_to_ten_missed_deletions_are_removed_without_a_person() -> None:
    world = fleet(10)
    gone(world, 10)
    world.sweep()
    assert not world.secrets()


def assert_gone_limit_waits(world: World) -> None:
    """All 20 clusters stay until a person releases the limit of 10."""
    plan = planned(world)
    assert [(reached.limit, reached.clusters, reached.allowed) for reached in plan.reached] == [(Limit.GONE, 20, 10)]
    world.sweep()
    assert len(world.secrets()) == 20
    world.sweep(release=plan.reached[0].hash)
    assert not world.secrets()


def test_more_missed_deletions_than_the_gone_limit_wait_for_a_release() -> None:
    world = fleet(20)
    gone(world, 20)
    assert_gone_limit_waits(world)


def test_secrets_of_earlier_clusters_count_against_the_gone_limit() -> None:
    """A person can edit the ids of Secrets, and a sweep then takes the clusters for re-created ones."""
    world = fleet(20, select="env=prod")
    world.select("env=prd")
    for secret in world.secrets().values():
        secret["metadata"]["annotations"]["fleet-registrar/cluster-id"] = "by hand"
    assert_gone_limit_waits(world)


def attached(number: int) -> World:
    world = fleet(10)
    for index in range(number):
        world.attach(MembershipName("demo-fleet", "global", f"edge{index}"))
    world.sweep()
    assert len(world.secrets()) == 10 + number
    return world


def test_holds_by_events_count_against_the_limit_of_attached_clusters() -> None:
    """Nobody empties the list by unregistering all attached clusters: what is held for that is not removed."""
    world = attached(8)
    for index in range(8):
        name = MembershipName("demo-fleet", "global", f"edge{index}")
        del world.memberships[name]
        world.publish("remove-secret", {"membership": str(name)})
    world.settle()
    world.now += timedelta(seconds=700)
    plan = planned(world)
    assert [(reached.limit, reached.clusters) for reached in plan.reached] == [(Limit.LEFT, 8)]
    world.sweep()
    assert len(world.secrets()) == 18


def test_requests_that_fail_leave_room_for_holds_removals_and_checks() -> None:
    """250 clusters whose Secrets others keep by hand fail in every sweep; a deleted and an unselected one still leave."""
    world = fleet(40, select="env=prod")
    world.settings = replace(world.settings, sweep_requests=20)
    for index in range(250):
        name = ClusterName("demo-apps", "europe-west1", f"x{index:03}")
        world.create(name, {"env": "prod"})
        by_hand: dict[str, Any] = {"name": name.secret_name, "uid": f"u{index}", "resourceVersion": "1"}
        by_hand = {"metadata": by_hand | {"labels": {}, "annotations": {}}}
        world.central.objects["api/v1/namespaces/argocd/secrets", name.secret_name] = by_hand
    world.delete(ClusterName("demo-apps", "europe-west1", "c000"))
    world.change(ClusterName("demo-apps", "europe-west1", "c001"), labels={"env": "dev"})
    world.sweep()
    assert "demo-apps.europe-west1.c000" not in world.secrets()
    assert held(world) == ["demo-apps.europe-west1.c001"]
    world.now += timedelta(seconds=700)
    world.sweep()
    assert "demo-apps.europe-west1.c001" not in world.secrets()


def test_a_released_plan_continues_after_a_run_that_ends_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    world = fleet(40, select="env=prod")
    world.select("env=prd")
    published, room = world.enqueue, [15]

    def enqueue(topic: str, data: bytes, attributes: dict[str, str]) -> None:
        room[0] -= topic == "remove-secret"
        if room[0] == 0:
            raise RetryableError("the instance ends here")
        published(topic, data, attributes)

    digest = planned(world).reached[0].hash
    monkeypatch.setattr(world, "enqueue", enqueue)
    world.sweep(release=digest)
    assert len(held(world)) == 40


def held_by_release() -> tuple[World, Object]:
    """One Secret, of which none may leave by itself, and which is held because a person released that."""
    world = fleet(1, select="env=prod")
    world.select("env=prd")
    world.sweep(release=planned(world).reached[0].hash)
    (secret,) = world.secrets().values()
    assert secret["metadata"]["annotations"][HELD].startswith("not-wanted ")
    return world, secret["metadata"]


def test_edited_hold_is_restored_and_not_counted_again() -> None:
    world, held_one = held_by_release()
    since = held_one["annotations"][HELD]
    del held_one["annotations"][SKIP], held_one["labels"][HELD]
    assert not planned(world).reached
    world.sweep()
    (secret,) = world.secrets().values()
    assert secret["metadata"]["annotations"][SKIP] == "true"
    assert secret["metadata"]["annotations"][HELD] == since
    assert secret["metadata"]["labels"][HELD] == "not-wanted"


@pytest.mark.parametrize("text", ["", "by hand"])
def test_hold_that_a_person_ended_counts_again(text: str) -> None:
    world, held_one = held_by_release()
    del held_one["annotations"][HELD]
    held_one["annotations"] |= {HELD: text} if text else {}
    world.now += timedelta(seconds=700)
    assert [(reached.limit, reached.clusters, reached.allowed) for reached in planned(world).reached] == [
        (Limit.LEAVING, 1, 0)
    ]
    world.sweep()
    (secret,) = world.secrets().values()
    assert secret["metadata"]["annotations"].get(HELD, "") == text


def test_simulation_does_not_count_an_edited_hold_again() -> None:
    story = [
        StoryEvent(0.0, "settings", "", {"selector": "tier"}),
        StoryEvent(100.0, "attach", "shop", {"labels": {"env": "prod", "tier": "web"}}),
        StoryEvent(1500.0, "relabel_attached", "shop", {"labels": {}}),
        StoryEvent(1800.0, "release", "", {}),
        StoryEvent(2000.0, "edit", "shop", {"what": "skip"}),
    ]
    with one_thread_no_logs():
        assert run(0, story, {}).violation == ""
