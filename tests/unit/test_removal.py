"""The sweep requests exactly what `remove_secret` does: every state, every Secret (docs/architecture.md#state-table)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.decisions.differences import differences
from shared.decisions.removal import LEAVES, Situation, acts, decide, next_removal
from shared.decisions.steps import Action
from shared.values.cluster_secret import CLUSTER_ID, HELD, MEMBERSHIP_UID
from shared.values.inventory import Inventory
from shared.values.model import State
from shared.values.selector import Selector
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NOW, SETTINGS, secret

if TYPE_CHECKING:
    from datetime import timedelta

    from shared.values.cluster_secret import ClusterSecret
    from shared.values.findings import PlannedRequest
    from shared.values.model import Cluster, Membership
    from shared.values.settings import Settings

HOLD = SETTINGS.hold
SELECTING = replace(SETTINGS, selector=Selector.parse("argocd=yes"))
GKE = {
    State.UNSELECTED: replace(BLUE, labels={}),
    State.PROVISIONING: replace(BLUE, status="PROVISIONING"),
    State.UNKNOWN: replace(BLUE, status="ERROR"),
    State.DELETING: replace(BLUE, status="STOPPING"),
    State.OTHER_FLEET: replace(BLUE, labels={"argocd": "yes"}, fleet_project="demo-other"),
    State.DELETED: None,
}
ATTACHED = {
    State.UNSELECTED: replace(EDGE, labels={}),
    State.PROVISIONING: replace(EDGE, state="CREATING"),
    State.UNKNOWN: replace(EDGE, state="ODD"),
    State.DELETING: replace(EDGE, state="DELETING"),
    State.DELETED: None,
}


def _held(reason: str, age: timedelta) -> dict[str, str]:
    since = (NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"held": f"{reason} {since} skip-reconcile=ours", "skip": "true"}


HOLDS: dict[str, dict[str, str]] = {"not held": {}, "pinned": {"keep": "true"}, "not readable": {"held": "spoilt"}}
HOLDS |= {
    f"{reason}, {name}": _held(reason, age)
    for reason in ("going", "not-wanted", "left-fleet")
    for name, age in (("new", HOLD / 2), ("old", HOLD * 2))
}


def _secret(hold: str, *, attached: bool, earlier: bool) -> ClusterSecret:
    marks = {key: value for key, value in HOLDS[hold].items() if key != "skip"}
    made = secret(None, EDGE, **marks) if attached else secret(BLUE, BLUE_MEMBER, **marks)
    annotations = dict(made.annotations)
    if "skip" in HOLDS[hold]:
        annotations["argocd.argoproj.io/skip-reconcile"] = "true"
    if earlier:
        annotations[MEMBERSHIP_UID if attached else CLUSTER_ID] = "of-an-earlier-one"
    return replace(made, annotations=annotations)


def situations() -> list[tuple[str, Situation]]:
    """Every state of a cluster that is not selected, with every Secret that we can have for it, by name."""
    return [
        (
            f"{'attached' if attached else 'gke'}, {state}, {'earlier' if earlier else 'same'}, {hold}",
            Situation(state, _secret(hold, attached=attached, earlier=earlier), attached, earlier, registered=True),
        )
        for attached, states in ((False, GKE), (True, ATTACHED))
        for state in states
        for earlier in ((False, True) if state is not State.DELETED else (False,))
        for hold in HOLDS
    ]


ALL = situations()


def rows() -> list[tuple[str, str, str]]:
    """The table as text: situation, what `remove_secret` does to the Secret now, and the `leave` that it takes."""
    table: list[tuple[str, str, str]] = []
    for name, situation in ALL:
        found = next_removal(situation, HOLD, NOW)
        table.append((name, found[0].name if found else "-", found[1] if found else ""))
    return table


@pytest.mark.parametrize(("name", "situation"), ALL, ids=[name for name, _ in ALL])
def test_the_next_removal_is_what_remove_secret_does(name: str, situation: Situation) -> None:
    able = [leave for leave in LEAVES if acts(decide(situation, leave, HOLD, NOW), situation, NOW)]
    found = next_removal(situation, HOLD, NOW)
    if found is None:
        assert not able
        return
    action, leave = found
    assert decide(situation, leave, HOLD, NOW) is action
    assert acts(action, situation, NOW)


@pytest.mark.parametrize("attached", [False, True])
def test_a_hold_dated_in_the_future_is_held_again_and_not_removed(*, attached: bool) -> None:
    reason = "left-fleet" if attached else "not-wanted"
    current = _secret(f"{reason}, new", attached=attached, earlier=False)
    dated = replace(current, annotations={**current.annotations, HELD: _held(reason, -HOLD)["held"]})
    state = State.DELETED if attached else State.UNSELECTED
    situation = Situation(state, dated, attached, registered=True)
    assert next_removal(situation, HOLD, NOW) == (Action.HOLD, "hold")
    assert not acts(decide(situation, "remove", HOLD, NOW), situation, NOW)


def _inventory(situation: Situation) -> tuple[Inventory, Settings]:
    secrets = (situation.secret,) if situation.secret else ()
    if situation.attached:
        membership: Membership | None = ATTACHED[situation.state]
        memberships = {membership.name: membership} if membership else {}
        return Inventory(secrets=secrets, memberships=memberships), SELECTING
    cluster: Cluster | None = GKE[situation.state]
    clusters = {cluster.name: cluster} if cluster else {}
    return Inventory(secrets=secrets, clusters=clusters, listed=frozenset({BLUE.name.project})), SELECTING


@pytest.mark.parametrize(("name", "situation"), ALL, ids=[name for name, _ in ALL])
def test_the_sweep_requests_what_remove_secret_does(name: str, situation: Situation) -> None:
    inventory, settings = _inventory(situation)
    found = differences(inventory, settings, central=None, now=NOW)
    asked = [each for each in found.requests if each.next.topic == "remove-secret"]
    wanted = next_removal(situation, HOLD, NOW)
    assert [each.next.request.leave for each in asked] == ([wanted[1]] if wanted else [])
    assert [_is_limited(each) for each in asked] == ([_is_a_hold_by_labels(situation, wanted[0])] if wanted else [])


def _is_limited(request: PlannedRequest) -> bool:
    return request.kind == "hold"


def _is_a_hold_by_labels(situation: Situation, action: Action) -> bool:
    return action is Action.HOLD and situation.reason != "going"


def test_a_running_cluster_loses_its_secret_in_two_passes_only() -> None:
    for name, situation in ALL:
        if situation.state in (State.UNSELECTED, State.UNKNOWN, State.PROVISIONING) and not situation.earlier:
            assert decide(situation, "", HOLD, NOW) is not Action.DELETE, name
            assert decide(situation, "hold", HOLD, NOW) is not Action.DELETE, name


def test_pinned_secrets_are_neither_held_nor_removed() -> None:
    pinned = [situation for name, situation in ALL if name.endswith("pinned")]
    assert pinned
    assert all(next_removal(situation, HOLD, NOW) is None for situation in pinned)


def test_an_attached_cluster_without_secret_is_revoked() -> None:
    situation = Situation.of_attached(State.UNSELECTED, None, EDGE)
    assert decide(situation, "", HOLD, NOW) is Action.CONTINUE
    assert decide(Situation.of_cluster(State.UNSELECTED, None, BLUE), "", HOLD, NOW) is Action.NOTHING


def test_without_a_secret_no_action_changes_anything() -> None:
    for action in Action:
        assert not acts(action, Situation(State.DELETED, None), NOW)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("earlier", [False, True])
def test_only_an_attached_cluster_without_its_membership_has_left_the_fleet(state: State, earlier: bool) -> None:
    """docs/architecture.md#removal-table: the column `hold`."""
    for attached in (False, True):
        left = attached and (state is State.DELETED or (state is State.UNSELECTED and earlier))
        expected = "left-fleet" if left else "not-wanted" if state is State.UNSELECTED else "going"
        assert Situation(state, secret(), attached, earlier).reason == expected


@pytest.mark.parametrize("reason", ["going", "left-fleet", "other-cluster"])
def test_a_long_hold_for_another_reason_removes_nothing(reason: str) -> None:
    held = secret(held=_held(reason, HOLD * 2)["held"])
    assert decide(Situation(State.UNSELECTED, held), "remove", HOLD, NOW) is Action.NOTHING
    assert decide(Situation(State.UNSELECTED, held), "hold", HOLD, NOW) is Action.HOLD
