"""What a step says when it does not act, and the line it writes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.decisions.outcomes import access_denied, no_op, why
from shared.decisions.steps import Action
from shared.runtime import logs
from shared.values.codes import Decision
from shared.values.errors import PermanentError, RefusedError, RetryableError
from shared.values.messages import Outcome, StepRequest, truncate
from shared.values.model import GONE, Observed, State
from shared.values.target import Subject
from tests.unit.given import BLUE, EDGE, SETTINGS

ASKED = StepRequest(BLUE.name, EDGE.name, granted="x", drop_labels=frozenset({"env"}), leave="remove")


def subject(state: State) -> Subject:
    return Subject(ASKED, state, replace(BLUE, fleet_project="demo-other"))


@pytest.mark.parametrize(
    ("move", "topic"), [(Action.TO_REGISTER, "register-membership"), (Action.TO_REMOVE, "remove-secret")]
)
def test_a_turn_hands_on_the_names_and_nothing_else(move: Action, topic: str) -> None:
    [following] = no_op(move, subject(State.SELECTED), SETTINGS).next
    assert (following.topic, following.request) == (topic, StepRequest(BLUE.name, EDGE.name))


@pytest.mark.parametrize(
    ("move", "severity"), [(Action.NOTHING, "INFO"), (Action.WARN, "WARNING"), (Action.REPORT, "ERROR")]
)
def test_unchanged_objects_are_reported(move: Action, severity: str) -> None:
    outcome = no_op(move, subject(State.UNKNOWN), SETTINGS)
    assert (outcome.severity, outcome.next) == (severity, ())
    assert outcome.decision is (Decision.BLOCKED if move is Action.REPORT else Decision.NO_OP)


def test_what_is_not_ready_and_what_cannot_be_done_are_raised() -> None:
    with pytest.raises(RetryableError):
        no_op(Action.RAISE, subject(State.PROVISIONING), SETTINGS)
    with pytest.raises(PermanentError, match="in the fleet of demo-other"):
        no_op(Action.PERMANENT, subject(State.OTHER_FLEET), SETTINGS)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("observed", [BLUE, EDGE, GONE, None])
def test_every_state_has_a_reason_that_names_the_cluster(state: State, observed: Observed | None) -> None:
    assert str(BLUE.name) in why(Subject(ASKED, state, observed), SETTINGS)


def test_a_decision_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    logs.outcome(
        Outcome(Decision.HELD, State.DELETING, "it is going"),
        "remove-secret",
        ASKED,
        project="p",
        trace=trace,
        cause="é \ud800\n",
    )
    written = capsys.readouterr().out
    entry = json.loads(written)
    assert written.count("\n") == 1
    assert (entry["severity"], entry["message"], entry["step"]) == ("INFO", "it is going", "remove-secret")
    assert (entry["decision"], entry["code"]) == ("held", "deleting")
    assert entry["logging.googleapis.com/trace"] == "projects/p/traces/0af7651916cd43dd8448eb211c80319c"
    assert entry["logging.googleapis.com/labels"] == {
        "step": "remove-secret",
        "cluster": str(BLUE.name),
        "membership": str(EDGE.name),
        "cause": "é \ud800\n",
    }


@pytest.mark.parametrize("given", [None, "", "junk", "00-zz-1-01"])
def test_without_a_trace_a_new_one_is_begun(given: str | None) -> None:
    trace = logs.traceparent(given)
    assert trace != given
    assert logs.traceparent(trace) == trace


def test_a_clusters_words_never_cut_off_the_command_behind_them() -> None:
    error = access_denied(EDGE, SETTINGS, RefusedError("x" * 900))
    reason = truncate(str(error))
    assert reason == str(error)
    assert "x…)" in reason  # what was cut is marked
    assert reason.endswith("--apply")
    assert "grant-rbac@demo-fleet.iam.gserviceaccount.com,revoke-rbac@demo-fleet.iam.gserviceaccount.com" in reason
