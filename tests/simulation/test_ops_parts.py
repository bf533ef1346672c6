"""What the operator's commands conclude when a part cannot be read, and how long they wait for it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ops.explain import LETTER_SECONDS, collect, read_letters
from ops.explanation import explain
from ops.partial import LISTS_SECONDS, SECONDS, shortly, survey_in_parts
from ops.plan import unread
from ops.terminal import UNREAD
from shared.clients import deadline
from shared.decisions.sweep_plan import Plan
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from tests.simulation.given import BLUE, EDGE, OWN, SECRET, onboarded
from tests.simulation.test_ops import services

if TYPE_CHECKING:
    from ops.explanation import Explanation
    from tests.simulation.world import World


def broken(world: World, *calls: str) -> World:
    """The world, in which the calls that contain one of these texts are refused."""

    def fail(phase: str, call: str) -> None:
        if phase == "before" and any(each in call for each in calls):
            raise RetryableError("503 Unavailable", ErrorCode.UNAVAILABLE)

    world.touch = fail
    return world


def explained(world: World, name: Any = BLUE) -> Explanation:
    used = services(world)
    return explain(collect(name, survey_in_parts(used), used, []))


@pytest.mark.parametrize(
    ("changes", "what", "project"),
    [
        ({"missing_zones": {"demo-apps": frozenset({"europe-west1-b"})}}, "projects/demo-apps", "demo-apps"),
        ({"unreachable": frozenset({"global"})}, "projects/demo-fleet/locations/-/memberships", "demo-fleet"),
        ({"unreadable": {BLUE: "no id"}}, str(BLUE), "demo-apps"),
        ({"unreadable": {EDGE: "no id"}}, str(EDGE), "demo-fleet"),
        ({"unread": {"demo-apps": "403"}}, "projects/demo-apps", "demo-apps"),
    ],
)
def test_what_a_list_leaves_out_is_unread(changes: dict[str, Any], what: str, project: str) -> None:
    """Nothing may be concluded there, so `plan` ends with 3."""
    seen = survey_in_parts(services(onboarded()))
    seen = replace(seen, inventory=replace(seen.inventory, **changes))
    other = {"demo-apps": "demo-fleet", "demo-fleet": "demo-apps"}[project]
    settings = services(onboarded()).settings
    assert [*unread(seen, settings)] == [*unread(seen, settings, project)] == [what]
    assert unread(seen, settings, other) == {}


@pytest.mark.parametrize("part", ["gateway list", "gkehub list"])
def test_without_the_secrets_or_the_fleet_nothing_is_planned(part: str) -> None:
    world = broken(onboarded(), part)
    world.clusters.pop(BLUE)
    seen = survey_in_parts(services(world))
    assert (seen.plan, seen.is_planned) == (Plan(), False)


def test_our_secret_behind_an_unread_list_is_not_advised_away() -> None:
    """It has the name that ours would have, because it is ours."""
    found = str(explained(broken(onboarded(), "gateway list")))
    assert "kubectl -n argocd delete" not in found
    assert "503" in found


def test_a_cluster_that_does_not_answer_leaves_the_other_parts() -> None:
    world = onboarded()
    explanation = explained(broken(world, f"gateway get {world.settings.gateway_url(OWN, gke=True)}"))
    assert explanation.code == UNREAD
    assert "503" in str(explanation)
    assert SECRET in str(explanation)


def test_a_deleted_cluster_with_an_unread_fleet_has_an_unknown_membership() -> None:
    world = onboarded()
    world.delete(BLUE)
    used = services(broken(world, "gkehub"))
    evidence = collect(BLUE, survey_in_parts(used), used, [])
    assert "503" in evidence.membership_unread


def test_unread_applications_are_unknown_where_a_hold_makes_them_matter() -> None:
    world = onboarded()
    world.change(BLUE, status="STOPPING")
    world.publish("remove-secret", {"cluster": str(BLUE)})
    world.settle()
    lists = 0

    def fail(phase: str, call: str) -> None:
        nonlocal lists
        lists += phase == "before" and call.startswith("gateway list")
        if lists > 2:  # the two lists of Secrets come first
            raise RetryableError("503 Unavailable")

    world.touch = fail
    seen = survey_in_parts(services(world))
    assert (seen.is_planned, seen.applications, "503" in seen.applications_unread) == (True, (), True)


def test_a_part_has_some_seconds() -> None:
    assert shortly(lambda: deadline.remaining(60), seconds=45, each=5) == 5
    assert shortly(lambda: deadline.remaining(60), seconds=3) <= 3
    with pytest.raises(RetryableError) as raised:
        shortly(lambda: deadline.remaining(60), "reading x", 0)
    assert raised.value.code is ErrorCode.TIMED_OUT


def test_each_answer_of_a_list_has_some_seconds_and_all_lists_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    now, left = [1_000.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    world = onboarded()

    def slow(phase: str, call: str) -> None:
        if phase == "before" and " list" in call:
            left.append(deadline.remaining(1e9))
            now[0] += LISTS_SECONDS / 2 + 1

    world.touch = slow
    seen = survey_in_parts(services(world))
    assert left
    assert max(left) <= SECONDS
    assert not seen.is_planned
    assert len(left) == 2  # the others found no time left


def test_the_dead_letters_are_read_within_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    left = []

    def peek(_services: object) -> list[Any]:
        left.append(deadline.remaining(1e9))
        raise TimeoutError

    monkeypatch.setattr("ops.explain.peek", peek)
    found, why = read_letters(services(onboarded()))
    assert left[0] <= LETTER_SECONDS
    assert (found, bool(why)) == ([], True)
