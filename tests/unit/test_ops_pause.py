"""`ops pause` and `ops resume`: what is written to a subscription, and when nothing is (docs/operate.md)."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from ops import pause
from ops.doctor.api import Api
from ops.doctor.expected import Expected
from ops.terminal import MistakeError
from shared.clients.transport import authorized_session
from tests.unit.given import SETTINGS
from tests.unit.stub import Handler, Identity, Stub, sends, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

URI = "https://write-secret.example.run.app"
EXPECTED = Expected(SETTINGS)
DEPLOYED = pause.push_config(URI, EXPECTED)
FUNCTION = {"name": "projects/demo-fleet/locations/europe-west1/functions/write-secret", "serviceConfig": {"uri": URI}}
OTHER = {**FUNCTION, "name": "projects/demo-fleet/locations/europe-west1/functions/my-write-secret"}


class Cloud:
    """A subscription and the functions, behind Google's APIs. `keeps` refuses to show a change."""

    def __init__(self, stub: Stub) -> None:
        self.config: Any = DEPLOYED
        self.functions: list[Any] = [OTHER, FUNCTION]
        self.writes: list[Any] = []
        self.keeps = False
        self.refuses = ""
        self.stub = stub
        stub.give(self.answer)

    def answer(self, handler: Handler) -> None:
        path = urlsplit(handler.path).path
        if self.refuses and self.refuses in path:
            sends({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no"}}, 403)(handler)
        elif path.endswith("/functions"):
            sends({"functions": self.functions})(handler)
        elif path.endswith(":modifyPushConfig"):
            written = json.loads(self.stub.seen[-1].body)["pushConfig"]
            self.writes.append(written)
            self.config = self.config if self.keeps else written
            sends({})(handler)
        else:
            assert path.endswith("/subscriptions/write-secret")
            sends({"name": path, "pushConfig": self.config, "messageRetentionDuration": "604800s"})(handler)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with serving() as stub:
        names = ("PUBSUB", "CLOUDFUNCTIONS")
        environment = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": stub.url for name in names}
        api = Api(authorized_session(Identity()), environment)
        monkeypatch.setattr(pause, "_connected", lambda: (api, EXPECTED))
        yield Cloud(stub)


def paused(step: str = "write-secret", *, as_json: bool = False) -> int:
    return pause.run_pause(argparse.Namespace(step=step, json=as_json))


def resumed(step: str = "write-secret", *, as_json: bool = False) -> int:
    return pause.run_resume(argparse.Namespace(step=step, json=as_json))


@pytest.mark.parametrize("as_json", [False, True])
def test_a_pause_takes_the_push_configuration_away(cloud: Cloud, as_json: bool) -> None:
    assert paused(as_json=as_json) == 0
    assert cloud.writes == [{}]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_paused_step_is_not_paused_again(cloud: Cloud, as_json: bool) -> None:
    cloud.config = {}
    assert paused(as_json=as_json) == 0
    assert cloud.writes == []


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("functions", [[], [OTHER], [FUNCTION, FUNCTION], [{**FUNCTION, "serviceConfig": {}}]])
def test_a_step_that_could_not_be_resumed_is_not_paused(cloud: Cloud, as_json: bool, functions: list[Any]) -> None:
    cloud.functions = functions
    with pytest.raises(MistakeError):
        paused(as_json=as_json)
    assert cloud.writes == []


@pytest.mark.parametrize("as_json", [False, True])
def test_a_resume_restores_endpoint_identity_and_audience(cloud: Cloud, as_json: bool) -> None:
    cloud.config = {}
    assert resumed(as_json=as_json) == 0
    assert cloud.writes == [DEPLOYED]
    assert {
        "pushEndpoint": URI,
        "oidcToken": {"serviceAccountEmail": EXPECTED.push_account, "audience": URI},
    } == DEPLOYED


def test_a_resume_that_does_not_show_is_a_mistake(cloud: Cloud) -> None:
    cloud.config, cloud.keeps = {}, True
    with pytest.raises(MistakeError):
        resumed()


def test_a_configuration_that_was_not_the_deployed_one_can_be_restored(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    paused()
    assert "modify-push-config" not in capsys.readouterr().out
    cloud.config = {"pushEndpoint": "https://mine.example/", "oidcToken": {"serviceAccountEmail": "me@example.com"}}
    paused()
    printed = capsys.readouterr().out
    assert "--push-endpoint=https://mine.example/" in printed
    assert "--push-auth-service-account=me@example.com" in printed
    assert "--push-auth-token-audience" not in printed


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"pushEndpoint": f"{URI}/"}, True),
        ({"pushEndpoint": "https://mine.example"}, False),
        ({"oidcToken": {"serviceAccountEmail": EXPECTED.push_account}}, True),
        ({"oidcToken": {"serviceAccountEmail": EXPECTED.push_account, "audience": "x"}}, False),
        ({"oidcToken": {"serviceAccountEmail": "me@example.com", "audience": URI}}, False),
        ({"oidcToken": {}}, False),
    ],
)
def test_two_configurations_are_the_same_by_address_identity_and_audience(changes: Any, same: bool) -> None:
    """The audience is the endpoint where none is set."""
    assert pause.is_same({**DEPLOYED, **changes}, DEPLOYED) is same


@pytest.mark.parametrize("refuses", ["subscriptions/write-secret", "functions"])
@pytest.mark.parametrize("command", [paused, resumed])
def test_a_refusal_changes_nothing(cloud: Cloud, refuses: str, command: Any) -> None:
    cloud.refuses = refuses
    with pytest.raises(MistakeError):
        command()
    assert cloud.writes == []


@pytest.mark.parametrize("command", [paused, resumed])
def test_only_a_step_is_paused_or_resumed(cloud: Cloud, command: Any) -> None:
    with pytest.raises(MistakeError):
        command("dead-letters")
    assert cloud.stub.seen == []
