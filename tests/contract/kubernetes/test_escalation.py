"""Nobody grants more than they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.kubernetes.api import RBAC, Api, binding, give, names, raw, rbac_of, refused, role, rule

if TYPE_CHECKING:
    from kubernetes import client

    from tests.contract.kubernetes_server import Server


class TestEscalation:
    def test_binding_a_role_beyond_ones_own_rights_is_refused(
        self, rbac: Api, user: client.ApiClient, namespace: str
    ) -> None:
        give(rbac, namespace, rule("create", "rolebindings", RBAC))
        with refused(403, "Forbidden") as refusal:
            rbac_of(user).create_namespaced_role_binding(namespace, binding("more", "cluster-admin", namespace))
        assert "is attempting to grant RBAC permissions not currently held" in refusal.message
        assert names(rbac.list_namespaced_role_binding(namespace)) == ["given"]

    def test_the_verb_bind_allows_it_for_the_roles_it_names(
        self, rbac: Api, user: client.ApiClient, namespace: str
    ) -> None:
        give(
            rbac,
            namespace,
            rule("create", "rolebindings", RBAC),
            rule("bind", "clusterroles", RBAC, resource_names="view"),
        )
        theirs = rbac_of(user)
        theirs.create_namespaced_role_binding(namespace, binding("more", "view", namespace))
        with refused(403, "Forbidden"):
            theirs.create_namespaced_role_binding(namespace, binding("most", "cluster-admin", namespace))

    def test_a_user_with_a_roles_rules_may_bind_it(self, rbac: Api, user: client.ApiClient, namespace: str) -> None:
        rbac.create_namespaced_role(namespace, role("small", rule("get", "secrets", resource_names="a")))
        give(rbac, namespace, rule("create", "rolebindings", RBAC), rule("get list", "secrets"))
        rbac_of(user).create_namespaced_role_binding(namespace, binding("more", "small", namespace, "Role"))

    def test_a_role_that_is_not_there_cannot_be_weighed(
        self, rbac: Api, user: client.ApiClient, namespace: str
    ) -> None:
        give(rbac, namespace, rule("create", "rolebindings", RBAC))
        with refused(404, "NotFound"):
            rbac_of(user).create_namespaced_role_binding(namespace, binding("more", "no-such-role", namespace))

    def test_writing_a_role_beyond_ones_own_rights_is_refused(
        self, rbac: Api, user: client.ApiClient, namespace: str
    ) -> None:
        give(rbac, namespace, rule("create update", "roles", RBAC), rule("get", "secrets"))
        theirs = rbac_of(user)
        theirs.create_namespaced_role(namespace, role("same", rule("get", "secrets")))
        with refused(403, "Forbidden"):
            theirs.create_namespaced_role(namespace, role("more", rule("get list", "secrets")))
        with refused(403, "Forbidden"):
            theirs.replace_namespaced_role("same", namespace, role("same", rule("*", "*")))

    def test_the_verb_escalate_allows_it(self, rbac: Api, user: client.ApiClient, namespace: str) -> None:
        give(rbac, namespace, rule("create escalate", "roles", RBAC))
        rbac_of(user).create_namespaced_role(namespace, role("more", rule("*", "*")))

    @pytest.mark.parametrize(
        ("fault", "where"),
        [
            ({"rules": [{"apiGroups": [""], "resources": ["secrets"]}]}, "rules[0].verbs"),
            ({"rules": [{"verbs": ["get"], "resources": ["secrets"]}]}, "rules[0].apiGroups"),
            ({"rules": [{"verbs": ["get"], "apiGroups": [""]}]}, "rules[0].resources"),
            ({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}, "rules[0].nonResourceURLs"),
        ],
    )
    def test_a_rule_needs_its_parts(self, server: Server, namespace: str, fault: dict[str, Any], where: str) -> None:
        path = f"/apis/{RBAC}/v1/namespaces/{namespace}/roles"
        answer = raw(server, "POST", path, json={"metadata": {"name": "a"}} | fault)
        assert (answer.status_code, answer.json()["reason"]) == (422, "Invalid")
        assert where in [cause["field"] for cause in answer.json()["details"]["causes"]]

    def test_a_cluster_role_binding_needs_a_cluster_role(self, rbac: Api, namespace: str) -> None:
        with refused(422, "Invalid") as refusal:
            rbac.create_cluster_role_binding(binding(namespace, "view", "x", "Role"))
        assert refusal.fields == ["roleRef.kind"]
        assert refusal.status["details"]["group"] == RBAC
