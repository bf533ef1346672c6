"""What only Kubernetes itself can answer: the admission policy of `infra/argocd/`, and RBAC beside GKE's IAM.

The tests of the chain run on real clusters as they are (CHAIN_KUBE=real, tests/chain/conftest.py), with this policy standing.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from tests.chain.running import ARGOCD, CENTRAL, CENTRAL_MEMBERSHIP, MERGE, SECRETS, Chain, decoded, email, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud of real clusters."""
    with running(tmp_path_factory.mktemp("real"), "--kube", "real") as chain:
        yield chain


def _secret(name: str, **change: Any) -> dict[str, Any]:
    """What `write_secret` would write, but for the changes."""
    labels = {
        "argocd.argoproj.io/secret-type": "cluster",
        "app.kubernetes.io/managed-by": "fleet-registrar",
        "fleet-registrar/membership-hash": "0" * 32,
    }
    data = {"name": name, "server": change.pop("server"), "config": change.pop("config")}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels | change.pop("labels", {})},
        "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
        "type": "Opaque",
        **change,
    }


def test_kubernetes_itself_lets_the_functions_write_cluster_secrets_of_ours_and_nothing_else(cloud: Chain) -> None:
    """The admission policy, as the API server reads it: `https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/`."""
    cluster = cloud.onboard("blue")
    good = decoded(cloud.manifest(cluster))
    writer = email("write-secret")

    def write(verb: str, path: str, body: Any, *, who: str = writer) -> int:
        kind = MERGE if verb == "PATCH" else "application/json"
        status, answer = cloud.through_gateway(who, CENTRAL_MEMBERSHIP, verb, path, body, content_type=kind)
        assert status < 400 or "ValidatingAdmissionPolicy 'fleet-registrar'" in answer["message"], answer
        return status

    def create(**change: Any) -> int:
        given = {"server": good["server"], "config": good["config"]} | change
        return write("POST", f"{SECRETS}?dryRun=All", _secret("demo-fleet.europe-west1.made", **given))

    assert create() == 201
    assert create(server="https://evil.example") == 422
    assert create(server=good["server"].replace("/100000000001/", "/999/")) == 422
    assert create(config='{"bearerToken":"x"}') == 422
    assert create(config=good["config"].replace("gcp", "aws")) == 422
    assert create(labels={"argocd.argoproj.io/secret-type": "repository"}) == 422
    assert create(labels={"app.kubernetes.io/managed-by": "somebody"}) == 422
    assert create(type="example.com/other") == 422
    name = cloud.manifest(cluster)["metadata"]["name"]
    ours = f"{SECRETS}/{name}?dryRun=All"
    assert write("PATCH", ours, {"metadata": {"labels": {"env": "prod"}}}) == 200
    assert write("PATCH", ours, {"data": {"server": b64encode(b"https://evil.example").decode()}}) == 422
    assert write("PATCH", ours, {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}) == 422
    status, _ = cloud.kubernetes(CENTRAL, "POST", SECRETS, {"metadata": {"name": "theirs"}, "stringData": {"a": "b"}})
    assert status == 201
    theirs = f"{SECRETS}/theirs"
    assert write("PATCH", theirs, {"metadata": {"labels": {"env": "prod"}}}) == 422
    assert write("DELETE", theirs, None, who=email("remove-secret")) == 422
    assert write("DELETE", ours, None, who=email("remove-secret")) == 200
    assert cloud.kubernetes(CENTRAL, "DELETE", theirs)[0] == 200


def test_iam_opens_a_gke_cluster_to_the_functions_and_rbac_alone_to_argocd(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    membership = cloud.membership(cluster)
    status, answer = cloud.through_gateway(email("write-secret"), membership, "GET", "/api/v1/secrets")
    assert status == 403
    assert 'requires one of ["container.secrets.list"] permission(s).' in answer["message"]
    assert cloud.admits(membership)
    _, review = cloud.through_gateway(
        email("grant-rbac"),
        membership,
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"spec": {"user": ARGOCD, "resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}}},
    )
    assert review["status"]["allowed"], review
    assert "RBAC" in review["status"]["reason"]
