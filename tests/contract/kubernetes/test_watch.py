"""Watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contract.kubernetes.api import MERGE, Api, Watching, secret

if TYPE_CHECKING:
    from tests.contract.kubernetes_server import Server


class TestWatch:
    def test_a_watch_returns_the_changes_since_a_version(self, server: Server, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("before"))
        since = core.list_namespaced_secret(namespace).metadata.resource_version
        core.create_namespaced_secret(namespace, secret("a"))
        core.patch_namespaced_secret("a", namespace, {"data": {"x": "eA=="}}, _content_type=MERGE)
        core.patch_namespaced_secret("a", namespace, {"data": {"x": "eA=="}}, _content_type=MERGE)  # changes nothing
        core.create_namespaced_config_map(namespace, secret("other-kind"))
        core.delete_namespaced_secret("a", namespace)
        with Watching(server, f"/api/v1/namespaces/{namespace}/secrets", resourceVersion=since) as watch:
            assert [watch.next() for _ in range(3)] == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]

    def test_a_watch_without_a_version_starts_with_what_is_there_and_goes_on(
        self, server: Server, core: Api, namespace: str
    ) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        with Watching(server, f"/api/v1/namespaces/{namespace}/secrets") as watch:
            assert watch.next() == ("ADDED", "a")
            core.create_namespaced_secret(namespace, secret("b"))
            assert watch.next() == ("ADDED", "b")

    def test_what_enters_or_leaves_a_selector_is_added_or_deleted(
        self, server: Server, core: Api, namespace: str
    ) -> None:
        since = core.list_namespaced_secret(namespace).metadata.resource_version
        core.create_namespaced_secret(namespace, secret("a"))
        for value in ("prod", "test"):
            change = {"metadata": {"labels": {"env": value}}}
            core.patch_namespaced_secret("a", namespace, change, _content_type=MERGE)
        core.create_namespaced_secret(namespace, secret("b", metadata={"labels": {"env": "prod"}}))
        path = f"/api/v1/namespaces/{namespace}/secrets"
        with Watching(server, path, resourceVersion=since, labelSelector="env=prod") as watch:
            assert [watch.next() for _ in range(3)] == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b")]

    def test_a_watch_ends_at_its_time_limit(self, server: Server, core: Api, namespace: str) -> None:
        since = core.list_namespaced_secret(namespace).metadata.resource_version
        path = f"/api/v1/namespaces/{namespace}/secrets"
        with Watching(server, path, resourceVersion=since, timeoutSeconds="1") as watch:
            assert watch.rest() == []
