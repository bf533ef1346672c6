"""Unmanaged objects are unchanged and reported; after a person has removed them, a replay succeeds."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from tests.chain.lives import membership_id
from tests.chain.running import (
    BINDING,
    BINDINGS,
    CENTRAL,
    FLEET,
    MERGE,
    OTHER,
    REGION,
    SECRETS,
    Chain,
    fresh,
)

if TYPE_CHECKING:
    from tests.chain.running import Json

OTHER_NUMBER = "100000000003"
TYPE = "argocd.argoproj.io/secret-type"


def full(name: str) -> str:
    return f"projects/{FLEET}/locations/{REGION}/clusters/{name}"


def foreign_secret(cloud: Chain, name: str, data: dict[str, str], labels: dict[str, str] | None = None) -> Json:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {TYPE: "cluster"} if labels is None else labels},
        "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
    }
    status, made = cloud.kubernetes(CENTRAL, "POST", SECRETS, manifest)
    assert status == 201, made
    return made


def test_unmanaged_membership_with_our_id_is_unchanged(cloud: Chain) -> None:
    name = fresh("blue")
    conflicting = cloud.attach(membership_id(full(name)), REGION)
    cloud.dead_letter(conflicting)  # an attached cluster that has admitted nobody
    before = cloud.state()["memberships"][conflicting]
    cluster = cloud.create_cluster(name)
    letter = cloud.dead_letter(cluster, "register-membership")
    assert conflicting in letter.reason
    assert letter.code == "unmanaged_membership"
    assert cloud.state()["memberships"][conflicting] == before
    assert cloud.secret(cluster) is None
    cloud.detach(conflicting)
    cloud.wait_quiet()
    cloud.replay(letter)
    cloud.onboarded(cluster)


def test_unmanaged_membership_of_another_cluster_is_unchanged(cloud: Chain) -> None:
    name = fresh("blue")
    other = cloud.create_cluster(fresh("other"), project=OTHER)  # a project that is no source
    cloud.running(other)
    conflicting = f"projects/{FLEET}/locations/{REGION}/memberships/{membership_id(full(name))}"
    link = f"//container.googleapis.com/{other}"
    cloud.do("fleet", "create", name=conflicting, asked={"endpoint": {"gkeCluster": {"resourceLink": link}}})
    cloud.wait_quiet()
    cluster = cloud.create_cluster(name)
    letter = cloud.dead_letter(cluster, "register-membership")
    assert other in letter.reason
    cloud.detach(conflicting)
    cloud.replay(letter)
    cloud.onboarded(cluster)


def test_existing_membership_is_reused_and_never_changed(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_event_rule("hold", event=f"CreateCluster.finished */{name}")
    cluster = cloud.create_cluster(name)
    cloud.running(cluster)
    theirs = f"projects/{FLEET}/locations/global/memberships/{name}-theirs"
    link = f"//container.googleapis.com/{cluster}"
    asked = {"endpoint": {"gkeCluster": {"resourceLink": link}}, "labels": {"by": "hand"}}
    cloud.do("fleet", "create", name=theirs, asked=asked)
    cloud.wait_for(lambda: cloud.state()["memberships"][theirs]["state"] == "READY")
    cloud.release()
    cloud.onboarded(cluster)
    assert cloud.membership(cluster) == theirs
    cloud.delete_cluster(cluster)
    cloud.wait_for(lambda: cloud.secret(cluster) is None)
    cloud.wait_quiet()
    assert cloud.state()["memberships"][theirs]["labels"] == {"by": "hand"}
    cloud.detach(theirs)


def test_cluster_registered_under_another_membership_uses_it(cloud: Chain) -> None:
    """The operation's error says that the cluster is taken, before GKE says by which membership: the fleet's list does."""
    name = fresh("blue")
    cluster = cloud.create_cluster(name, fleet=FLEET)
    cloud.onboarded(cluster)
    theirs = cloud.membership(cluster)
    stale = cloud.do("gke", "cluster", name=cluster)
    stale.pop("fleet")
    cloud.set("gke", "stale", {cluster: stale})
    try:
        cloud.publish("register-membership", {"cluster": cluster})
        cloud.logged("register-membership", theirs, decision="unchanged", code="selected")
    finally:
        cloud.set("gke", "stale", {})
    cloud.wait_quiet()
    assert cloud.membership(cluster) == theirs
    assert not cloud.dead_letters(cluster)


def test_a_cluster_in_another_fleet_is_reported(cloud: Chain) -> None:
    cluster = cloud.create_cluster(fresh("elsewhere"), fleet=OTHER)
    letter = cloud.dead_letter(cluster, "register-membership")
    assert letter.code == "other_fleet"
    assert OTHER_NUMBER in letter.reason
    assert cloud.secret(cluster) is None
    cloud.do("gke", "update", name=cluster, update={"desiredFleet": {}})
    cloud.wait_for(lambda: not cloud.state()["clusters"][cluster]["fleet"])
    cloud.replay(letter)
    cloud.onboarded(cluster)


def test_unmanaged_binding_of_our_name_is_unchanged(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_event_rule("hold", event=f"CreateCluster.finished */{name}")
    cluster = cloud.create_cluster(name)
    cloud.running(cluster)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    theirs = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": BINDING.rpartition("/")[2]},
        "roleRef": role,
    }
    assert cloud.kubernetes(cluster, "POST", BINDINGS, theirs)[0] == 201
    before = cloud.binding(cluster)
    cloud.release()
    letter = cloud.dead_letter(cluster, "grant-rbac")
    assert letter.code == "unmanaged_binding"
    assert cloud.binding(cluster) == before
    cloud.kubernetes(cluster, "DELETE", BINDING)
    cloud.replay(letter)
    cloud.onboarded(cluster)


@pytest.mark.parametrize("labels", [{TYPE: "cluster"}, {}])
def test_unmanaged_secret_of_our_name_is_unchanged(cloud: Chain, labels: dict[str, str]) -> None:
    name = fresh("blue")
    secret = foreign_secret(cloud, f"{FLEET}.{REGION}.{name}", {"note": "mine"}, labels)
    cluster = cloud.create_cluster(name)
    letter = cloud.dead_letter(cluster, "write-secret")
    assert letter.code == "unmanaged_secret"
    assert secret["metadata"]["name"] in letter.reason
    path = f"{SECRETS}/{secret['metadata']['name']}"
    assert cloud.kubernetes(CENTRAL, "GET", path) == (200, secret)
    cloud.kubernetes(CENTRAL, "DELETE", path)
    cloud.replay(letter)
    cloud.onboarded(cluster)


@pytest.mark.parametrize("what", ["server", "name"])
def test_unmanaged_secret_with_our_server_or_name_is_unchanged(cloud: Chain, what: str) -> None:
    name = fresh("blue")
    gateway = cloud.state()["endpoints"]["connectgateway"]
    ours = {
        "server": f"{gateway}/v1/projects/100000000001/locations/{REGION}/gkeMemberships/{membership_id(full(name))}/",
        "name": f"{FLEET}.{REGION}.{name}",
    }
    data = {"server": "https://elsewhere.example", "name": "elsewhere"} | {what: ours[what]}
    secret = foreign_secret(cloud, f"made-by-hand-{name}", data)
    cluster = cloud.create_cluster(name)
    letter = cloud.dead_letter(cluster, "write-secret")
    assert letter.code == "unmanaged_secret"
    assert f"made-by-hand-{name}" in letter.reason
    path = f"{SECRETS}/made-by-hand-{name}"
    assert cloud.kubernetes(CENTRAL, "GET", path) == (200, secret)
    assert cloud.secret(cluster) is None
    cloud.kubernetes(CENTRAL, "DELETE", path)
    cloud.replay(letter)
    cloud.onboarded(cluster)


def test_two_managed_secrets_for_one_cluster_are_unchanged(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    first = cloud.manifest(cluster)
    second = {**first, "metadata": {"name": f"{first['metadata']['name']}-2"}}
    second["metadata"] |= {key: first["metadata"][key] for key in ("labels", "annotations")}
    cloud.kubernetes(CENTRAL, "POST", SECRETS, second)
    before = cloud.everything()
    for step in ("write-secret", "remove-secret", "revoke-rbac"):
        cloud.publish(step, {"cluster": cluster})
        assert cloud.dead_letter(cluster, step).code == "duplicate_secrets"
    assert cloud.everything() == before
    cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/{second['metadata']['name']}")
    cloud.publish("write-secret", {"cluster": cluster})
    cloud.logged("write-secret", cluster, decision="unchanged")


def test_membership_without_our_label_is_unmanaged(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    membership = cloud.membership(cluster)
    cloud.do("fleet", "patch", name=membership, asked={"labels": {"kept": "by-hand"}}, paths=["labels"])
    cloud.wait_quiet()
    cloud.delete_cluster(cluster)
    cloud.wait_for(lambda: cloud.secret(cluster) is None)
    cloud.wait_quiet()
    assert membership in cloud.state()["memberships"]
    cloud.detach(membership)


def test_binding_without_our_label_survives_a_removal(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    name = "app.kubernetes.io/managed-by"
    cloud.kubernetes(cluster, "PATCH", BINDING, {"metadata": {"labels": {name: "somebody"}}}, content_type=MERGE)
    cloud.publish("grant-rbac", {"cluster": cluster})
    letter = cloud.dead_letter(cluster, "grant-rbac")
    assert letter.code == "unmanaged_binding"
    assert (cloud.binding(cluster) or {})["metadata"]["labels"][name] == "somebody"
