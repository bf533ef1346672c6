"""Replacement of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contract.kubernetes.api import MERGE, RBAC, Api, binding, names, raw, refused, role, secret

if TYPE_CHECKING:
    from tests.contract.kubernetes_server import Server


class TestReplace:
    def test_a_stale_version_loses(self, core: Api, namespace: str) -> None:
        read = core.create_namespaced_secret(namespace, secret("a"))
        core.patch_namespaced_secret("a", namespace, {"data": {"x": "eA=="}}, _content_type=MERGE)
        with refused(409, "Conflict") as refusal:
            core.replace_namespaced_secret("a", namespace, read)
        wording = "the object has been modified; please apply your changes to the latest version and try again"
        assert refusal.message == f'Operation cannot be fulfilled on secrets "a": {wording}'
        assert core.read_namespaced_secret("a", namespace).data == {"x": "eA=="}

    def test_without_a_version_the_last_one_wins(self, core: Api, namespace: str) -> None:
        made = core.create_namespaced_secret(
            namespace, secret("a", data={"x": "eA=="}, metadata={"labels": {"l": "m"}})
        )
        put = core.replace_namespaced_secret("a", namespace, secret("a", data={"y": "eQ=="}))
        assert (put.data, put.metadata.labels) == ({"y": "eQ=="}, None)
        assert (put.metadata.uid, put.metadata.creation_timestamp) == (
            made.metadata.uid,
            made.metadata.creation_timestamp,
        )

    def test_another_uid_is_a_conflict(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        with refused(409, "Conflict") as refusal:
            core.replace_namespaced_secret("a", namespace, secret("a", metadata={"uid": "other"}))
        assert "Precondition failed: UID in precondition: other" in refusal.message

    def test_the_name_must_be_that_of_the_path(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        with refused(400, "BadRequest") as refusal:
            core.replace_namespaced_secret("a", namespace, secret("b"))
        assert "the name of the object (b) does not match the name on the URL (a)" in refusal.message

    def test_an_absent_secret_is_not_created(self, core: Api, namespace: str) -> None:
        with refused(404, "NotFound"):
            core.replace_namespaced_secret("a", namespace, secret("a"))

    def test_an_absent_role_is_created(self, rbac: Api, namespace: str) -> None:
        rbac.replace_namespaced_role("a", namespace, role("a"))
        rbac.replace_namespaced_role("b", namespace, role("b") | {"metadata": {"name": "b", "resourceVersion": "1"}})
        assert names(rbac.list_namespaced_role(namespace)) == ["a", "b"]

    def test_a_role_says_that_it_has_no_rules(self, server: Server, namespace: str) -> None:
        path = f"/apis/{RBAC}/v1/namespaces/{namespace}/roles"
        assert raw(server, "POST", path, json={"metadata": {"name": "a"}}).json()["rules"] is None
        assert raw(server, "GET", f"{path}/a").json()["rules"] is None

    def test_role_binding_needs_no_namespace_for_an_account(self, rbac: Api, namespace: str) -> None:
        here = binding("a", "a", "", "Role") | {"subjects": [{"kind": "ServiceAccount", "name": "robot"}]}
        rbac.create_namespaced_role_binding(namespace, here)
        everywhere = binding(f"{namespace}-a", "view", "", "ClusterRole") | {"subjects": here["subjects"]}
        with refused(422, "Invalid") as refusal:
            rbac.create_cluster_role_binding(everywhere)
        assert refusal.fields == ["subjects[0].namespace"]

    def test_nothing_changes_when_nothing_differs(self, core: Api, namespace: str) -> None:
        made = core.create_namespaced_secret(namespace, secret("a", data={"x": "eA=="}))
        put = core.replace_namespaced_secret("a", namespace, made)
        assert put.metadata.resource_version == made.metadata.resource_version

    def test_a_secrets_type_is_immutable(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        with refused(422, "Invalid") as refusal:
            core.replace_namespaced_secret("a", namespace, secret("a", type="example.com/x"))
        assert refusal.fields == ["type"]
        assert "field is immutable" in refusal.message

    def test_an_immutable_secret_keeps_its_data(self, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", data={"x": "eA=="}, immutable=True))
        with refused(422, "Invalid") as refusal:
            core.patch_namespaced_secret("a", namespace, {"data": {"x": "eQ=="}}, _content_type=MERGE)
        assert refusal.fields == ["data"]
        core.patch_namespaced_secret("a", namespace, {"metadata": {"labels": {"l": "m"}}}, _content_type=MERGE)
