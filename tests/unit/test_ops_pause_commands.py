"""`ops pause` and `ops resume`: the push configuration that is written, restored and shown, and what an API refuses."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ops.__main__ import main
from ops.doctor.expected import Expected
from tests.unit import deployment
from tests.unit.given import SETTINGS
from tests.unit.session import Answers

STEP = "write-secret"
EXPECTED = Expected(SETTINGS)
SUBSCRIPTION = EXPECTED.subscription(STEP)
DEPLOYED = deployment.subscription(STEP)


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """The APIs of a right deployment; what is posted to the subscription replaces its push configuration."""
    answers = Answers()
    answers.give(f"v1/{SUBSCRIPTION}", dict(DEPLOYED))
    answers.give("locations/-/functions", {"functions": [deployment.function(STEP), deployment.function("sweep")]})

    def modify(body: Any) -> Any:
        answers.give(f"v1/{SUBSCRIPTION}", {**DEPLOYED, **body})
        return {}

    answers.give(":modifyPushConfig", modify)
    services = SimpleNamespace(session=answers, settings=SETTINGS)
    monkeypatch.setattr("ops.pause.connected", lambda: services)
    return answers


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(words)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_a_paused_step_is_resumed_as_it_was(google: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = typed(capsys, "pause", STEP)
    assert code == 0
    assert f"python -m ops resume {STEP}" in text
    assert google.posted == [{"pushConfig": {}}]
    assert "paused already" in typed(capsys, "pause", STEP)[1]
    assert typed(capsys, "resume", STEP)[0] == 0
    assert google.posted[1] == {"pushConfig": DEPLOYED["pushConfig"]}


def test_json_has_the_configuration_before_and_after(google: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the second finds it paused, and writes nothing
        code, text = typed(capsys, "pause", STEP, "--json")
        assert (code, json.loads(text)["paused"]) == (0, True)
    assert len(google.posted) == 1
    code, text = typed(capsys, "resume", STEP, "--json")
    assert json.loads(text)["now"] == DEPLOYED["pushConfig"]


def test_a_configuration_of_somebody_else_is_shown_with_its_command(
    google: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    google.give(f"v1/{SUBSCRIPTION}", {**DEPLOYED, "pushConfig": {"pushEndpoint": "https://else.example.com"}})
    text = typed(capsys, "pause", STEP)[1]
    assert "gcloud pubsub subscriptions modify-push-config" in text
    assert "--push-endpoint=https://else.example.com" in text


def test_a_write_that_did_not_take_effect_is_an_error(google: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    google.give(":modifyPushConfig", {})
    google.give(f"v1/{SUBSCRIPTION}", {**DEPLOYED, "pushConfig": {}})
    code, text = typed(capsys, "resume", STEP)
    assert code == 1
    assert "run it again" in text


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"v1/{SUBSCRIPTION}", "Cannot read subscription"),
        (":modifyPushConfig", "Cannot change the push configuration"),
        ("locations/-/functions", "Cannot read the address"),
    ],
)
def test_a_refused_call_names_what_was_refused(
    google: Answers, capsys: pytest.CaptureFixture[str], path: str, words: str
) -> None:
    google.refuse(path, 403, "Permission denied")
    code, text = typed(capsys, "pause", STEP)
    assert (code, words in text, "403" in text) == (1, True, True)


def test_a_function_that_is_not_deployed_could_not_be_resumed(
    google: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    google.give("locations/-/functions", {"functions": []})
    code, text = typed(capsys, "pause", STEP)
    assert (code, google.posted) == (1, [])
    assert "is not deployed" in text


def test_what_is_no_step_is_a_mistake_that_lists_the_steps(google: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = typed(capsys, "pause", "paint-secret")
    assert (code, STEP in text, google.asked) == (1, True, [])
