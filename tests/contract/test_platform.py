"""serviceusage and cloudresourcemanager, as far as gcloud asks them; the answers read by Google's field names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.contract.google_cloud import APPS, FLEET, FLEET_NUMBER, Cloud, served

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as running:
        yield running


def call(cloud: Cloud, method: str, path: str, body: dict[str, Any] | None = None, token: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token or cloud.token}"}
    answer = requests.request(method, f"{cloud.url('platform')}{path}", json=body, headers=headers, timeout=60)
    return answer.json() if answer.ok else answer.status_code


@pytest.mark.parametrize("project", [FLEET, FLEET_NUMBER])
def test_id_and_number_of_a_project_lead_to_each_other(cloud: Cloud, project: str) -> None:
    old, new = call(cloud, "GET", f"/v1/projects/{project}"), call(cloud, "GET", f"/v3/projects/{project}")
    assert (old["projectId"], old["projectNumber"]) == (FLEET, FLEET_NUMBER)
    assert (new["projectId"], new["name"]) == (FLEET, f"projects/{FLEET_NUMBER}")


def test_a_project_that_is_not_there_is_forbidden_not_missing(cloud: Cloud) -> None:
    assert call(cloud, "GET", "/v1/projects/nobody-knows") == 403


def test_a_search_shows_what_the_caller_may_see(cloud: Cloud) -> None:
    token = cloud.iam.token_for("reader@example.com")
    cloud.iam.grant("reader@example.com", APPS, "resourcemanager.projects.get")
    found = call(cloud, "GET", "/v3/projects:search", token=token)
    assert [project["projectId"] for project in found["projects"]] == [APPS]
    cloud.gke.shut_project(APPS)
    assert call(cloud, "GET", "/v3/projects:search", token=token) == {"projects": []}
    assert call(cloud, "GET", "/v3/projects:search", token="unknown") == 401


def test_permissions_are_returned(cloud: Cloud) -> None:
    token = cloud.iam.token_for("reader@example.com")
    cloud.iam.grant("reader@example.com", FLEET, "gkehub.gateway.get")
    body = {"permissions": ["gkehub.gateway.get", "gkehub.gateway.post"]}
    answer = call(cloud, "POST", f"/v1/projects/{FLEET}:testIamPermissions", body, token)
    assert answer == {"permissions": ["gkehub.gateway.get"]}


def test_every_google_api_is_enabled(cloud: Cloud) -> None:
    parent, name = f"/v1/projects/{FLEET}/services", "container.googleapis.com"
    assert call(cloud, "GET", f"{parent}/{name}")["state"] == "ENABLED"
    assert name in [service["config"]["name"] for service in call(cloud, "GET", parent)["services"]]
    batch = call(cloud, "GET", f"{parent}:batchGet?names=projects/{FLEET}/services/{name}")
    assert batch["services"][0]["name"] == f"projects/{FLEET_NUMBER}/services/{name}"
    assert call(cloud, "POST", f"{parent}/{name}:enable", {})["done"]
    assert call(cloud, "GET", f"{parent}/elsewhere.example") == 404
