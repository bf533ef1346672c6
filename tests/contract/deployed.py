"""A running local cloud whose two functions do nothing but note what reached them: for the APIs of what is deployed."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from google.api_core.client_options import ClientOptions
from google.oauth2.credentials import Credentials
from google.protobuf import json_format

from local.cloud import Cloud
from local.config import Config
from local.control import LocalCloud
from local.control_api import control_app
from tests import forked_gcloud
from tests.contract.background import BackgroundLoop
from tests.waiting import whole_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLEET, APPS, REGION = "demo-fleet", "demo-apps", "europe-west1"
PLACE = f"projects/{FLEET}/locations/{REGION}"
PUSH, TRIGGER = (f"fleet-registrar-{name}@{FLEET}.iam.gserviceaccount.com" for name in ("push", "trigger"))
AGENT = "service-100000000001@gcp-sa-pubsub.iam.gserviceaccount.com"
MAIN = """
import json, os
import functions_framework
from pathlib import Path

def note(event):
    line = {"attributes": dict(event.get_attributes()), "data": event.data, "hold": os.environ.get("HOLD")}
    with (Path(__file__).parent / os.environ["K_SERVICE"]).open("a") as log:
        log.write(json.dumps(line) + "\\n")
    line = json.dumps({"severity": "NOTICE", "message": "noted", "decision": "noted"})
    print(line + "\\n", end="", flush=True)  # in one piece: other threads print, too

@functions_framework.cloud_event
def route_event(event):
    note(event)

@functions_framework.cloud_event
def sweep(event):
    note(event)
"""


@dataclass
class Deployed:
    """The cloud, and what a person at it may do."""

    cloud: LocalCloud
    directory: Path
    environment: dict[str, str]

    def url(self, api: str) -> str:
        return self.environment[f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}"].rstrip("/")

    @property
    def token(self) -> str:
        return self.environment["CLOUDSDK_AUTH_ACCESS_TOKEN"]

    def call(self, api: str, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        answer = requests.request(method, f"{self.url(api)}/{path}", json=body, headers=headers, timeout=60)
        return answer.status_code, answer.json() if answer.content else None

    def read(self, api: str, path: str, kind: Any) -> Any:
        """Read an answer into the API's own message, in which every field must be known."""
        status, body = self.call(api, "GET", path)
        assert status == 200, body
        message = kind.pb()()
        json_format.ParseDict(body, message, ignore_unknown_fields=False)
        return message

    def gcloud(self, *arguments: str) -> str:
        ran = subprocess.run(
            ["gcloud", *arguments],
            env=self.environment | {"PATH": forked_gcloud.path()},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def seen(self, function: str) -> list[dict[str, Any]]:
        log = self.directory / function
        return [json.loads(line) for line in whole_lines(log.read_text())] if log.exists() else []

    def swept(self) -> int:
        return len(self.seen("sweep"))

    def queue(self, name: str) -> dict[str, int]:
        found: dict[str, int] = self.cloud.state()["queues"][name]
        return found

    def invoke(self, function: str, token: str) -> int:
        url = self.cloud.state()["functions"][function]["url"]
        headers = {"ce-id": "1", "ce-type": "test", "ce-source": "//test", "ce-specversion": "1.0"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        return requests.post(url, json={}, headers=headers, timeout=60).status_code


@contextmanager
def deployed(directory: Path, **changes: Any) -> Iterator[Deployed]:
    """Run it: two functions, nothing takes time, and a message is a dead letter after five attempts."""
    source = directory / "source"
    source.mkdir()
    (source / "main.py").write_text(MAIN)
    quick = {"create_seconds": 0, "delete_seconds": 0, "update_seconds": 0, "membership_seconds": 0}
    waits = {"retry_min": 0.05, "retry_max": 0.1, "attempts": 5}
    config = Config(directory / "cloud", source=source / "main.py", **{**quick, **waits, **changes})
    running = Cloud(config, control_app)
    with BackgroundLoop() as loop:
        loop.run(running.start())
        try:
            cloud = LocalCloud.from_env(directory / "cloud")
            yield Deployed(cloud, source, _environment(directory / "cloud" / "env"))
        finally:
            loop.run(running.stop())


def _environment(file: Path) -> dict[str, str]:
    shown = subprocess.run(
        ["bash", "-c", f"set -a; source {file}; env -0"],
        env={"PATH": os.environ["PATH"], "HOME": str(file.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(one.split("=", 1) for one in shown.stdout.split("\0") if "=" in one)


def options(here: Deployed, api: str) -> dict[str, Any]:
    return {"client_options": ClientOptions(api_endpoint=here.url(api)), "credentials": Credentials(token=here.token)}
