"""Connect Gateway, driven by the official Kubernetes client, kubectl and gcloud, on clusters of the local cloud."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes import client, watch

from local.names import FLEET, NUMBERS
from tests import forked_gcloud
from tests.contract.background import cloud_without_functions
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.control import LocalCloud

ARGOCD = "argocd@demo-fleet.iam.gserviceaccount.com"
GRANT = "grant-rbac@demo-fleet.iam.gserviceaccount.com"
REGISTER = "register-membership@demo-fleet.iam.gserviceaccount.com"
NAMESPACES = "/api/v1/namespaces"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
REGION = f"projects/{FLEET}/locations/europe-west1"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A cloud without functions, with a GKE cluster `blue` in the fleet, and no role binding."""
    with cloud_without_functions(tmp_path_factory.mktemp("cloud")) as running:
        running.create_cluster("blue", fleet=FLEET)
        running.wait_for(lambda: f"{REGION}/memberships/blue" in running.state()["memberships"])
        yield running


@pytest.fixture
def edge(cloud: LocalCloud) -> str:
    """An attached cluster of this test, which has admitted nobody."""
    return cloud.attach(f"edge-{next(_numbers)}")


def _client(cloud: LocalCloud, membership: str, email: str) -> client.ApiClient:
    """The official client with what a cluster Secret says: the gateway's URL and a Google token."""
    configuration = client.Configuration()
    configuration.host = cloud.do("cloud", "gateway_url", membership=membership)
    configuration.ssl_ca_cert = str(cloud.directory / "ca.pem")
    configuration.api_key = {"authorization": f"Bearer {cloud.do('iam', 'token_for', email=email)}"}
    configuration.no_proxy = "127.0.0.1"
    return client.ApiClient(configuration)


def _bind(cloud: LocalCloud, cluster: str, email: str) -> None:
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": email}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    body = {"metadata": {"name": f"let-in:{email}"}, "roleRef": role, "subjects": [subject]}
    status, _ = cloud.kubernetes(cluster, "POST", BINDINGS, body)
    assert status in {201, 409}


def test_a_gke_cluster_hears_the_plain_email_and_its_rbac_decides(cloud: LocalCloud) -> None:
    cluster = cloud.create_cluster("rbac", fleet=FLEET)
    cloud.wait_for(lambda: f"{REGION}/memberships/rbac" in cloud.state()["memberships"])
    with _client(cloud, f"{REGION}/memberships/rbac", ARGOCD) as api:
        with pytest.raises(client.ApiException) as refused:
            client.CoreV1Api(api).list_namespace()
        assert refused.value.status == 403
        status_object = json.loads(refused.value.body or "")
        assert status_object["kind"] == "Status"
        assert f'User "{ARGOCD}"' in status_object["message"]
        _bind(cloud, cluster, ARGOCD)
        namespaces: Any = client.CoreV1Api(api).list_namespace()
        assert "kube-system" in [item.metadata.name for item in namespaces.items]
        review: Any = client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
        assert review.status.user_info.username == ARGOCD


def test_on_gke_iam_joins_in_and_lets_grant_rbac_make_the_first_binding(cloud: LocalCloud) -> None:
    membership = f"{REGION}/memberships/blue"
    status, _ = cloud.through_gateway(GRANT, membership, "GET", BINDINGS)
    assert status == 200
    status, answer = cloud.through_gateway(GRANT, membership, "GET", "/api/v1/namespaces/default/secrets")
    assert (status, answer["kind"]) == (403, "Status")


def test_a_name_with_a_colon_stays_one_and_its_404_is_the_clusters(cloud: LocalCloud) -> None:
    status, answer = cloud.through_gateway(
        "you@example.com", f"{REGION}/memberships/blue", "GET", f"{BINDINGS}/fleet-registrar%3Ax%40y"
    )
    assert (status, answer["kind"], answer["details"]["name"]) == (404, "Status", "fleet-registrar:x@y")


def test_a_watch_brings_each_event_while_it_is_open(cloud: LocalCloud) -> None:
    central = "central"
    namespace = "argocd"
    you = "you@example.com"
    seen: list[str] = []
    with _client(cloud, f"{REGION}/memberships/{central}", you) as api:
        core: Any = client.CoreV1Api(api)
        version = core.list_namespaced_secret(namespace).metadata.resource_version
        stream = watch.Watch()
        first = threading.Event()

        def follow() -> None:
            with _client(cloud, f"{REGION}/memberships/{central}", you) as own:
                listing = client.CoreV1Api(own).list_namespaced_secret
                for event in stream.stream(listing, namespace, resource_version=version, timeout_seconds=200):
                    seen.append(event["object"].metadata.name)
                    if len(seen) == 2:
                        stream.stop()
                    first.set()

        follower = threading.Thread(target=follow)
        follower.start()
        core.create_namespaced_secret(namespace, {"metadata": {"name": "one"}})
        assert first.wait(PATIENCE)
        core.create_namespaced_secret(namespace, {"metadata": {"name": "two"}})
        follower.join(PATIENCE)
    assert seen == ["one", "two"]


def _ask(cloud: LocalCloud, url: str, token: str | None, host: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, headers=headers)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if host:
        request.add_header("Host", host)
    trusted = ssl.create_default_context(cafile=str(cloud.directory / "ca.pem"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


REFUSALS: dict[str, tuple[int, dict[str, Any]]] = {
    "no token": (401, {"email": None}),
    "no gateway role": (403, {"email": REGISTER}),
    "the project's id instead of its number": (400, {"project": FLEET}),
    "an unknown membership": (404, {"membership": "none"}),
    "another region": (404, {"location": "us-east1"}),
    "the collection of attached clusters for a GKE cluster": (404, {"collection": "memberships"}),
    "another region's host": (404, {"host": "us-east1-connectgateway.googleapis.com"}),
    "the global host for a region": (404, {"host": "connectgateway.googleapis.com"}),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_the_gateways_own_refusal_is_a_google_error(cloud: LocalCloud, reason: str) -> None:
    expected, changes = REFUSALS[reason]
    asked: dict[str, Any] = {
        "email": ARGOCD,
        "project": NUMBERS[FLEET],
        "location": "europe-west1",
        "collection": "gkeMemberships",
        "membership": "blue",
        "host": "",
        **changes,
    }
    base = cloud.state()["endpoints"]["connectgateway"]
    url = "{base}/v1/projects/{project}/locations/{location}/{collection}/{membership}/api".format(base=base, **asked)
    token = cloud.do("iam", "token_for", email=asked["email"]) if asked["email"] else None
    status, answer = _ask(cloud, url, token, asked["host"])
    assert status == expected
    assert answer["error"]["code"] == expected
    assert "kind" not in answer


def test_the_regional_host_serves_its_region(cloud: LocalCloud) -> None:
    url = f"{cloud.do('cloud', 'gateway_url', membership=f'{REGION}/memberships/blue')}/api"
    token = cloud.do("iam", "token_for", email=ARGOCD)
    status, _ = _ask(cloud, url, token, "europe-west1-connectgateway.googleapis.com")
    assert status == 200


def test_who_the_caller_claims_to_be_does_not_count(cloud: LocalCloud) -> None:
    url = f"{cloud.do('cloud', 'gateway_url', membership=f'{REGION}/memberships/blue')}{NAMESPACES}"
    token = cloud.do("iam", "token_for", email=GRANT)
    claims = {"Impersonate-User": "you@example.com", "Impersonate-Group": "system:masters"}
    status, answer = _ask(cloud, url, token, **claims)
    assert status == 403
    assert GRANT in answer["message"]


def test_one_permission_per_verb(cloud: LocalCloud) -> None:
    membership = f"{REGION}/memberships/blue"
    status, answer = cloud.through_gateway(GRANT, membership, "PUT", f"{BINDINGS}/x", {})
    assert status == 403
    assert "gkehub.gateway.put" in answer["error"]["message"]


def test_a_dropped_answer_means_that_it_was_done(cloud: LocalCloud) -> None:
    secrets, central = "/api/v1/namespaces/argocd/secrets", f"{REGION}/memberships/central"
    cloud.add_fault("drop", api="connectgateway", call="POST */secrets")
    with pytest.raises((ConnectionError, urllib.error.URLError)):
        cloud.through_gateway("you@example.com", central, "POST", secrets, {"metadata": {"name": "dropped"}})
    assert cloud.through_gateway("you@example.com", central, "GET", f"{secrets}/dropped")[0] == 200
    cloud.remove_faults()


def test_a_fault_can_be_for_one_identity_and_one_call(cloud: LocalCloud) -> None:
    membership, one = f"{REGION}/memberships/blue", BINDINGS
    fault = cloud.add_fault("status", api="connectgateway", call=f"GET *{one}", caller="grant-rbac@*", status=429)
    assert cloud.through_gateway("you@example.com", membership, "GET", one)[0] == 200
    assert cloud.through_gateway(GRANT, membership, "GET", one)[0] == 429
    assert cloud.through_gateway(GRANT, membership, "GET", one)[0] == 200
    (call,) = [call for call in cloud.calls() if call["caller"] == GRANT and call["status"] == 429]
    assert call["path"].endswith(f"/gkeMemberships/blue{one}")
    cloud.remove_faults(fault["id"])


def test_one_permission_less_is_refused(cloud: LocalCloud) -> None:
    membership, one = f"{REGION}/memberships/blue", BINDINGS
    cloud.do("iam", "revoke", GRANT, FLEET, "gkehub.gateway.get")
    status, answer = cloud.through_gateway(GRANT, membership, "GET", one)
    cloud.do("iam", "grant", GRANT, FLEET, "gkehub.gateway.get")
    assert (status, answer["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert cloud.through_gateway(GRANT, membership, "GET", one)[0] == 200


def test_agent_impersonates_only_admitted_identities(cloud: LocalCloud, edge: str) -> None:
    status, answer = cloud.through_gateway(ARGOCD, edge, "GET", NAMESPACES)
    assert (status, answer["kind"]) == (403, "Status")
    assert "impersonate" in answer["message"]
    cloud.admit(edge, [ARGOCD])
    assert cloud.through_gateway(ARGOCD, edge, "GET", NAMESPACES)[0] == 200
    assert cloud.through_gateway(GRANT, edge, "GET", NAMESPACES)[0] == 403


def test_iam_does_not_join_in_on_an_attached_cluster(cloud: LocalCloud, edge: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}]
    role = {"metadata": {"name": "agent"}, "rules": rules}
    agent = {"kind": "ServiceAccount", "name": "connect-agent-sa", "namespace": "gke-connect"}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "agent"}
    cloud.kubernetes(edge, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
    cloud.kubernetes(edge, "POST", BINDINGS, {"metadata": {"name": "agent"}, "roleRef": ref, "subjects": [agent]})
    status, answer = cloud.through_gateway(GRANT, edge, "GET", BINDINGS)
    assert status == 403
    assert f'User "{GRANT}"' in answer["message"]


def test_a_lost_agent_is_a_404_of_the_gateway_until_it_is_back(cloud: LocalCloud, edge: str) -> None:
    cloud.admit(edge, [ARGOCD])
    cloud.disconnect(edge)
    status, answer = cloud.through_gateway(ARGOCD, edge, "GET", NAMESPACES)
    assert (status, answer["error"]["status"]) == (404, "NOT_FOUND")
    cloud.reconnect(edge)
    assert cloud.through_gateway(ARGOCD, edge, "GET", NAMESPACES)[0] == 200


def _kubectl(
    cloud: LocalCloud, tmp_path: Path, membership: str, email: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    authority = b64encode((cloud.directory / "ca.pem").read_bytes()).decode()
    server = cloud.do("cloud", "gateway_url", membership=membership)
    token = cloud.do("iam", "token_for", email=email)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": "c", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "current-context": "c",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    where = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.run(["kubectl", *arguments], env=where, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here: left out is kubectl through the gateway")
def test_kubectl_works_through_the_gateway(cloud: LocalCloud, tmp_path: Path) -> None:
    central, you = f"{REGION}/memberships/central", "you@example.com"
    whoami = _kubectl(cloud, tmp_path, central, you, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert whoami.stdout == you, whoami.stderr
    manifest = tmp_path / "secret.json"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "by-kubectl", "namespace": "argocd"}}
    manifest.write_text(json.dumps(secret))
    applied = _kubectl(cloud, tmp_path, central, you, "apply", "-f", str(manifest))
    assert applied.returncode == 0, applied.stderr
    got = _kubectl(cloud, tmp_path, central, you, "-n", "argocd", "get", "secret", "by-kubectl", "-o", "name")
    assert got.stdout == "secret/by-kubectl\n"
    refused = _kubectl(cloud, tmp_path, central, ARGOCD, "get", "namespaces")
    assert refused.returncode == 1
    assert f'User "{ARGOCD}" cannot list resource "namespaces"' in refused.stderr


GCLOUD = all(map(shutil.which, ("gcloud", "kubectl")))


@pytest.mark.skipif(not GCLOUD, reason="no gcloud and kubectl here: left out is `generate-gateway-rbac --apply`")
def test_the_command_that_a_person_runs_admits_an_identity(cloud: LocalCloud, edge: str) -> None:
    words = ["gcloud", "container", "fleet", "memberships", "generate-gateway-rbac"]
    words += [f"--membership={edge.rpartition('/')[2]}", "--role=clusterrole/cluster-admin", f"--users={ARGOCD}"]
    words += [
        f"--project={FLEET}",
        f"--kubeconfig={cloud.directory / 'kubeconfig'}",
        f"--context={edge.rpartition('/')[2]}",
    ]
    sourced = f'source {cloud.directory / "env"} && exec "$@"'
    bare = {"PATH": forked_gcloud.path(), "HOME": str(cloud.directory)}
    command = ["bash", "-c", sourced, "bash", *words, "--apply"]
    done = subprocess.run(command, env=bare, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert cloud.through_gateway(ARGOCD, edge, "GET", NAMESPACES)[0] == 200


@pytest.mark.skipif(not GCLOUD, reason="no gcloud and kubectl here: left out are kubeconfigs made by gcloud")
@pytest.mark.parametrize(
    "command",
    [
        ["gcloud", "container", "clusters", "get-credentials", "blue", "--region=europe-west1"],
        ["gcloud", "container", "fleet", "memberships", "get-credentials", "blue", "--location=europe-west1"],
    ],
    ids=["direct", "through the gateway"],
)
def test_a_kubeconfig_made_by_gcloud_works_and_the_others_stay(cloud: LocalCloud, command: list[str]) -> None:
    if not shutil.which("gke-gcloud-auth-plugin"):
        pytest.skip("no gke-gcloud-auth-plugin here: left out are kubeconfigs made by gcloud")
    script = f"source {cloud.directory / 'env'} && {' '.join(command)} && kubectl auth whoami -o name; kubectl get ns && kubectl --context central get ns argocd"
    bare = {"PATH": forked_gcloud.path(), "HOME": str(cloud.directory)}
    done = subprocess.run(["bash", "-c", script], env=bare, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    cloud.attach(f"later-{len(command)}")

    def contexts() -> set[str]:
        return {one["name"] for one in yaml.safe_load((cloud.directory / "kubeconfig").read_text())["contexts"]}

    assert {"central", "blue", f"later-{len(command)}"} < contexts()
    assert any(name.startswith(("gke_", "connectgateway_")) for name in contexts())


def _who(cloud: LocalCloud, membership: str, caller: str, another: str) -> tuple[int, str]:
    """Who the cluster sees when `caller` wants to act as `another`."""
    with _client(cloud, membership, caller) as api:
        api.set_default_header("Impersonate-User", another)
        try:
            review: Any = client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
        except client.ApiException as refused:
            return int(refused.status or 0), json.loads(refused.body or "")["message"]
        return 200, review.status.user_info.username


def test_impersonation_on_gke_needs_its_permission(cloud: LocalCloud) -> None:
    membership, person = f"{REGION}/memberships/blue", "as@example.com"
    cloud.do("iam", "grant", person, FLEET, "gkehub.gateway.post")
    status, message = _who(cloud, membership, person, ARGOCD)
    assert (status, "cannot impersonate" in message) == (403, True)
    cloud.do("iam", "grant", person, FLEET, "container.clusters.impersonate")
    assert _who(cloud, membership, person, ARGOCD) == (200, ARGOCD)


def test_impersonation_does_not_count_on_attached_clusters(cloud: LocalCloud, edge: str) -> None:
    person = "admin@example.com"
    cloud.do("iam", "grant", person, FLEET, "gkehub.gateway.post")
    cloud.admit(edge, [person])
    assert _who(cloud, edge, person, ARGOCD) == (200, person)
