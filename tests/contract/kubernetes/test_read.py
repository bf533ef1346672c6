"""Reads and lists: errors, selectors, pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.kubernetes.api import RBAC, Api, names, raw, refused, secret

if TYPE_CHECKING:
    from tests.contract.kubernetes_server import Server


class TestRead:
    def test_what_is_not_there_is_not_found(self, core: Api, namespace: str) -> None:
        with refused(404, "NotFound") as refusal:
            core.read_namespaced_secret("a", namespace)
        assert refusal.message == 'secrets "a" not found'
        assert refusal.status["details"] == {"name": "a", "kind": "secrets"}

    def test_details_name_the_group(self, rbac: Api) -> None:
        with refused(404, "NotFound") as refusal:
            rbac.read_cluster_role("nobody")
        assert refusal.message == f'clusterroles.{RBAC} "nobody" not found'
        assert refusal.status["details"] == {"name": "nobody", "group": RBAC, "kind": "clusterroles"}

    def test_an_unknown_resource_is_not_found_and_names_nothing(self, server: Server) -> None:
        answer = raw(server, "GET", "/api/v1/things/a")
        assert (answer.status_code, answer.json()["reason"]) == (404, "NotFound")
        assert "name" not in answer.json()["details"]

    def test_outside_of_every_group_there_is_no_status_at_all(self, server: Server) -> None:
        answer = raw(server, "GET", "/apis/nobody.example.com/v1/things/a")
        assert (answer.status_code, answer.text.strip()) == (404, "404 page not found")

    def test_a_list_is_of_its_namespace_in_the_order_of_names(self, core: Api, namespace: str) -> None:
        for name in ("b", "c", "a"):
            core.create_namespaced_secret(namespace, secret(name))
        assert names(core.list_namespaced_secret(namespace)) == ["a", "b", "c"]
        assert core.list_namespaced_secret(f"{namespace}-other").items == []
        everywhere = core.list_secret_for_all_namespaces(field_selector=f"metadata.namespace={namespace}")
        assert names(everywhere) == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("selector", "found"),
        [
            ("", ["blue", "green", "plain"]),
            ("env=prod", ["blue"]),
            ("env==prod", ["blue"]),
            ("env!=prod", ["green", "plain"]),
            ("env", ["blue", "green"]),
            ("!env", ["plain"]),
            ("env in (prod, test)", ["blue", "green"]),
            ("env in (prod)", ["blue"]),
            ("env notin (prod)", ["green", "plain"]),
            ("env in (prod,test),tier!=1", ["green"]),
            ("env,tier", ["blue"]),
            ("tier=", []),
            ("x.example.com/y=z", ["plain"]),
        ],
    )
    def test_label_selectors(self, core: Api, namespace: str, selector: str, found: list[str]) -> None:
        labels = {"blue": {"env": "prod", "tier": "1"}, "green": {"env": "test"}, "plain": {"x.example.com/y": "z"}}
        for name, worn in labels.items():
            core.create_namespaced_secret(namespace, secret(name, metadata={"labels": worn}))
        assert names(core.list_namespaced_secret(namespace, label_selector=selector)) == found

    @pytest.mark.parametrize(
        ("selector", "found"),
        [
            ("metadata.name=a", ["a"]),
            ("metadata.name!=a", ["b"]),
            ("type=Opaque", ["a"]),
            ("type=example.com/x,metadata.name=b", ["b"]),
        ],
    )
    def test_field_selectors(self, core: Api, namespace: str, selector: str, found: list[str]) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        core.create_namespaced_secret(namespace, secret("b", type="example.com/x"))
        assert names(core.list_namespaced_secret(namespace, field_selector=selector)) == found

    @pytest.mark.parametrize("options", [{"label_selector": "a in b"}, {"field_selector": "spec.colour=blue"}])
    def test_a_selector_that_means_nothing_is_a_bad_request(
        self, core: Api, namespace: str, options: dict[str, str]
    ) -> None:
        with refused(400, "BadRequest"):
            core.list_namespaced_secret(namespace, **options)

    def test_pages_show_one_version_whatever_happens_between_them(self, core: Api, namespace: str) -> None:
        for name in ("a", "b", "c", "d"):
            core.create_namespaced_secret(namespace, secret(name))
        first = core.list_namespaced_secret(namespace, limit=2)
        core.create_namespaced_secret(namespace, secret("bb"))
        core.delete_namespaced_secret("d", namespace)
        second = core.list_namespaced_secret(namespace, limit=2, _continue=first.metadata._continue)
        assert (names(first), names(second)) == (["a", "b"], ["c", "d"])
        assert first.metadata.remaining_item_count == 2
        assert second.metadata.resource_version == first.metadata.resource_version
        assert not second.metadata._continue

    def test_a_broken_continue_token_is_a_bad_request(self, core: Api, namespace: str) -> None:
        with refused(400, "BadRequest"):
            core.list_namespaced_secret(namespace, limit=1, _continue="nonsense")

    def test_kubectl_gets_tables(self, server: Server, core: Api, namespace: str) -> None:
        core.create_namespaced_secret(namespace, secret("a", data={"x": "", "y": ""}))
        accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
        found = raw(server, "GET", f"/api/v1/namespaces/{namespace}/secrets", headers=accept).json()
        assert found["kind"] == "Table"
        assert [column["name"] for column in found["columnDefinitions"]] == ["Name", "Type", "Data", "Age"]
        assert found["rows"][0]["cells"][:3] == ["a", "Opaque", 2]
        assert found["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
