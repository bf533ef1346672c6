"""RBAC: which requests a rule allows, and access reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.kubernetes.api import (
    MERGE,
    RBAC,
    Api,
    authentication_of,
    authorization_of,
    binding,
    core_of,
    give,
    may,
    names,
    raw,
    rbac_of,
    refused,
    role,
    rule,
    secret,
)
from tests.waiting import until

if TYPE_CHECKING:
    from kubernetes import client

    from tests.contract.kubernetes_server import Server


class TestAccess:
    def test_who_holds_nothing_is_refused_with_what_was_asked(self, user: client.ApiClient, namespace: str) -> None:
        with refused(403, "Forbidden") as refusal:
            core_of(user).list_namespaced_secret(namespace)
        asked = f'User "{namespace}" cannot list resource "secrets" in API group "" in the namespace "{namespace}"'
        assert refusal.message == f"secrets is forbidden: {asked}"
        assert refusal.status["details"] == {"kind": "secrets"}
        with refused(403, "Forbidden") as refusal:
            rbac_of(user).delete_cluster_role("view")
        asked = f'User "{namespace}" cannot delete resource "clusterroles" in API group "{RBAC}" at the cluster scope'
        assert refusal.message == f'clusterroles.{RBAC} "view" is forbidden: {asked}'

    def test_an_unknown_token_is_nobodys(self, server: Server) -> None:
        answer = raw(server, "GET", "/api/v1/namespaces", headers={"Authorization": "Bearer nonsense"})
        assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")

    def test_a_role_gives_its_verbs_in_its_namespace(self, rbac: Api, user: client.ApiClient, namespace: str) -> None:
        give(rbac, namespace, rule("create get", "secrets"))
        theirs = core_of(user)
        theirs.create_namespaced_secret(namespace, secret("a"))
        theirs.read_namespaced_secret("a", namespace)
        with refused(403, "Forbidden"):
            theirs.delete_namespaced_secret("a", namespace)
        with refused(403, "Forbidden"):
            theirs.read_namespaced_secret("a", "default")

    def test_resource_names_allow_that_object_and_a_list_of_it(
        self, core: Api, rbac: Api, user: client.ApiClient, namespace: str
    ) -> None:
        core.create_namespaced_secret(namespace, secret("a"))
        give(rbac, namespace, rule("get list", "secrets", resource_names="a"))
        theirs = core_of(user)
        theirs.read_namespaced_secret("a", namespace)
        assert names(theirs.list_namespaced_secret(namespace, field_selector="metadata.name=a")) == ["a"]
        with refused(403, "Forbidden"):
            theirs.list_namespaced_secret(namespace)
        with refused(403, "Forbidden"):
            theirs.read_namespaced_secret("b", namespace)

    def test_access_ends_with_its_binding(self, rbac: Api, user: client.ApiClient, namespace: str) -> None:
        give(rbac, namespace, rule("list", "secrets"))
        core_of(user).list_namespaced_secret(namespace)
        rbac.delete_namespaced_role_binding("given", namespace)
        question = {"verb": "list", "resource": "secrets", "namespace": namespace}
        until(lambda: not may(rbac.api_client, namespace, question))
        with refused(403, "Forbidden"):
            core_of(user).list_namespaced_secret(namespace)

    @pytest.mark.parametrize(
        ("question", "allowed"),
        [
            ({"verb": "get", "resource": "secrets"}, True),
            ({"verb": "get", "resource": "secrets", "subresource": "status"}, False),
            ({"verb": "list", "resource": "secrets"}, False),
            ({"verb": "get", "resource": "pods", "subresource": "log"}, True),
            ({"verb": "get", "resource": "pods"}, False),
            ({"verb": "delete", "resource": "widgets", "group": "example.com"}, True),
            ({"verb": "delete", "resource": "widgets", "subresource": "scale", "group": "example.com"}, True),
            ({"verb": "delete", "resource": "widgets"}, False),
            ({"verb": "update", "resource": "configmaps", "name": "mine"}, True),
            ({"verb": "update", "resource": "configmaps", "name": "yours"}, False),
            ({"verb": "update", "resource": "configmaps"}, False),
            ({"verb": "patch", "resource": "gadgets", "subresource": "scale", "group": "apps"}, True),
            ({"verb": "patch", "resource": "gadgets", "group": "apps"}, False),
            ({"verb": "*", "resource": "*", "group": "*"}, False),
            ({"path": "/metrics", "verb": "get"}, True),
            ({"path": "/logs/a", "verb": "get"}, True),
            ({"path": "/logs", "verb": "get"}, False),
            ({"path": "/metrics", "verb": "post"}, False),
        ],
    )
    def test_how_rules_are_read(
        self,
        admin: client.ApiClient,
        rbac: Api,
        cluster_role: str,
        question: dict[str, str],
        allowed: bool,
    ) -> None:
        rules = [
            rule("get", "secrets pods/log"),
            rule("*", "*", "example.com"),
            rule("update", "configmaps", resource_names="mine"),
            rule("patch", "*/scale", "apps"),
            {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]},
        ]
        rbac.patch_cluster_role(cluster_role, {"rules": rules}, _content_type=MERGE)
        rbac.create_cluster_role_binding(binding(cluster_role, cluster_role, "somebody@example.com"))
        try:
            until(lambda: may(admin, "somebody@example.com", {"verb": "get", "resource": "secrets"}))
            assert may(admin, "somebody@example.com", question) is allowed
        finally:
            rbac.delete_cluster_role_binding(cluster_role)

    @pytest.mark.parametrize(
        ("subject", "who"),
        [
            ({"kind": "User", "name": "u@example.com"}, {"who": "u@example.com"}),
            ({"kind": "Group", "name": "g@example.com"}, {"who": "x", "groups": ["g@example.com"]}),
            ({"kind": "ServiceAccount", "name": "robot", "namespace": "n"}, {"who": "system:serviceaccount:n:robot"}),
        ],
    )
    def test_whom_a_binding_means(
        self,
        admin: client.ApiClient,
        rbac: Api,
        namespace: str,
        subject: dict[str, str],
        who: dict[str, Any],
    ) -> None:
        rbac.create_namespaced_role(namespace, role("given", rule("get", "secrets")))
        bound = binding("given", "given", "", "Role") | {"subjects": [subject]}
        rbac.create_namespaced_role_binding(namespace, bound)
        question = {"verb": "get", "resource": "secrets"}
        until(lambda: may(admin, question=question | {"namespace": namespace}, **who))
        assert not may(admin, question=question | {"namespace": "default"}, **who)
        assert not may(admin, question=question, **who)

    def test_masters_may_everything(self, admin: client.ApiClient) -> None:
        assert may(admin, "x", {"verb": "*", "group": "*", "resource": "*"}, groups=["system:masters"])

    def test_everybody_may_ask_about_themselves(self, rbac: Api, user: client.ApiClient, namespace: str) -> None:
        give(rbac, namespace, rule("get", "secrets"))
        asks = authorization_of(user)
        answers = [
            asks.create_self_subject_access_review(
                {"spec": {"resourceAttributes": {"verb": verb, "resource": "secrets", "namespace": namespace}}}
            ).status.allowed
            for verb in ("get", "list")
        ]
        assert answers == [True, False]
        rules = asks.create_self_subject_rules_review({"spec": {"namespace": namespace}}).status.resource_rules
        assert any(found.verbs == ["get"] and found.resources == ["secrets"] for found in rules)
        me = authentication_of(user).create_self_subject_review({}).status.user_info
        assert me.username == namespace
        assert me.groups == ["system:authenticated"]

    def test_a_local_review_asks_about_its_own_namespace(self, admin: client.ApiClient, namespace: str) -> None:
        asks = authorization_of(admin)
        spec = {"user": "x", "resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": namespace}}
        assert asks.create_namespaced_local_subject_access_review(namespace, {"spec": spec}).status.allowed is False
        spec["resourceAttributes"] = {"verb": "get", "resource": "secrets", "namespace": "default"}
        with refused(422, "Invalid"):
            asks.create_namespaced_local_subject_access_review(namespace, {"spec": spec})

    @pytest.mark.parametrize("spec", [{"resourceAttributes": {"verb": "get"}}, {"user": "x"}])
    def test_a_review_needs_a_user_and_a_question(self, admin: client.ApiClient, spec: dict[str, Any]) -> None:
        with refused(422, "Invalid"):
            authorization_of(admin).create_subject_access_review({"spec": spec})
