"""A person who calls Google's APIs and the central cluster, and runs doctor."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.oauth2.credentials import Credentials

from ops.doctor.command import examine
from ops.doctor.findings import Status
from shared.runtime.services import Services
from shared.values import settings
from tests.chain.running import CENTRAL, FLEET, MERGE, Chain, email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ops.doctor.findings import Finding

    Broken = Callable[["Operator"], AbstractContextManager[None]]


Json = dict[str, Any]

PUSH = email("fleet-registrar-push")
ARGOCD = email("argocd")


class Operator:
    """A person who calls Google's APIs and the central cluster of a running cloud."""

    def __init__(self, cloud: Chain, environment: Mapping[str, str], central: str = CENTRAL) -> None:
        self.cloud = cloud
        self.environment = environment
        self.central = central

    def call(self, method: str, api: str, path: str, body: Json | None = None, **query: str) -> Json:
        """Make a call that must succeed."""
        base = self.environment[f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}"]
        token = self.environment["CLOUDSDK_AUTH_ACCESS_TOKEN"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.request(method, f"{base}{path}", json=body, params=query, headers=headers, timeout=100)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        found: Json = answer.json()
        return found

    def kubernetes(self, method: str, path: str, body: Any = None) -> Json:
        """Call the central cluster as its administrator; the call must succeed."""
        content = MERGE if method == "PATCH" else "application/json"
        status, answer = self.cloud.kubernetes(self.central, method, path, body, content_type=content)
        assert status < 300, f"{method} {path}: {status} {answer}"
        return answer


@contextmanager
def sourced(cloud: Chain) -> Iterator[Mapping[str, str]]:
    """What `source .local/env` gives a person; this process trusts the cloud alone: a short list is read quickly."""
    found = {}
    for line in (cloud.directory / "env").read_text().splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["export"]:
            name, _, value = words[1].partition("=")
            found[name] = value
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, found[name])
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            patch.setenv(name, str(cloud.directory / "ca.pem"))
        yield found


def doctor(environment: Mapping[str, str], *, quota_project: str = FLEET) -> list[Finding]:
    """The findings, for a person with a token of their own."""
    services = Services(settings.load(environment))
    person = Credentials(environment["CLOUDSDK_AUTH_ACCESS_TOKEN"], quota_project_id=quota_project or None)
    services.__dict__["credentials"] = person  # found already: nobody is logged in on the machine of a test
    return examine(services, environment)


def red(findings: list[Finding]) -> set[tuple[str, str]]:
    """The codes and checks of the findings that are warnings or failures."""
    return {(one.code, one.check) for one in findings if one.status in {Status.WARN, Status.FAIL}}
