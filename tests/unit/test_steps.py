"""The table of states, every row and every step, compared with `decisions` (docs/architecture.md#state-table)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shared.decisions import removal, steps
from shared.decisions.removal import Situation
from shared.decisions.steps import Action, MembershipAction
from shared.values.model import GONE, Cluster, Gone, Membership, State
from shared.values.names import ClusterName, MembershipName
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NOW, SETTINGS, secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.values.cluster_secret import ClusterSecret

OURS = secret()
PINNED = secret(keep="true")
AT_EDGE = secret(None, EDGE)
PINNED_AT_EDGE = secret(None, EDGE, keep="true")


def held(reason: str, minutes: float, *, base: Callable[..., ClusterSecret] = secret, **more: str) -> ClusterSecret:
    since = (NOW - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return base(held=f"{reason} {since} skip-reconcile=ours", **more)


def remove(
    state: State, current: ClusterSecret | None, leave: Any = "", *, earlier: bool = False, registered: bool = False
) -> Action:
    situation = Situation(state, current, earlier=earlier, registered=registered)
    return removal.decide(situation, leave, SETTINGS.hold, NOW)


def remove_attached(state: State, current: ClusterSecret | None, leave: Any = "", *, earlier: bool = False) -> Action:
    situation = Situation(state, current, attached=True, earlier=earlier, registered=True)
    return removal.decide(situation, leave, SETTINGS.hold, NOW)


# One column a line: the cell of the table's row for a step, with a Secret of ours or without.
STEPS: dict[str, Callable[[State], Action]] = {
    "register": lambda state: steps.REGISTER[state],
    "grant": lambda state: steps.GRANT[state],
    "write": lambda state: steps.write(state, None),
    "write+S": lambda state: steps.write(state, OURS),
    "write+pin": lambda state: steps.write(state, PINNED),
    "remove": lambda state: remove(state, None),
    "remove+M": lambda state: remove(state, None, registered=True),
    "remove+S": lambda state: remove(state, OURS, registered=True),
    "remove+E": lambda state: remove(state, OURS, earlier=True),
    "remove+pin": lambda state: remove(state, PINNED),
    "remove+pinE": lambda state: remove(state, PINNED, earlier=True),
    "revoke": lambda state: steps.revoke(state, secret_left=False),
    "revoke+S": lambda state: steps.revoke(state, secret_left=True),
    "unregister": steps.unregister,
}

# +S: our Secret is there; +pin: it is pinned; +E: it was written for an earlier cluster of that name, which is gone;
# +M: no Secret, but a membership. All of `remove` here is an event's: without `leave`.
TABLE = """            | SELECTED    | UNSELECTED | PROVISIONING | UNKNOWN | DELETING  | DELETED    | NOT_SOURCE | OTHER_FLEET | CENTRAL
register    | ONBOARD     | NOTHING    | NOTHING      | WARN    | NOTHING   | TO_REMOVE  | NOTHING    | PERMANENT   | NOTHING
grant       | ONBOARD     | NOTHING    | RAISE        | WARN    | NOTHING   | NOTHING    | NOTHING    | PERMANENT   | NOTHING
write       | WRITE       | NOTHING    | RAISE        | NOTHING | NOTHING   | TO_REMOVE  | NOTHING    | REPORT      | NOTHING
write+S     | WRITE       | NOTHING    | RAISE        | NOTHING | TO_REMOVE | TO_REMOVE  | NOTHING    | REPORT      | NOTHING
write+pin   | WRITE       | NOTHING    | RAISE        | NOTHING | TO_REMOVE | TO_REMOVE  | NOTHING    | REPORT      | NOTHING
remove      | TO_REGISTER | NOTHING    | NOTHING      | NOTHING | NOTHING   | CONTINUE   | NOTHING    | REPORT      | NOTHING
remove+M    | TO_REGISTER | CONTINUE   | NOTHING      | NOTHING | NOTHING   | CONTINUE   | NOTHING    | REPORT      | NOTHING
remove+S    | TO_REGISTER | NOTHING    | NOTHING      | NOTHING | HOLD      | DELETE     | NOTHING    | REPORT      | NOTHING
remove+E    | TO_REGISTER | DELETE     | HOLD         | HOLD    | DELETE    | DELETE     | NOTHING    | REPORT      | NOTHING
remove+pin  | TO_REGISTER | REPORT     | REPORT       | REPORT  | REPORT    | REPORT     | REPORT     | REPORT      | REPORT
remove+pinE | TO_REGISTER | REPORT     | REPORT       | REPORT  | REPORT    | REPORT     | REPORT     | REPORT      | REPORT
revoke      | TO_REGISTER | REVOKE     | NOTHING      | NOTHING | NOTHING   | CONTINUE   | NOTHING    | NOTHING     | NOTHING
revoke+S    | TO_REGISTER | NOTHING    | NOTHING      | NOTHING | NOTHING   | NOTHING    | NOTHING    | NOTHING     | NOTHING
unregister  | TO_REGISTER | CONTINUE   | NOTHING      | NOTHING | NOTHING   | UNREGISTER | NOTHING    | NOTHING     | NOTHING
"""


def cells(table: str) -> list[tuple[str, State, Action]]:
    head, *rows = ([cell.strip() for cell in line.split("|")] for line in table.strip("\n").splitlines())
    return [(row[0], State[state], Action[move]) for row in rows for state, move in zip(head[1:], row[1:], strict=True)]


@pytest.mark.parametrize(("step", "state", "move"), cells(TABLE), ids=str)
def test_the_table_of_states(step: str, state: State, move: Action) -> None:
    assert STEPS[step](state) is move


def test_the_table_is_whole() -> None:
    assert {(step, state) for step, state, _ in cells(TABLE)} == {(step, state) for step in STEPS for state in State}


# What a sweep's `leave` does to the Secret of a cluster that lives and is not wanted. HOLD is 600 s.
LEAVE = """Secret             | ''      | hold    | remove
not held           | NOTHING | HOLD    | NOTHING
not-wanted, 11 min | NOTHING | NOTHING | DELETE
not-wanted, 10 min | NOTHING | NOTHING | DELETE
not-wanted, 9 min  | NOTHING | NOTHING | NOTHING
not-wanted, -9 min | NOTHING | HOLD    | NOTHING
going, 11 min      | NOTHING | HOLD    | NOTHING
left-fleet, 11 min | NOTHING | HOLD    | NOTHING
spoilt             | NOTHING | HOLD    | NOTHING
no time zone       | NOTHING | HOLD    | NOTHING
pinned             | REPORT  | REPORT  | REPORT
pinned, held       | REPORT  | REPORT  | REPORT
"""
SPECIAL: dict[str, Callable[[], ClusterSecret]] = {
    "not held": secret,
    "spoilt": lambda: secret(held="not-wanted since yesterday"),
    "no time zone": lambda: secret(held="not-wanted 2026-11-24T00:00:00 skip-reconcile=ours"),
    "pinned": lambda: PINNED,
    "pinned, held": lambda: held("not-wanted", 11, keep="true"),
}


def leave_cells(table: str) -> list[tuple[str, str, Action]]:
    head, *rows = ([cell.strip() for cell in line.split("|")] for line in table.strip("\n").splitlines())
    return [
        (row[0], leave.strip("'"), Action[move]) for row in rows for leave, move in zip(head[1:], row[1:], strict=True)
    ]


def current_as(words: str, base: Callable[..., ClusterSecret] = secret) -> ClusterSecret:
    if words in SPECIAL:
        return SPECIAL[words]()
    reason, minutes = words.removesuffix(" min").split(", ")
    return held(reason, float(minutes), base=base)


@pytest.mark.parametrize(("words", "leave", "move"), leave_cells(LEAVE))
def test_an_unselected_cluster_leaves_in_two_passes(words: str, leave: str, move: Action) -> None:
    assert remove(State.UNSELECTED, current_as(words), leave) is move


@pytest.mark.parametrize("state", sorted(set(State) - {State.UNSELECTED}, key=str))
@pytest.mark.parametrize("leave", ["hold", "remove"])
@pytest.mark.parametrize("words", ["not held", "not-wanted, 11 min", "going, 11 min"])
def test_leave_changes_nothing_for_a_cluster_in_any_other_state(state: State, leave: str, words: str) -> None:
    current = current_as(words)
    assert remove(state, current, leave) is remove(state, current)


@pytest.mark.parametrize(
    ("words", "move"), [("not held", "NOTHING"), ("going, 1 min", "RELEASE"), ("not-wanted, 1 min", "NOTHING")]
)
def test_hold_for_going_is_released_in_an_unknown_state(words: str, move: str) -> None:
    assert remove(State.UNKNOWN, current_as(words)) is Action[move]


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("registered", [True, False])
def test_an_event_never_removes_the_secret_of_a_cluster_that_is_not_gone(state: State, registered: bool) -> None:
    for words in ("not held", "not-wanted, 99 min", "going, 99 min", "left-fleet, 99 min"):
        move = remove(state, current_as(words), registered=registered)
        assert (move is Action.DELETE) is (state is State.DELETED)


# An attached cluster lives on when its membership is gone: an event sets it aside, the sweep removes it.
ATTACHED = """                            | SELECTED    | UNSELECTED | PROVISIONING | UNKNOWN | DELETING | DELETED | CENTRAL
no Secret                   | TO_REGISTER | CONTINUE   | NOTHING      | NOTHING | NOTHING  | NOTHING | NOTHING
no Secret, leave remove     | TO_REGISTER | CONTINUE   | NOTHING      | NOTHING | NOTHING  | NOTHING | NOTHING
Secret                      | TO_REGISTER | NOTHING    | NOTHING      | NOTHING | HOLD     | HOLD    | NOTHING
Secret, leave hold          | TO_REGISTER | HOLD       | NOTHING      | NOTHING | HOLD     | HOLD    | NOTHING
Secret, leave remove        | TO_REGISTER | NOTHING    | NOTHING      | NOTHING | HOLD     | HOLD    | NOTHING
held going                  | TO_REGISTER | NOTHING    | NOTHING      | RELEASE | HOLD     | HOLD    | NOTHING
held going, leave remove    | TO_REGISTER | NOTHING    | NOTHING      | RELEASE | HOLD     | HOLD    | NOTHING
held left                   | TO_REGISTER | NOTHING    | NOTHING      | NOTHING | HOLD     | NOTHING | NOTHING
held left, leave hold       | TO_REGISTER | HOLD       | NOTHING      | NOTHING | HOLD     | NOTHING | NOTHING
held left, leave remove     | TO_REGISTER | NOTHING    | NOTHING      | NOTHING | HOLD     | DELETE  | NOTHING
held unwanted, leave remove | TO_REGISTER | DELETE     | NOTHING      | NOTHING | HOLD     | HOLD    | NOTHING
earlier                     | TO_REGISTER | HOLD       | HOLD         | HOLD    | HOLD     | HOLD    | NOTHING
earlier, leave remove       | TO_REGISTER | HOLD       | HOLD         | HOLD    | HOLD     | HOLD    | NOTHING
earlier left, leave remove  | TO_REGISTER | DELETE     | HOLD         | HOLD    | HOLD     | DELETE  | NOTHING
pinned                      | TO_REGISTER | REPORT     | REPORT       | REPORT  | REPORT   | REPORT  | REPORT
pinned, leave remove        | TO_REGISTER | REPORT     | REPORT       | REPORT  | REPORT   | REPORT  | REPORT
"""


def at_edge(**annotations: str) -> ClusterSecret:
    return secret(None, EDGE, **annotations)


@pytest.mark.parametrize(("words", "state", "move"), cells(ATTACHED), ids=str)
def test_an_attached_cluster_leaves_by_the_sweep_alone(words: str, state: State, move: Action) -> None:
    what, _, asked = words.partition(", leave ")
    standings: dict[str, Callable[[], ClusterSecret | None]] = {
        "no Secret": lambda: None,
        "Secret": lambda: AT_EDGE,
        "held going": lambda: held("going", 11, base=at_edge),
        "held left": lambda: held("left-fleet", 11, base=at_edge),
        "held unwanted": lambda: held("not-wanted", 11, base=at_edge),
        "earlier": lambda: AT_EDGE,
        "earlier left": lambda: held("left-fleet", 11, base=at_edge),
        "pinned": lambda: PINNED_AT_EDGE,
    }
    assert remove_attached(state, standings[what](), asked, earlier=what.startswith("earlier")) is move


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("earlier", [True, False])
def test_no_event_removes_an_attached_clusters_secret(state: State, earlier: bool) -> None:
    for base in (AT_EDGE, held("left-fleet", 99, base=at_edge), held("going", 99, base=at_edge)):
        assert remove_attached(state, base, earlier=earlier) is not Action.DELETE


def test_a_left_fleet_hold_must_be_older_than_hold() -> None:
    assert remove_attached(State.DELETED, held("left-fleet", 9, base=at_edge), "remove") is Action.NOTHING


MINE = BLUE.name.membership("demo-fleet")
FOREIGN_NAME = MembershipName("demo-fleet", "europe-west1", "blue")
OTHER = ClusterName("demo-apps", "europe-west4", "blue")
AUTO = replace(BLUE_MEMBER, name=FOREIGN_NAME, labels={})
SAYS_AUTO = replace(BLUE, fleet_project="demo-fleet", membership=FOREIGN_NAME)
EARLIERS = {**BLUE_MEMBER.labels, "fleet-registrar-cluster-id": "b" * 40}


@pytest.mark.parametrize(
    ("cluster", "found", "expected"),
    [
        pytest.param(BLUE, None, MembershipAction.CREATE, id="none"),
        pytest.param(BLUE, GONE, MembershipAction.CREATE, id="gone"),
        pytest.param(BLUE, BLUE_MEMBER, MembershipAction.USE, id="ours"),
        pytest.param(SAYS_AUTO, AUTO, MembershipAction.USE, id="GKE's own"),
        pytest.param(
            SAYS_AUTO, replace(AUTO, labels=EARLIERS | {"managed-by": "x"}), MembershipAction.USE, id="not our mark"
        ),
        pytest.param(BLUE, replace(BLUE_MEMBER, state="CREATING"), MembershipAction.WAIT, id="not ready"),
        pytest.param(BLUE, replace(BLUE_MEMBER, state="DELETING"), MembershipAction.WAIT, id="going"),
        pytest.param(BLUE, replace(BLUE_MEMBER, labels=EARLIERS), MembershipAction.REPLACE, id="an earlier cluster's"),
        pytest.param(
            replace(BLUE, membership=MINE),
            replace(BLUE_MEMBER, labels=EARLIERS),
            MembershipAction.REPLACE,
            id="named, an earlier's",
        ),
        pytest.param(replace(BLUE, id=""), BLUE_MEMBER, MembershipAction.USE, id="an unknown id proves nothing"),
        pytest.param(BLUE, replace(BLUE_MEMBER, cluster=OTHER), MembershipAction.UNMANAGED, id="another cluster's"),
        pytest.param(BLUE, replace(BLUE_MEMBER, cluster=None), MembershipAction.UNMANAGED, id="an attached cluster's"),
        pytest.param(SAYS_AUTO, replace(AUTO, cluster=OTHER), MembershipAction.MISMATCH, id="named, names another"),
        pytest.param(SAYS_AUTO, replace(AUTO, cluster=None), MembershipAction.MISMATCH, id="named, names none"),
    ],
)
def test_the_membership_for_a_cluster(
    cluster: Cluster, found: Membership | Gone | None, expected: MembershipAction
) -> None:
    assert steps.membership_for(cluster, found) is expected


@pytest.mark.parametrize(
    ("membership", "cluster", "ours"),
    [
        pytest.param(BLUE_MEMBER, GONE, True, id="ours, gone"),
        pytest.param(BLUE_MEMBER, BLUE, False, id="ours, alive"),
        pytest.param(BLUE_MEMBER, replace(BLUE, status="ERROR"), False, id="ours, in error"),
        pytest.param(BLUE_MEMBER, replace(BLUE, id="c" * 64), True, id="ours, of an earlier cluster"),
        pytest.param(BLUE_MEMBER, replace(BLUE, id=""), False, id="an unknown id proves nothing"),
        pytest.param(AUTO, GONE, False, id="GKE's own"),
        pytest.param(replace(BLUE_MEMBER, labels={"managed-by": "fleet-registrar"}), GONE, False, id="without the id"),
        pytest.param(replace(BLUE_MEMBER, cluster=OTHER), GONE, False, id="names another cluster"),
        pytest.param(replace(BLUE_MEMBER, cluster=None), GONE, False, id="an attached cluster's"),
    ],
)
def test_only_what_we_made_for_a_cluster_that_is_gone_is_deleted(
    membership: Membership, cluster: Cluster | Gone, ours: bool
) -> None:
    assert steps.made_for_gone(membership, cluster, BLUE.name) is ours


@pytest.mark.parametrize("named", ["a", "b"])
def test_the_membership_that_the_cluster_names_comes_first_in_a_list(named: str) -> None:
    two = [replace(AUTO, name=replace(AUTO.name, membership=name), cluster=BLUE.name) for name in ("a", "b")]
    cluster = replace(BLUE, membership=replace(AUTO.name, membership=named))
    found = steps.membership_in_list(cluster, two)
    assert found is not None
    assert found.name == cluster.membership
