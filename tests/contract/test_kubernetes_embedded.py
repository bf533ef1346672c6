"""What the embedded Kubernetes API has beside the contract: many clusters, Google's IAM, tokens, an end without waiting."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from local.kubernetes.authorization import User
from local.kubernetes.cluster import Cluster
from local.kubernetes.host import ClusterHost
from local.kubernetes.status import StatusError
from tests.contract.kubernetes_server import Served, served
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
SECRETS = "/api/v1/namespaces/default/secrets"
RBAC = "rbac.authorization.k8s.io"


class World:
    """Two clusters behind one listener: `blue` asks IAM as GKE does, `green` does not."""

    def __init__(self) -> None:
        self.permissions: dict[str, set[str]] = {}
        self.blue = Cluster("blue", iam_allows=lambda user, permission: permission in self.permissions.get(user, set()))
        self.green = Cluster("green")
        self.host = ClusterHost()
        for cluster in (self.blue, self.green):
            self.host.add(cluster.name, cluster)
        self.serving: Served

    def call(
        self, method: str, path: str, body: Any = None, *, cluster: str = "blue", token: str = "", **headers: str
    ) -> requests.Response:
        token = token or self.host.clusters[cluster].admin_token
        return self.stream(method, f"/clusters/{cluster}{path}", body, token=token, headers=headers)

    def stream(
        self, method: str, path: str, body: Any = None, *, token: str, headers: dict[str, str], stream: bool = False
    ) -> requests.Response:
        given = {"Authorization": f"Bearer {token}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method,
                self.serving.url + path,
                json=body,
                headers=given,
                verify=self.serving.ca,
                timeout=60,
                stream=stream,
            )

    def watch(self, path: str, cluster: str = "blue") -> requests.Response:
        token = self.host.clusters[cluster].admin_token
        return self.stream("GET", f"/clusters/{cluster}{path}", token=token, headers={}, stream=True)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with served(made.host, made.host.close) as made.serving:
        yield made


def secret(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}


def cluster_role(name: str, **rule: list[str]) -> dict[str, Any]:
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]}


def binding(name: str, role: str, subject: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "subjects": [subject],
        "roleRef": {"kind": "ClusterRole", "name": role},
    }


class TestHost:
    def test_clusters_share_a_listener_and_nothing_else(self, world: World) -> None:
        assert world.call("POST", SECRETS, secret("a")).status_code == 201
        assert world.call("GET", f"{SECRETS}/a", cluster="green").status_code == 404
        assert [item["metadata"]["name"] for item in world.blue.objects("secrets")] == ["a"]
        assert world.call("GET", SECRETS, token=world.green.admin_token).status_code == 401

    def test_a_removed_cluster_is_not_found_and_its_watches_end(self, world: World) -> None:
        with world.watch(f"{SECRETS}?watch=1") as watch:
            until(lambda: len(world.blue.store._listeners) == 1)
            world.serving.on_loop(lambda: world.host.remove("blue"))
            assert list(watch.iter_lines()) == []
        answer = requests.get(world.serving.url + "/clusters/blue/version", verify=world.serving.ca, timeout=60)
        assert answer.status_code == 404

    def test_a_watch_ends_when_its_client_leaves(self, world: World) -> None:
        with world.watch(f"{SECRETS}?watch=1"):
            until(lambda: len(world.blue.store._listeners) == 1)
        until(lambda: world.blue.store._listeners == [])

    def test_watches_end_when_the_server_stops(self) -> None:
        world = World()
        with served(world.host, world.host.close) as world.serving:
            watch = world.watch(f"{SECRETS}?watch=1")
        with watch:
            assert list(watch.iter_lines()) == []

    def test_a_watch_from_before_the_last_compaction_is_gone(self, world: World) -> None:
        world.call("POST", SECRETS, secret("a"))
        world.blue.store.forget_events()
        with world.watch(f"{SECRETS}?watch=1&resourceVersion=1") as watch:
            event = json.loads(next(watch.iter_lines()))
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert world.call("GET", f"{SECRETS}?resourceVersion=2&resourceVersionMatch=Exact").status_code == 410

    def test_a_namespace_goes_with_what_is_in_it(self, world: World) -> None:
        world.blue.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
        world.blue.put(secret("a") | {"metadata": {"name": "a", "namespace": "n"}})
        assert world.call("DELETE", "/api/v1/namespaces/n").json()["status"]["phase"] == "Terminating"
        assert world.blue.objects("secrets") == []
        assert world.call("GET", "/api/v1/namespaces/n").status_code == 404
        assert world.call("DELETE", "/api/v1/namespaces/default").status_code == 403

    def test_an_apply_body_is_refused_by_name(self, world: World) -> None:
        """Server-side apply is left out; kubectl says so when it meets this."""
        headers = {"Content-Type": "application/apply-patch+yaml"}
        assert world.call("PATCH", f"{SECRETS}/a?fieldManager=x", secret("a"), **headers).status_code == 415


class TestPut:
    def test_a_manifest_can_be_put_again(self) -> None:
        cluster = Cluster("blue")
        manifest = secret("a") | {"metadata": {"name": "a", "namespace": "default", "labels": {"x": "1"}}}
        first = cluster.put(manifest)
        assert cluster.put(manifest) == first
        assert cluster.put(manifest | {"stringData": {"k": "v"}})["data"] == {"k": "dg=="}

    def test_it_is_held_to_the_rules(self) -> None:
        with pytest.raises(StatusError, match="Upper"):
            Cluster("blue").put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "Upper"}})


class TestIam:
    @pytest.mark.parametrize(
        ("permission", "method", "path"),
        [
            ("container.secrets.list", "GET", SECRETS),
            ("container.secrets.get", "GET", f"{SECRETS}/a"),
            ("container.secrets.create", "POST", SECRETS),
            ("container.secrets.update", "PUT", f"{SECRETS}/a"),
            ("container.secrets.update", "PATCH", f"{SECRETS}/a"),
            ("container.secrets.delete", "DELETE", f"{SECRETS}/a"),
            ("container.secrets.delete", "DELETE", SECRETS),
            ("container.clusterRoleBindings.get", "GET", f"{BINDINGS}/a"),
            ("container.subjectAccessReviews.create", "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"),
        ],
    )
    def test_a_permission_opens_its_verb_on_gke_only(
        self, world: World, permission: str, method: str, path: str
    ) -> None:
        before = world.call(method, path, {}, Impersonate_User="u@example.com")
        assert before.status_code == 403
        assert before.json()["message"].endswith(f'requires one of ["{permission}"] permission(s).')
        world.permissions["u@example.com"] = {permission}
        assert world.call(method, path, {}, Impersonate_User="u@example.com").status_code != 403
        assert world.call(method, path, {}, Impersonate_User="u@example.com", cluster="green").status_code == 403

    def test_bind_permits_making_another_cluster_admin(self, world: World) -> None:
        world.permissions["u@example.com"] = {"container.clusterRoleBindings.create"}
        made = binding("b", "cluster-admin", {"kind": "User", "name": "argocd@example.com"})
        refused = world.call("POST", BINDINGS, made, Impersonate_User="u@example.com")
        assert refused.status_code == 403
        assert "attempting to grant RBAC permissions not currently held" in refused.json()["message"]
        world.permissions["u@example.com"].add("container.clusterRoles.bind")
        assert world.call("POST", BINDINGS, made, Impersonate_User="u@example.com").status_code == 201
        listing = world.call("GET", SECRETS, Impersonate_User="argocd@example.com")
        assert listing.status_code == 200

    def test_an_access_review_answers_for_both(self, world: World) -> None:
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        attributes = {"verb": "list", "resource": "secrets", "namespace": "default"}
        review = {"spec": {"user": "u@example.com", "resourceAttributes": attributes}}
        assert world.call("POST", path, review).json()["status"]["allowed"] is False
        world.permissions["u@example.com"] = {"container.secrets.list"}
        assert world.call("POST", path, review).json()["status"]["allowed"] is True
        assert world.call("POST", path, review, cluster="green").json()["status"]["allowed"] is False


class TestTokens:
    """Who has a token of their own, and may act as whom."""

    @pytest.fixture
    def agent(self, world: World) -> str:
        world.green.tokens["agent"] = User("system:serviceaccount:gke-connect:connect-agent-sa")
        return "agent"

    def whoami(self, world: World, token: str, **headers: str) -> requests.Response:
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        return world.call("POST", path, {}, cluster="green", token=token, **headers)

    def test_a_token_says_who_it_is(self, world: World, agent: str) -> None:
        info = self.whoami(world, agent).json()["status"]["userInfo"]
        assert info["username"] == "system:serviceaccount:gke-connect:connect-agent-sa"
        assert info["groups"] == ["system:authenticated"]

    def test_no_token_is_anonymous(self, world: World) -> None:
        answer = requests.get(f"{world.serving.url}/clusters/green{SECRETS}", verify=world.serving.ca, timeout=60)
        assert answer.status_code == 403
        assert 'User "system:anonymous" cannot list' in answer.json()["message"]

    def test_impersonation_must_be_allowed_by_name(self, world: World, agent: str) -> None:
        refused = self.whoami(world, agent, Impersonate_User="u@example.com")
        assert refused.status_code == 403
        assert 'cannot impersonate resource "users" in API group "" at the cluster scope' in refused.json()["message"]
        role = cluster_role(
            "impersonate", verbs=["impersonate"], apiGroups=[""], resources=["users"], resourceNames=["u@example.com"]
        )
        world.green.put(role)
        subject = {"kind": "ServiceAccount", "name": "connect-agent-sa", "namespace": "gke-connect"}
        world.green.put(binding("impersonate", "impersonate", subject))
        info = self.whoami(world, agent, Impersonate_User="u@example.com").json()["status"]["userInfo"]
        assert info == {"username": "u@example.com", "groups": ["system:authenticated"]}
        assert self.whoami(world, agent, Impersonate_User="other@example.com").status_code == 403
        grouped = self.whoami(world, agent, Impersonate_User="u@example.com", Impersonate_Group="system:masters")
        assert grouped.status_code == 403

    def test_a_service_account_is_impersonated_as_such(self, world: World, agent: str) -> None:
        role = cluster_role("impersonate", verbs=["impersonate"], apiGroups=[""], resources=["serviceaccounts"])
        world.green.put(role)
        subject = {"kind": "User", "name": world.green.tokens[agent].name}
        world.green.put(binding("impersonate", "impersonate", subject))
        answer = self.whoami(world, agent, Impersonate_User="system:serviceaccount:n:robot")
        groups = ["system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated"]
        assert answer.json()["status"]["userInfo"]["groups"] == groups
        assert self.whoami(world, agent, Impersonate_User="robot").status_code == 403

    def test_a_group_needs_a_user(self, world: World, agent: str) -> None:
        assert self.whoami(world, agent, Impersonate_Group="g").status_code == 500
