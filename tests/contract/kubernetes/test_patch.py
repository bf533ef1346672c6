"""Patches of each format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.kubernetes.api import JSON_PATCH, MERGE, STRATEGIC, Api, binding, raw, refused, secret

if TYPE_CHECKING:
    from tests.contract.kubernetes_server import Server


class TestPatch:
    def test_a_merge_patch_leaves_what_it_does_not_name(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(
            namespace, secret("a", data={"x": "eA==", "y": "eQ=="}, metadata={"labels": {"mine": "1", "theirs": "2"}})
        )
        change = {"metadata": {"labels": {"mine": "3"}}, "data": {"x": None, "z": "eg=="}}
        patched = core.patch_namespaced_secret("a", namespace, change, _content_type=MERGE)
        assert patched.data == {"y": "eQ==", "z": "eg=="}
        assert patched.metadata.labels == {"mine": "3", "theirs": "2"}

    def test_string_data_can_be_patched_in(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", data={"x": "eA=="}))
        patched = core.patch_namespaced_secret("a", namespace, {"stringData": {"y": "y"}}, _content_type=MERGE)
        assert patched.data == {"x": "eA==", "y": "eQ=="}

    def test_the_version_in_a_patch_is_a_precondition(self, core: Api, namespace: str) -> None:
        old = core.create_namespaced_secret(namespace, secret("a")).metadata.resource_version
        change = {"metadata": {"resourceVersion": old}, "data": {"x": "eA=="}}
        new = core.patch_namespaced_secret("a", namespace, change, _content_type=MERGE).metadata.resource_version
        with refused(409, "Conflict"):
            core.patch_namespaced_secret("a", namespace, change | {"data": {"x": "eQ=="}}, _content_type=MERGE)
        found = core.read_namespaced_secret("a", namespace)
        assert (found.data, found.metadata.resource_version) == ({"x": "eA=="}, new)

    @pytest.mark.parametrize(("stale", "code", "reason"), [(False, 422, "Invalid"), (True, 409, "Conflict")])
    def test_another_uid_is_an_immutable_field_unless_the_version_is_stale_too(
        self, core: Api, namespace: str, stale: bool, code: int, reason: str
    ) -> None:
        old = core.create_namespaced_secret(namespace, secret("a")).metadata.resource_version
        core.patch_namespaced_secret("a", namespace, {"data": {"x": "eA=="}}, _content_type=MERGE)
        metadata = {"uid": "other"} | ({"resourceVersion": old} if stale else {})
        with refused(code, reason):
            core.patch_namespaced_secret("a", namespace, {"metadata": metadata}, _content_type=MERGE)

    @pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
    def test_nothing_changes_when_nothing_differs(self, core: Api, namespace: str, content_type: str) -> None:
        made = core.create_namespaced_secret(namespace, secret("a", data={"x": "eA=="}))
        patched = core.patch_namespaced_secret("a", namespace, {"data": {"x": "eA=="}}, _content_type=content_type)
        assert patched.metadata.resource_version == made.metadata.resource_version

    def test_a_strategic_merge_patch_merges_the_lists_that_have_a_key(self, core: Api, namespace: str) -> None:
        core.create_namespaced_service_account(namespace, {"metadata": {"name": "a"}, "secrets": [{"name": "x"}]})
        patched = core.patch_namespaced_service_account(
            "a", namespace, {"secrets": [{"name": "y"}]}, _content_type=STRATEGIC
        )
        assert {entry.name for entry in patched.secrets} == {"x", "y"}
        change = {"secrets": [{"$patch": "delete", "name": "x"}]}
        patched = core.patch_namespaced_service_account("a", namespace, change, _content_type=STRATEGIC)
        assert [entry.name for entry in patched.secrets] == ["y"]

    def test_a_json_patch_edits_by_path(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", metadata={"labels": {"x/y": "1", "z": "2"}}))
        operations = [
            {"op": "test", "path": "/metadata/labels/x~1y", "value": "1"},
            {"op": "replace", "path": "/metadata/labels/x~1y", "value": "3"},
            {"op": "remove", "path": "/metadata/labels/z"},
            {"op": "add", "path": "/data", "value": {"k": "eA=="}},
        ]
        patched = core.patch_namespaced_secret("a", namespace, operations, _content_type=JSON_PATCH)
        assert (patched.metadata.labels, patched.data) == ({"x/y": "3"}, {"k": "eA=="})

    def test_a_json_patch_replaces_what_is_not_there(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        operations = [{"op": "replace", "path": "/metadata/labels", "value": {"x": "1"}}]
        patched = core.patch_namespaced_secret("a", namespace, operations, _content_type=JSON_PATCH)
        assert patched.metadata.labels == {"x": "1"}

    def test_a_json_patch_finds_null_where_there_is_nothing(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", metadata={"labels": {"x": "1"}}))
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": path, "value": None} for path in ("/subjects", "/metadata/labels/y")
        ]
        patched = core.patch_namespaced_secret("a", namespace, operations, _content_type=JSON_PATCH)
        assert patched.metadata.labels == {"x": "1"}

    @pytest.mark.parametrize(
        "wrong",
        [
            {"op": "test", "path": "/metadata/name", "value": "b"},
            {"op": "test", "path": "/metadata/name", "value": None},
            {"op": "remove", "path": "/data/nothing"},
            {"op": "replace", "path": "/no/such/path", "value": 1},
        ],
    )
    def test_a_json_patch_is_done_whole_or_not_at_all(self, core: Api, namespace: str, wrong: dict[str, Any]) -> None:
        core.create_namespaced_secret(namespace, secret("a", data={"x": "eA=="}))
        first = {"op": "add", "path": "/data/y", "value": "eQ=="}
        with refused(422, "Invalid"):
            core.patch_namespaced_secret("a", namespace, [first, wrong], _content_type=JSON_PATCH)
        assert core.read_namespaced_secret("a", namespace).data == {"x": "eA=="}

    def test_what_is_absent_cannot_be_patched(self, core: Api, namespace: str) -> None:
        with refused(404, "NotFound"):
            core.patch_namespaced_secret("a", namespace, {"data": {}}, _content_type=MERGE)

    def test_the_result_is_validated(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        with refused(422, "Invalid") as refusal:
            core.patch_namespaced_secret("a", namespace, {"metadata": {"labels": {"a": "-"}}}, _content_type=MERGE)
        assert refusal.fields == ["metadata.labels"]
        with refused(422, "Invalid") as refusal:
            core.patch_namespaced_secret("a", namespace, {"data": {"x": "?"}}, _content_type=MERGE)
        assert refusal.fields == ["patch"]

    def test_an_unknown_patch_type_is_refused(self, server: Server, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        path, headers = f"/api/v1/namespaces/{namespace}/secrets/a", {"Content-Type": "application/x-patch"}
        answer = raw(server, "PATCH", path, data="{}", headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (415, "UnsupportedMediaType")

    def test_a_dry_run_leaves_nothing(self, core: Api, namespace: str) -> None:
        made = core.create_namespaced_secret(namespace, secret("a"))
        shown = core.patch_namespaced_secret(
            "a", namespace, {"data": {"x": "eA=="}}, _content_type=MERGE, dry_run="All"
        )
        assert shown.data == {"x": "eA=="}
        assert core.read_namespaced_secret("a", namespace).metadata == made.metadata

    def test_a_role_reference_is_immutable(self, rbac: Api, namespace: str) -> None:
        rbac.create_namespaced_role_binding(namespace, binding("a", "view", namespace))
        with refused(422, "Invalid") as refusal:
            rbac.patch_namespaced_role_binding("a", namespace, {"roleRef": {"name": "edit"}}, _content_type=MERGE)
        assert refusal.fields == ["roleRef"]
        assert "cannot change roleRef" in refusal.message
