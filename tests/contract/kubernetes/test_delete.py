"""Deletion: preconditions, finalizers, collections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.kubernetes.api import MERGE, Api, names, raw, refused, secret

if TYPE_CHECKING:
    from tests.contract.kubernetes_server import Server


class TestDelete:
    def test_a_deleted_object_is_gone(self, core: Api, namespace: str) -> None:
        made = core.create_namespaced_secret(namespace, secret("a"))
        answer = core.delete_namespaced_secret("a", namespace)
        assert answer["status"] == "Success"
        assert answer["details"] == {"name": "a", "kind": "secrets", "uid": made.metadata.uid}
        with refused(404, "NotFound"):
            core.read_namespaced_secret("a", namespace)
        with refused(404, "NotFound"):
            core.delete_namespaced_secret("a", namespace)

    @pytest.mark.parametrize("precondition", ["uid", "resourceVersion"])
    def test_a_precondition_that_fails_is_a_conflict(self, core: Api, namespace: str, precondition: str) -> None:
        made = core.create_namespaced_secret(namespace, secret("a"))
        wrong = {"preconditions": {precondition: "1"}}
        with refused(409, "Conflict"):
            core.delete_namespaced_secret("a", namespace, body=wrong)
        right = {"uid": made.metadata.uid, "resourceVersion": made.metadata.resource_version}
        core.delete_namespaced_secret("a", namespace, body={"preconditions": right})
        assert core.list_namespaced_secret(namespace).items == []

    def test_a_new_namesake_has_another_uid(self, core: Api, namespace: str) -> None:
        uids = set()
        for _ in range(2):
            uids.add(core.create_namespaced_secret(namespace, secret("a")).metadata.uid)
            core.delete_namespaced_secret("a", namespace)
        assert len(uids) == 2

    def test_a_finalizer_holds_the_object(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", metadata={"finalizers": ["example.com/hold"]}))
        core.delete_namespaced_secret("a", namespace)
        assert core.read_namespaced_secret("a", namespace).metadata.deletion_timestamp
        core.patch_namespaced_secret("a", namespace, {"metadata": {"finalizers": None}}, _content_type=MERGE)
        assert core.list_namespaced_secret(namespace).items == []

    def test_a_dry_run_leaves_the_object(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        core.delete_namespaced_secret("a", namespace, dry_run="All")
        assert names(core.list_namespaced_secret(namespace)) == ["a"]

    def test_options_in_a_body_are_all_there_are(self, server: Server, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        path = f"/api/v1/namespaces/{namespace}/secrets/a?dryRun=All"
        assert raw(server, "DELETE", path, json={}).status_code == 200
        assert names(core.list_namespaced_secret(namespace)) == []

    def test_a_collection_is_deleted_by_selector(self, core: Api, namespace: str) -> None:
        for name in ("a", "b", "c"):
            core.create_namespaced_secret(namespace, secret(name, metadata={"labels": {"name": name}}))
        core.delete_collection_namespaced_secret(namespace, label_selector="name in (a,c)")
        assert names(core.list_namespaced_secret(namespace)) == ["b"]
