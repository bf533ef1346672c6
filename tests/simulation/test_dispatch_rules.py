"""Rules of a delivery: changes that come together, chains that circle, expiry, and what a line says."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import flask
import pytest
from werkzeug.exceptions import ServiceUnavailable

from functions import write_secret
from shared.clients import deadline
from shared.runtime import dispatch
from shared.runtime.dispatch import Dispatcher
from shared.values.codes import Decision, ErrorCode, FindingCode
from shared.values.errors import PermanentError, RetryableError
from shared.values.messages import MIN_REVERSAL_AGE, SWEEP_REQUEST_TTL, Message, Outcome
from tests.simulation.given import BLUE, OWN, onboarded
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

CHANGE = {"cluster": str(BLUE)}
SECOND = timedelta(seconds=1)
Capture = pytest.CaptureFixture[str]


class Waiting(WorldServices):
    """Counts how often a step waits for the gateway's quota."""

    waits = 0

    def wait_for_gateway(self) -> None:
        self.waits += 1


def worked(
    world: World,
    body: dict[str, Any] = CHANGE,
    age: timedelta = timedelta(),
    dispatcher: Dispatcher | None = None,
    **attributes: str,
) -> tuple[Outcome, int]:
    """The outcome of a message to write-secret, and how often it waited for the gateway's quota."""
    services = Waiting(world)
    dispatcher = dispatcher or Dispatcher(lambda: services)
    work: Any = dispatcher.work("write-secret", write_secret.run)
    return work(Message(json.dumps(body).encode(), attributes, "m1", world.now - age), services, ""), services.waits


def dispatcher_of(world: World) -> Dispatcher:
    return Dispatcher(lambda: WorldServices(world))


def test_changes_of_one_cluster_become_one_read() -> None:
    """docs/architecture.md#churn."""
    world = onboarded()
    one = dispatcher_of(world)
    first, waits = worked(world, dispatcher=one)
    assert (first.decision, waits) == (Decision.UNCHANGED, 1)
    world.calls.clear()
    covered, waits = worked(world, age=2 * SECOND, dispatcher=one)
    assert (covered.code, waits, world.calls) == (FindingCode.READ_SINCE, 0, [])
    with pytest.raises(RetryableError) as raised:
        worked(world, dispatcher=one)
    assert raised.value.code is ErrorCode.READ_JUST_NOW
    world.now += timedelta(seconds=5)
    assert worked(world, dispatcher=one)[0].decision is Decision.UNCHANGED
    assert worked(world, age=2 * SECOND, dispatcher=dispatcher_of(world))[0].decision is Decision.UNCHANGED


def test_a_covered_change_does_not_count_as_a_read() -> None:
    world = onboarded()
    one = dispatcher_of(world)
    worked(world, dispatcher=one)
    world.now += timedelta(seconds=4)
    worked(world, age=6 * SECOND, dispatcher=one)
    world.now += timedelta(seconds=1)
    assert worked(world, dispatcher=one)[0].decision is Decision.UNCHANGED


def test_the_line_of_a_change_names_the_event_that_subscribers_get(capsys: Capture) -> None:
    world = onboarded()
    world.change(BLUE, labels={"env": "dev"})
    capsys.readouterr()
    worked(world)
    assert last_line(capsys)["event"] == "dev.fleet-registrar.cluster.changed.v1"
    world.now += timedelta(minutes=1)
    worked(world)
    assert "event" not in last_line(capsys)


def test_a_read_that_failed_covers_nothing() -> None:
    world = onboarded()
    one = dispatcher_of(world)
    world.lost_agents.add(world.settings.central_membership)
    for _ in range(2):
        with pytest.raises(RetryableError) as raised:
            worked(world, dispatcher=one)
        assert raised.value.code is not ErrorCode.READ_JUST_NOW


@pytest.mark.parametrize(("age", "circles"), [(timedelta(), True), (MIN_REVERSAL_AGE, False)])
def test_a_fresh_proof_that_does_not_hold_is_retried(age: timedelta, circles: bool) -> None:
    """docs/architecture.md#proof-of-a-grant: so that there is no fast loop."""
    world = World()
    world.create(BLUE)
    world.join(BLUE, OWN)
    world.published.clear()
    body = {**CHANGE, "granted": "forged"}
    if circles:
        with pytest.raises(RetryableError) as raised:
            worked(world, body, age)
        assert raised.value.code is ErrorCode.STALE_GRANT
        assert world.published == []
    else:
        assert worked(world, body, age)[0].decision is Decision.NEEDS_GRANT
        assert [topic for topic, _, _ in world.published] == ["grant-rbac"]


def test_a_proof_for_an_earlier_identity_is_granted_again_at_once() -> None:
    world = onboarded()
    proof = next(body for topic, body, _ in world.published if topic == "write-secret" and body.get("granted"))
    world.settings = replace(world.settings, argocd_service_account="argocd2@demo-fleet.iam.gserviceaccount.com")
    world.published.clear()
    worked(world, proof)
    assert [topic for topic, _, _ in world.published] == ["grant-rbac"]


@pytest.mark.parametrize(("over", "expired"), [(timedelta(), False), (SECOND, True)])
def test_a_sweeps_request_expires_after_an_hour(over: timedelta, expired: bool) -> None:
    world = onboarded()
    sweeps: Any = {"requested-by": "sweep"}
    if expired:
        with pytest.raises(PermanentError) as raised:
            worked(world, age=SWEEP_REQUEST_TTL + over, **sweeps)
        assert raised.value.code is ErrorCode.EXPIRED
    else:
        assert worked(world, age=SWEEP_REQUEST_TTL + over, **sweeps)[0].decision is Decision.UNCHANGED


def test_a_chain_that_reversed_may_reverse_again_after_a_minute() -> None:
    world = onboarded()
    world.delete(BLUE)
    with pytest.raises(RetryableError) as raised:
        worked(world, age=MIN_REVERSAL_AGE - SECOND, reversed="true")
    assert raised.value.code is ErrorCode.REVERSED_TWICE
    world.published.clear()
    worked(world, age=MIN_REVERSAL_AGE, reversed="true")
    assert [topic for topic, _, _ in world.published] == ["remove-secret"]


@dataclass
class Pushed:
    data: Any

    def __getitem__(self, name: str) -> Any:
        return {"id": "e1"}[name]

    def get_attributes(self) -> dict[str, Any]:
        return {}


def answered(world: World, name: str, work: Any, attempt: int = 0, **attributes: str) -> None:
    data = base64.b64encode(json.dumps(CHANGE).encode()).decode()
    message = {"data": data, "attributes": attributes, "messageId": "m1", "publishTime": world.now.isoformat()}
    pushed = {"message": message, **({"deliveryAttempt": attempt} if attempt else {})}
    with flask.Flask("x").test_request_context(method="POST", json=pushed):
        dispatcher_of(world).answer(name, Pushed({"message": message}), work)


def last_line(capsys: Capture) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


@pytest.mark.parametrize(
    ("name", "seconds"), [("sweep", deadline.SWEEP_SECONDS), ("write-secret", deadline.STEP_SECONDS)]
)
def test_a_step_and_a_sweep_have_their_own_time(name: str, seconds: float) -> None:
    """docs/architecture.md#answers-of-apis."""
    left: list[float] = []
    answered(World(), name, lambda *_: left.append(deadline.remaining(10_000)))
    assert seconds - 100 < left[0] <= seconds


def failing(error: Exception) -> Any:
    def work(*_: object) -> None:
        deadline.note_gateway_request()
        raise error

    return work


@pytest.mark.parametrize(
    ("step", "since", "seconds"),
    [("grant-rbac", True, 4.0), ("grant-rbac", False, None), ("remove-secret", True, None)],
)
def test_the_line_of_a_letter_has_the_seconds_that_an_onboarding_lost(
    capsys: Capture, step: str, since: bool, seconds: float | None
) -> None:
    world = World()
    started: Any = {"since": (world.now - timedelta(seconds=4)).isoformat()} if since else {}
    answered(world, step, failing(PermanentError("x", ErrorCode.UNMANAGED_BINDING)), 3, **started)
    line = last_line(capsys)
    assert (line["decision"], line.get("seconds"), line["attempt"]) == ("dead_lettered", seconds, 3)
    assert line["gateway_requests"] == 1


def test_a_line_without_an_attempt_has_no_number_of_attempts(capsys: Capture) -> None:
    answered(World(), "grant-rbac", failing(PermanentError("x", ErrorCode.UNMANAGED_BINDING)))
    line = last_line(capsys)
    assert "attempt" not in line
    assert "attempts" not in line


def test_a_request_of_a_sweep_that_cannot_succeed_is_dropped(capsys: Capture) -> None:
    world = World()
    error = failing(PermanentError("x", ErrorCode.UNMANAGED_BINDING))
    sweeps: Any = {"requested-by": "sweep"}
    answered(world, "grant-rbac", error, **sweeps)
    assert (last_line(capsys)["decision"], world.dead) == ("dropped", [])
    answered(world, "grant-rbac", error)
    assert (last_line(capsys)["decision"], len(world.dead)) == ("dead_lettered", 1)


def test_an_unexpected_error_is_logged_and_delivered_again(capsys: Capture) -> None:
    with pytest.raises(ZeroDivisionError):
        answered(World(), "grant-rbac", failing(ZeroDivisionError()), 1)
    line = last_line(capsys)
    assert (line["severity"], line["decision"], line["code"]) == ("ERROR", "retry", "unexpected")
    with pytest.raises(ServiceUnavailable):
        answered(World(), "grant-rbac", failing(RetryableError("x")), 1)
    assert last_line(capsys)["severity"] == "WARNING"


def test_an_entry_point_runs_the_function_of_its_name() -> None:
    """Only a step gets a parsed request and publishes what follows."""
    world = onboarded()
    world.published.clear()

    def write_secret(_event: Any) -> None:
        """Declared as main.py declares it."""

    def route_event(_event: Any) -> None:
        """Declared as main.py declares it."""

    dispatcher = dispatcher_of(world)
    data = base64.b64encode(json.dumps(CHANGE).encode()).decode()
    world.change(BLUE, labels={"env": "dev"})
    with flask.Flask("x").test_request_context():
        dispatcher.entry_point(write_secret)(Pushed({"message": {"data": data}}))
    assert world.secrets()[BLUE.secret_name]["metadata"]["labels"]["env"] == "dev"
    with flask.Flask("x").test_request_context():
        dispatcher.entry_point(route_event)(Pushed({"message": {"data": data}}))
    assert world.published == []
    assert not world.dead


def test_the_limit_of_attempts_is_the_settings() -> None:
    world = World()
    error = failing(RetryableError("x", ErrorCode.UNAVAILABLE))
    with pytest.raises(ServiceUnavailable):
        answered(world, "grant-rbac", error, world.settings.delivery_attempts - 1)
    answered(world, "grant-rbac", error, world.settings.delivery_attempts)
    assert [letter.attributes["code"] for letter in world.dead] == ["unavailable"]
    assert dispatch._attempt() == 0
