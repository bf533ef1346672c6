"""The metadata server, asked by google-auth in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from local.google.iam.state import Iam
from local.google.metadata import metadata_app
from local.listener import Listener

if TYPE_CHECKING:
    from pathlib import Path

EMAIL = "grant-rbac@demo-fleet.iam.gserviceaccount.com"

ASK_GOOGLE_AUTH = """
import json, google.auth, google.auth.transport.requests as transport
from google.oauth2 import id_token
credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
request = transport.Request()
credentials.refresh(request)
print(json.dumps({
    "project": project,
    "email": credentials.service_account_email,
    "universe": credentials.universe_domain,
    "token": credentials.token,
    "valid": credentials.valid,
    "identity": id_token.fetch_id_token(request, "https://function.example"),
}))
"""


async def _with_server(iam: Iam, ask: Any) -> Any:
    listener = Listener(metadata_app(iam, EMAIL, "demo-fleet", 100000000001, region="europe-west1"))
    await listener.start()
    try:
        return await asyncio.to_thread(ask, listener.address)
    finally:
        await listener.stop()


def _get(address: str, path: str, flavor: str = "Google") -> str:
    request = urllib.request.Request(f"http://{address}{path}", headers={"Metadata-Flavor": flavor})
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


def test_google_auth_finds_project_identity_and_tokens(tmp_path: Path) -> None:
    def ask(address: str) -> dict[str, Any]:
        where = {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address, "HOME": str(tmp_path), "PATH": os.defpath}
        done = subprocess.run(
            [sys.executable, "-c", ASK_GOOGLE_AUTH], env=where, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    iam = Iam()
    found = asyncio.run(_with_server(iam, ask))
    assert found["project"] == "demo-fleet"
    assert found["email"] == EMAIL
    assert found["universe"] == "googleapis.com"
    assert found["valid"]
    assert iam.identity(f"Bearer {found['token']}") == EMAIL
    assert found["identity"].count(".") == 2


def test_a_token_is_handed_out_again_until_shortly_before_its_end() -> None:
    path = "/computeMetadata/v1/instance/service-accounts/default/token"

    def ask(address: str) -> list[dict[str, Any]]:
        return [json.loads(_get(address, path)) for _ in range(2)]

    first, second = asyncio.run(_with_server(Iam(), ask))
    assert first["access_token"] == second["access_token"]
    assert 3000 < second["expires_in"] <= 3600


def test_an_identity_token_is_handed_out_again_for_the_same_audience() -> None:
    def ask(address: str) -> list[str]:
        path = "/computeMetadata/v1/instance/service-accounts/default/identity?audience="
        return [_get(address, f"{path}{audience}") for audience in ("one", "one", "another")]

    iam = Iam()
    first, second, another = asyncio.run(_with_server(iam, ask))
    assert first == second
    assert [(iam.tokens.claims(token) or {})["aud"] for token in (first, another)] == ["one", "another"]


def test_numbers_and_places_are_those_of_cloud_run() -> None:
    def ask(address: str) -> list[str]:
        v1 = "/computeMetadata/v1"
        return [
            _get(address, f"{v1}/{key}")
            for key in ("project/numeric-project-id", "instance/region", "universe/universe-domain")
        ]

    assert asyncio.run(_with_server(Iam(), ask)) == [
        "100000000001",
        "projects/100000000001/regions/europe-west1",
        "googleapis.com",
    ]


def test_who_does_not_say_the_flavor_is_refused() -> None:
    def ask(address: str) -> int:
        with pytest.raises(urllib.error.HTTPError) as refused:
            _get(address, "/computeMetadata/v1/project/project-id", flavor="none")
        with refused.value:
            return refused.value.code

    assert asyncio.run(_with_server(Iam(), ask)) == 403
