"""The example module that posts events to a chat plans, and gives its function nothing but the webhook."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.terraform import ROOT, Module

if TYPE_CHECKING:
    from pathlib import Path

INPUTS: dict[str, Any] = {
    "project": "my-fleet",
    "region": "europe-west1",
    "bucket": "my-sources",
    "webhook_secret": "chat-webhook",
}


@pytest.fixture(scope="module")
def chat(reattach: str, tmp_path_factory: pytest.TempPathFactory) -> Module:
    home = tmp_path_factory.mktemp("chat")
    module = Module(home / "modules" / "chat", reattach)
    shutil.copytree(ROOT / "infra/terraform/modules/chat-webhook", module.directory)
    (home / "empty.tfrc").touch()
    answer = module.run("init", "-input=false")
    assert answer.code == 0, answer.text
    return module


def test_the_function_may_read_its_webhook_and_nothing_else(chat: Module, tmp_path: Path) -> None:
    bundle = tmp_path / "chat.zip"
    bundle.write_bytes(b"a bundle")
    plan = chat.plan(**INPUTS, bundle=str(bundle))
    [function] = plan.of("google_cloudfunctions2_function")
    [trigger] = function["event_trigger"]
    assert (trigger["pubsub_topic"], trigger["retry_policy"]) == (
        "projects/my-fleet/topics/cluster-events",
        "RETRY_POLICY_RETRY",
    )
    [service] = function["service_config"]
    assert service["environment_variables"] == {"EVENTS": "failed,limited,offboarded,onboarded"}
    assert service["ingress_settings"] == "ALLOW_INTERNAL_ONLY"
    grants = {(one.type, one["role"]) for one in plan.resources if one.type.endswith("_iam_member")}
    assert grants == {
        ("google_secret_manager_secret_iam_member", "roles/secretmanager.secretAccessor"),
        ("google_cloud_run_service_iam_member", "roles/run.invoker"),
    }


def test_an_event_that_does_not_exist_is_refused(chat: Module, tmp_path: Path) -> None:
    bundle = tmp_path / "chat.zip"
    bundle.write_bytes(b"a bundle")
    with pytest.raises(AssertionError, match="events are some of"):
        chat.plan(**INPUTS, bundle=str(bundle), events=["exploded"])
