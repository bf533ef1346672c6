"""What `ops status` says of a right deployment, of each thing that is wrong, and of what could not be read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ops.activity import Log
from ops.doctor.findings import Unread
from ops.health import ILL, WELL, Backlog, Seen, as_json, as_text, judge
from ops.terminal import UNREAD
from shared.values.settings import RemovalLimit
from tests.unit.deployment import EXPECTED, changed, right
from tests.unit.given import BLUE, BLUE_MEMBER, NOW, SELECTING, as_secret, created, secret
from tests.unit.surveys import seen as surveyed

SURVEY = surveyed(secrets=[secret()], memberships=[BLUE_MEMBER])


def status(path: str = "", change: Any = None, **more: Any) -> Seen:
    """A right deployment, with one value of what doctor reads changed, or one of what status reads."""
    observed = changed(f"delivery/{path}", change) if path else right()
    return replace(Seen(EXPECTED, observed.delivery, {}, 0, SURVEY, NOW), **more)


def test_a_right_deployment_works() -> None:
    health = judge(status())
    assert (health.code, health.problems) == (WELL, ())
    assert "Everything works." in as_text(health)
    assert {(step.function, step.subscription) for step in health.steps} == {("ACTIVE", "pushes")}


@pytest.mark.parametrize(
    ("path", "change", "command"),
    [
        ("functions/grant-rbac/state", "FAILED", "gcloud functions describe grant-rbac"),
        ("subscriptions/grant-rbac/pushConfig", {}, "python -m ops resume grant-rbac"),
        ("subscriptions/grant-rbac/pushConfig/pushEndpoint", "https://elsewhere", "python -m ops resume grant-rbac"),
        ("last_sweep", None, "gcloud pubsub topics publish sweep"),
    ],
)
def test_what_is_wrong_is_named_with_a_command(path: str, change: Any, command: str) -> None:
    health = judge(status(path, change))
    assert health.code == ILL
    assert any(problem.command.startswith(command) for problem in health.problems)
    assert any(line.strip().startswith(command) for line in as_text(health).splitlines())


def test_messages_that_wait_long_are_a_problem_and_others_are_not() -> None:
    assert judge(status(backlogs={"grant-rbac": Backlog(3, 60.0)})).code == WELL
    health = judge(status(backlogs={"grant-rbac": Backlog(3, 3600.0)}))
    assert health.code == ILL
    assert "grant-rbac: 3 messages wait, the oldest for 60 min" in health.problems[0].text
    [step] = [step for step in health.steps if step.name == "grant-rbac"]
    assert (step.messages, step.oldest_seconds) == (3, 3600.0)


def test_dead_letters_and_the_removal_limit_are_problems() -> None:
    assert judge(status(letters=1)).code == ILL
    away = replace(BLUE, labels={})
    limited = surveyed(
        [away],
        [BLUE_MEMBER],
        [as_secret(created(away))],
        settings=replace(SELECTING, max_removals=RemovalLimit(0, percent=False)),
    )
    health = judge(status(survey=limited))
    assert (health.code, health.blocked) == (ILL, 1)
    assert any(limited.plan.reached[0].hash in problem.command for problem in health.problems)


@pytest.mark.parametrize(
    "more",
    [{"backlogs": Unread("403")}, {"letters": Unread("403")}],
    ids=["backlogs", "letters"],
)
def test_what_could_not_be_read_is_unknown(more: dict[str, Any]) -> None:
    health = judge(status(**more))
    assert health.code == UNREAD
    assert "403" in as_text(health)
    assert "Everything works." not in as_text(health)


@pytest.mark.parametrize("part", ["functions", "subscriptions"])
def test_functions_and_queues_that_were_not_read_are_unknown(part: str) -> None:
    health = judge(status(part, Unread("403")))
    assert health.code == UNREAD
    assert all(getattr(step, part.removesuffix("s")) == "" for step in health.steps)


def test_secrets_and_projects_that_were_not_read_are_unknown() -> None:
    health = judge(status(survey=replace(SURVEY, secrets_unread="503")))
    assert (health.code, health.secrets, health.requests, health.blocked) == (UNREAD, None, None, None)
    assert "Differences:   unknown" in as_text(health)
    survey = surveyed(secrets=[secret()], memberships=[BLUE_MEMBER], listed=frozenset({"demo-apps"}))
    health = judge(status(survey=survey))
    assert health.code == UNREAD
    assert any("projects/demo-fleet" in problem.text for problem in health.problems)


def test_the_json_says_the_exit_code() -> None:
    document = json.loads(json.dumps(as_json(judge(status(letters=1)))))
    assert (document["exitCode"], document["letters"]) == (ILL, 1)


def test_a_cause_that_many_projects_share_is_one_problem() -> None:
    why = {
        f"apps-{each}": f"listing clusters of projects/apps-{each}: 403 denied, project 10000{each}"
        for each in range(30)
    }
    survey = replace(SURVEY, inventory=replace(SURVEY.inventory, unread={**why, "apps-x": "503 UNAVAILABLE"}))
    health = judge(status(survey=survey))
    assert [problem.unknown for problem in health.problems] == [True, True]
    assert "projects/apps-0, projects/apps-1, projects/apps-10 and 27 more could not be read" in health.problems[0].text
    assert "projects/apps-x could not be read: 503" in health.problems[1].text


def test_an_unread_log_is_one_problem() -> None:
    health = judge(status("last_sweep", Unread("logging: 503"), log=Log(unread="logging: 503")))
    assert [problem.text for problem in health.problems] == ["the log could not be read: logging: 503"]


@pytest.mark.parametrize(
    ("part", "more"),
    [("subscriptions", {}), ("functions", {}), ("", {"backlogs": Unread("503")}), ("", {"letters": Unread("503")})],
)
def test_what_could_not_be_read_says_so_and_has_a_command(part: str, more: dict[str, Any]) -> None:
    health = judge(status(part, Unread("503"), **more) if part else status(**more))
    assert health.problems
    assert all("could not be read: 503" in one.text and one.command for one in health.problems)


def test_status_names_what_the_status_page_names() -> None:
    away = replace(BLUE, labels={})
    survey = surveyed([away], [BLUE_MEMBER], settings=SELECTING)
    health = judge(status(survey=survey, expected=replace(EXPECTED, settings=SELECTING)))
    assert health.code == ILL
    assert "matches 0 of 1 cluster" in as_text(health)
    assert judge(status(log=Log(unread="403"))).code == UNREAD
