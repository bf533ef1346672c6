"""What only Kubernetes itself can answer: the admission policy of `infra/argocd/`, and RBAC beside GKE's IAM.

The tests of the chain run on real clusters as they are (CHAIN_KUBE=real, tests/chain/conftest.py), with this policy in place.
"""

from __future__ import annotations

import json
from base64 import b64encode
from ssl import create_default_context
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from local.google.iam.state import unique_id
from tests.chain.running import (
    ARGOCD,
    BINDINGS,
    CENTRAL,
    CENTRAL_MEMBERSHIP,
    MARK,
    MERGE,
    SECRETS,
    Chain,
    decoded,
    email,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud of real clusters."""
    with running(tmp_path_factory.mktemp("real"), "--kube", "real") as chain:
        yield chain


Json = dict[str, Any]
OWNER = [{"apiVersion": "v1", "kind": "Secret", "name": "none", "uid": "none"}]
REFUSED_BY = "ValidatingAdmissionPolicy 'fleet-registrar.default'"


@pytest.fixture(scope="module")
def ours(cloud: Chain) -> Json:
    """The Secret of an onboarded cluster, as the functions wrote it."""
    return cloud.manifest(cloud.onboard("blue"))


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def _write(cloud: Chain, who: str, verb: str, path: str, body: Json | list[Json] | None) -> int:
    """Write through the gateway without a trace; what is refused is refused by the policy."""
    kind = "application/json"
    if verb == "PATCH":
        kind = MERGE if isinstance(body, dict) else "application/json-patch+json"
    status, answer = cloud.through_gateway(who, CENTRAL_MEMBERSHIP, verb, f"{path}?dryRun=All", body, content_type=kind)
    assert status < 400 or REFUSED_BY in answer["message"], answer
    return status


def _directly(cloud: Chain, user: str, path: str, body: Json) -> tuple[int, str]:
    """Create an object as `user` at the cluster's own address, without the gateway."""
    server, token = cloud.do("cloud", "direct", cluster=CENTRAL)
    headers = {"Authorization": f"Bearer {token}", "Impersonate-User": user, "Content-Type": "application/json"}
    request = Request(f"{server}{path}?dryRun=All", json.dumps(body).encode(), headers, method="POST")
    try:
        with urlopen(request, context=create_default_context(cafile=str(cloud.directory / "ca.pem"))) as answer:
            return answer.status, ""
    except HTTPError as error:
        return error.code, json.load(error)["message"]


def _made(ours: Json, **change: Any) -> Json:
    """Return a new Secret for a cluster `made` like ours, with labels, annotations, data (as text) or fields changed."""
    name = "demo-fleet.europe-west1.made"
    meta = {
        "name": name,
        "labels": ours["metadata"]["labels"] | change.pop("labels", {}),
        "annotations": ours["metadata"]["annotations"]
        | {"fleet-registrar/cluster": "projects/demo-fleet/locations/europe-west1/clusters/made"}
        | change.pop("annotations", {}),
        **change.pop("metadata", {}),
    }
    data = decoded(ours) | {"name": meta["name"]} | change.pop("data", {})
    texts = {key: _encoded(value) for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": meta, "data": texts, **change}


def _creations(ours: Json) -> dict[str, Json]:
    """Secrets that no function may create."""
    good = decoded(ours)
    server, config = good["server"], good["config"]
    to_central = server.rpartition("/")[0] + "/central"
    return {
        "another host": {"data": {"server": "https://evil.example"}},
        "userinfo": {"data": {"server": server.replace("https://", "https://evil.example@")}},
        "a query": {"data": {"server": f"{server}?x=1"}},
        "a line break": {"data": {"server": f"{server}\n"}},
        "two lines": {"data": {"server": f"https://evil.example\n{server}"}},
        "a letter that looks the same": {"data": {"server": server.replace("a", "\u0430", 1)}},
        "another fleet": {"data": {"server": server.replace("/100000000001/", "/999/")}},
        "another member": {"data": {"server": f"{server}x"}},
        "the central cluster": {
            "data": {"server": to_central},
            "annotations": {"fleet-registrar/membership": CENTRAL_MEMBERSHIP},
        },
        "a bearer token": {"data": {"config": '{"bearerToken":"x"}'}},
        "another command": {"data": {"config": config.replace("gcp", "aws")}},
        "a key twice": {"data": {"config": config[:-1] + ',"bearerToken":"x"}'}},
        "stringData": {"stringData": {"config": '{"bearerToken":"x"}'}},
        "a repository": {"labels": {"argocd.argoproj.io/secret-type": "repository"}},
        "somebody's mark": {"labels": {"app.kubernetes.io/managed-by": "somebody"}},
        "another type": {"type": "example.com/other"},
        "another project's label": {"labels": {"fleet-registrar/project": "prod"}},
        "another project's cluster": {
            "labels": {"fleet-registrar/project": "prod"},
            "annotations": {"fleet-registrar/cluster": "projects/prod/locations/europe-west1/clusters/made"},
        },
        "another instance": {"labels": {"fleet-registrar/instance": "west"}},
        "people's data": {"data": {"project": "default"}},
        "a shard": {"data": {"shard": "-1"}},
        "immutable": {"immutable": True},
        "a finalizer": {"metadata": {"finalizers": ["x.io/y"]}},
        "an owner": {"metadata": {"ownerReferences": OWNER}},
    }


CREATIONS = sorted(_creations({"data": {"server": "", "config": ""}}))
CHANGES: dict[str, Json | list[Json]] = {
    "stringData": {"stringData": {"config": '{"bearerToken":"x"}'}},
    "a patch of the configuration": [
        {"op": "replace", "path": "/data/config", "value": _encoded('{"bearerToken":"x"}')}
    ],
    "another server": {"data": {"server": _encoded("https://evil.example")}},
    "no data": {"data": None},
    "people's data": {"data": {"project": _encoded("default")}},
    "no mark": {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
    "another project's label": {"metadata": {"labels": {"fleet-registrar/project": "prod"}}},
    "another instance": {"metadata": {"labels": {"fleet-registrar/instance": "west"}}},
    "another membership": {"metadata": {"annotations": {"fleet-registrar/membership": CENTRAL_MEMBERSHIP}}},
    "immutable": {"immutable": True},
    "a finalizer": {"metadata": {"finalizers": ["x.io/y"]}},
    "an owner": {"metadata": {"ownerReferences": OWNER}},
}


def test_a_function_creates_changes_and_deletes_what_is_right(cloud: Chain, ours: Json) -> None:
    writer, path = email("write-secret"), f"{SECRETS}/{ours['metadata']['name']}"
    assert _write(cloud, writer, "POST", SECRETS, _made(ours)) == 201
    assert _write(cloud, writer, "PATCH", path, {"metadata": {"labels": {"env": "prod"}}}) == 200
    assert (
        _write(cloud, writer, "PATCH", path, {"metadata": {"labels": {"fleet-registrar/instance": "default"}}}) == 200
    )
    assert _write(cloud, email("remove-secret"), "DELETE", path, None) == 200


@pytest.mark.parametrize("case", CREATIONS)
def test_kubernetes_refuses_to_create(case: str, cloud: Chain, ours: Json) -> None:
    assert _write(cloud, email("write-secret"), "POST", SECRETS, _made(ours, **_creations(ours)[case])) == 422


@pytest.mark.parametrize("case", CHANGES)
def test_kubernetes_refuses_to_change(case: str, cloud: Chain, ours: Json) -> None:
    path = f"{SECRETS}/{ours['metadata']['name']}"
    assert _write(cloud, email("write-secret"), "PATCH", path, CHANGES[case]) == 422


def test_an_unmanaged_secret_is_neither_changed_nor_deleted(cloud: Chain) -> None:
    meta = {"metadata": {"name": "theirs"}}
    assert cloud.kubernetes(CENTRAL, "POST", SECRETS, {**meta, "stringData": {"a": "b"}})[0] == 201
    theirs = f"{SECRETS}/theirs"
    assert _write(cloud, email("write-secret"), "PATCH", theirs, {"metadata": {"labels": {"env": "prod"}}}) == 422
    assert _write(cloud, email("remove-secret"), "DELETE", theirs, None) == 422
    assert cloud.kubernetes(CENTRAL, "DELETE", theirs)[0] == 200


@pytest.mark.parametrize("name", [email, lambda function: unique_id(email(function))], ids=["e-mail", "unique id"])
def test_an_identity_is_confined_by_whatever_name_it_shows(
    name: Callable[[str], str], cloud: Chain, ours: Json
) -> None:
    """A direct call with a token that lacks the scope userinfo.email shows the unique id."""
    user = name("grant-rbac")
    admin: Json = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "mine"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    as_iam_would: Json = {**admin, "metadata": {"name": f"as-iam-would-{'@' in user}".lower()}}
    assert cloud.kubernetes(CENTRAL, "POST", BINDINGS, as_iam_would)[0] == 201
    cloud.wait_for(lambda: REFUSED_BY in _directly(cloud, user, BINDINGS, admin)[1], what="a refusal by the policy")
    assert _directly(cloud, user, SECRETS, _made(ours, data={"server": "https://evil.example"}))[0] == 422
    assert _directly(cloud, user, SECRETS, _made(ours))[0] == 201
    assert cloud.kubernetes(CENTRAL, "DELETE", f"{BINDINGS}/{as_iam_would['metadata']['name']}")[0] == 200


def test_an_adopted_secret_is_taken_over(cloud: Chain) -> None:
    """A person's Secret with a bearer token and a name of its own becomes ours in place, under the policy."""
    cluster = cloud.onboard("blue")
    found = cloud.manifest(cluster)
    name, meta = found["metadata"]["name"], found["metadata"]
    assert cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/{name}")[0] == 200
    marks = ("app.kubernetes.io/managed-by", "fleet-registrar/membership-hash", "fleet-registrar/cluster-hash")
    adopted: Json = {
        "metadata": {
            "name": "mine",
            "labels": {"argocd.argoproj.io/secret-type": "cluster"} | {key: meta["labels"][key] for key in marks},
            "annotations": {f"{MARK}{key}": meta["annotations"][f"{MARK}{key}"] for key in ("cluster", "membership")},
        },
        "stringData": {"name": "blue", "server": decoded(found)["server"], "config": '{"bearerToken":"x"}'},
    }
    assert cloud.kubernetes(CENTRAL, "POST", SECRETS, adopted)[0] == 201
    cloud.publish("grant-rbac", {"cluster": cluster})
    cloud.wait_for(
        lambda: decoded(cloud.manifest(cluster))["config"] == decoded(found)["config"], what="our configuration"
    )
    taken = cloud.manifest(cluster)
    assert (taken["metadata"]["name"], decoded(taken)["name"]) == ("mine", "blue")
    assert taken["metadata"]["labels"]["fleet-registrar/project"] == "demo-fleet"


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
