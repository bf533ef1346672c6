"""Clusters that others register or put into Argo CD: both orders, both modes of REGISTRATION, stale memberships."""

from __future__ import annotations

from base64 import b64encode
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from shared.decisions.recognition import ADOPT, PROFILE_SYNCER
from tests.chain.running import ARGOCD, CENTRAL, FLEET, MERGE, REGION, SECRETS, Chain, fresh, running

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/argocd/roles"
REGISTERING = ("route-event", "register-membership", "unregister-membership", "sweep")


@pytest.fixture(scope="module", params=["create", "wait"])
def mode(request: pytest.FixtureRequest) -> str:
    """The setting REGISTRATION of all functions."""
    return str(request.param)


@pytest.fixture(scope="module")
def cloud(mode: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud whose functions register clusters, and one whose functions leave that to others."""
    with running(tmp_path_factory.mktemp(mode), "--selector", "argocd!=no") as chain:
        yield chain


@pytest.fixture(autouse=True)
def registration(cloud: Chain, mode: str) -> None:
    if mode == "wait":
        cloud.once(wait)


def wait(cloud: Chain) -> None:
    """Let others register the clusters."""
    cloud.wait_quiet()
    for function in REGISTERING:
        cloud.redeploy(function, {"REGISTRATION": "wait"})


def register(cloud: Chain, cluster: str, name: str) -> str:
    """Register a cluster as `gcloud container fleet memberships register` does; return the membership's name."""
    membership = f"projects/{FLEET}/locations/global/memberships/{name}"
    link = f"//container.googleapis.com/{cluster}"
    cloud.do("fleet", "create", name=membership, asked={"endpoint": {"gkeCluster": {"resourceLink": link}}})
    cloud.wait_for(lambda: cloud.state()["memberships"][membership]["state"] == "READY")
    return membership


def test_membership_before_the_creation_event_is_used(cloud: Chain) -> None:
    name = fresh("first")
    cloud.add_event_rule("hold", event=f"CreateCluster.finished */{name}")
    cluster = cloud.create_cluster(name)
    cloud.running(cluster)
    theirs = register(cloud, cluster, f"{name}-theirs")
    cloud.release()
    cloud.onboarded(cluster)
    assert cloud.membership(cluster) == theirs


def test_membership_after_the_creation_event(cloud: Chain, mode: str) -> None:
    """With `wait` their membership continues the chain; with `create` ours is there first, and theirs is refused."""
    name = fresh("second")
    cluster = cloud.create_cluster(name)
    if mode == "create":
        cloud.onboarded(cluster)
        theirs = f"projects/{FLEET}/locations/global/memberships/{name}-theirs"
        link = f"//container.googleapis.com/{cluster}"
        operation = cloud.do("fleet", "create", name=theirs, asked={"endpoint": {"gkeCluster": {"resourceLink": link}}})
        cloud.wait_quiet()
        assert theirs not in cloud.state()["memberships"], operation
        return
    cloud.logged("register-membership", cluster, decision="waiting", code="waiting_for_membership")
    cloud.wait_quiet()
    assert cloud.secret(cluster) is None
    assert not cloud.dead_letters(cluster)
    theirs = register(cloud, cluster, f"{name}-theirs")
    cloud.onboarded(cluster)
    cloud.delete_cluster(cluster)
    cloud.wait_for(lambda: cloud.secret(cluster) is None)
    cloud.wait_quiet()
    assert theirs in cloud.state()["memberships"]
    cloud.detach(theirs)


def test_stale_membership_of_a_namesake(cloud: Chain, mode: str) -> None:
    name = fresh("again")
    rule = cloud.add_event_rule("lose", times=0)
    cluster = cloud.create_cluster(name)
    cloud.running(cluster)
    stale = register(cloud, cluster, f"{name}-theirs")
    cloud.delete_cluster(cluster)
    cloud.gone(cluster)
    second = datetime.fromisoformat(cloud.do("fleet", "membership", name=stale)["createTime"]) + timedelta(seconds=1)
    cloud.wait_for(lambda: datetime.now(UTC) > second)  # GKE tells the time of a creation in seconds
    cloud.remove_event_rules(rule["id"])
    cluster = cloud.create_cluster(name)
    if mode == "create":
        letter = cloud.dead_letter(cluster, "register-membership")
        assert letter.code == "unmanaged_membership"
        assert stale in letter.reason
    else:
        cloud.logged("register-membership", cluster, decision="waiting")
    assert stale in cloud.state()["memberships"]
    assert cloud.secret(cluster) is None
    cloud.detach(stale)
    cloud.wait_quiet()
    if mode == "create":
        cloud.replay(letter)
    else:
        register(cloud, cluster, f"{name}-theirs")
    cloud.onboarded(cluster)


def test_secret_of_argocd_cluster_add_and_a_sweep_are_one_entry(cloud: Chain, mode: str) -> None:
    name = fresh("added")
    rule = cloud.add_event_rule("lose", times=0)
    cluster = cloud.create_cluster(name)
    cloud.running(cluster)
    if mode == "wait":
        register(cloud, cluster, f"{name}-theirs")
    cloud.wait_quiet()
    cloud.remove_event_rules(rule["id"])
    server = f"https://{cloud.do('gke', 'cluster', name=cluster)['endpoint']}"
    data = {"name": f"gke_{FLEET}_{REGION}_{name}", "server": server, "config": '{"bearerToken":"none"}'}
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"cluster-{name}", "labels": {"argocd.argoproj.io/secret-type": "cluster"}},
        "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
    }
    assert cloud.kubernetes(CENTRAL, "POST", SECRETS, manifest)[0] == 201
    cloud.publish("sweep", {"cluster": cluster})
    reported = cloud.logged("sweep", cluster, decision="reported", code="clashing_secret")
    assert reported["message"].splitlines()[1:] == [ADOPT]
    cloud.wait_quiet()
    assert cloud.secret(cluster) is None
    assert not cloud.dead_letters(cluster)
    cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/cluster-{name}")
    cloud.publish("sweep", {"cluster": cluster})
    cloud.onboarded(cluster)


@contextmanager
def external(cloud: Chain) -> Iterator[None]:
    """Set SECRETS=external, and take every verb but reading from the functions' Roles on Secrets, until the block ends."""
    kept = {}
    for step in ("write-secret", "remove-secret"):
        path = f"{ROLES}/fleet-registrar.default.{step}"
        kept[path] = {"rules": cloud.kubernetes(CENTRAL, "GET", path)[1]["rules"]}
        reading = {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]}
        assert cloud.kubernetes(CENTRAL, "PATCH", path, reading, content_type=MERGE)[0] == 200
    for function in ("write-secret", "sweep"):
        cloud.redeploy(function, {"SECRETS": "external"})
    try:
        yield
    finally:
        for function in ("write-secret", "sweep"):
            cloud.redeploy(function, {"SECRETS": ""})
        for path, rules in kept.items():
            cloud.kubernetes(CENTRAL, "PATCH", path, rules, content_type=MERGE)


def test_external_runs_the_chain_without_writing_a_secret(cloud: Chain, mode: str) -> None:
    """Also beside the Secret of a ClusterProfile syncer, and with roles that may not write one."""
    name = fresh("external")
    with external(cloud):
        cluster = cloud.create_cluster(name)
        if mode == "wait":
            cloud.running(cluster)
            register(cloud, cluster, f"{name}-theirs")
        cloud.logged("write-secret", cluster, decision="external")
        membership = cloud.membership(cluster)
        assert cloud.admits(membership)
        assert cloud.secret(cluster) is None
        heard = cloud.wait_for(lambda: [one for one in cloud.events(cluster) if one["type"] == "onboarded"])
        assert {one["data"]["step"] for one in heard} == {"write-secret"}

        server = f"https://connectgateway.googleapis.com/v1/projects/{FLEET}/locations/{REGION}/gkeMemberships/{name}"
        data = {"name": name, "server": server, "config": '{"bearerToken":"none"}'}
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": f"syncer.{name}",
                "labels": {"argocd.argoproj.io/secret-type": "cluster"},
                "annotations": {PROFILE_SYNCER: "true"},
            },
            "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
        }
        status, theirs = cloud.kubernetes(CENTRAL, "POST", SECRETS, manifest)
        assert status == 201
        cloud.publish("sweep", {"cluster": cluster}, {"cause": f"first {name}"})
        cloud.logged("grant-rbac", cluster, decision="unchanged")

        cloud.set_labels(cluster, {"argocd": "no"})
        cloud.wait_quiet()
        cloud.publish("sweep", {"cluster": cluster})
        cloud.wait_for(lambda: cloud.binding(cluster) is None)
        cloud.wait_for(lambda: not cloud.admits(membership, ARGOCD))

        cloud.delete_cluster(cluster)
        cloud.gone(cluster)
        cloud.wait_quiet()
        assert cloud.membership(cluster) == (membership if mode == "wait" else "")
        assert cloud.kubernetes(CENTRAL, "GET", f"{SECRETS}/syncer.{name}")[1] == theirs
        assert not cloud.dead_letters(cluster)
        cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/syncer.{name}")
        if mode == "wait":
            cloud.detach(membership)
