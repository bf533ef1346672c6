"""Discovery, health and version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests
from kubernetes import client

from tests.contract.kubernetes.api import RBAC, raw

if TYPE_CHECKING:
    from tests.contract.kubernetes_server import Server


class TestDiscovery:
    @pytest.mark.parametrize(
        ("path", "listed"),
        [
            ("/api/v1", {"namespaces", "secrets", "configmaps", "serviceaccounts"}),
            (f"/apis/{RBAC}/v1", {"clusterroles", "clusterrolebindings", "roles", "rolebindings"}),
            ("/apis/authorization.k8s.io/v1", {"subjectaccessreviews", "selfsubjectaccessreviews"}),
        ],
    )
    def test_the_kinds_are_listed(self, server: Server, path: str, listed: set[str]) -> None:
        found = raw(server, "GET", path).json()
        assert found["kind"] == "APIResourceList"
        assert listed <= {resource["name"] for resource in found["resources"]}

    def test_the_groups_are_listed(self, server: Server) -> None:
        assert raw(server, "GET", "/api").json()["versions"] == ["v1"]
        assert RBAC in {group["name"] for group in raw(server, "GET", "/apis").json()["groups"]}

    def test_discovery_comes_in_one_piece_where_that_is_accepted(self, server: Server) -> None:
        accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}
        answer = raw(server, "GET", "/api", headers=accept)
        assert "as=APIGroupDiscoveryList" in answer.headers["Content-Type"]
        listed = answer.json()["items"][0]["versions"][0]["resources"]
        found = next(resource for resource in listed if resource["resource"] == "secrets")
        assert (found["scope"], found["responseKind"]["kind"]) == ("Namespaced", "Secret")

    @pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
    def test_health_needs_no_token(self, server: Server, path: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(server.url + path, verify=server.ca, timeout=60)
        assert (answer.status_code, answer.text) == (200, "ok")

    def test_openapi_says_that_a_patch_may_be_a_dry_run_and_strict(self, server: Server) -> None:
        paths = raw(server, "GET", "/openapi/v3").json()["paths"]
        document = raw(server, "GET", paths["api/v1"]["serverRelativeURL"]).json()
        patch = document["paths"]["/api/v1/namespaces/{namespace}/secrets/{name}"]["patch"]
        assert {"dryRun", "fieldValidation"} <= {parameter["name"] for parameter in patch["parameters"]}

    def test_the_version_has_major_and_minor(self, admin: client.ApiClient) -> None:
        found = client.VersionApi(admin).get_code()
        assert found.git_version.startswith(f"v{found.major}.{found.minor.rstrip('+')}.")
