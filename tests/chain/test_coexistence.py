"""Clusters that others register or put into Argo CD: both orders, both modes of REGISTRATION, stale memberships."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from shared.decisions.recognition import ADOPT
from tests.chain.running import CENTRAL, FLEET, REGION, SECRETS, Chain, fresh, running

if TYPE_CHECKING:
    from collections.abc import Iterator

REGISTERING = ("route-event", "register-membership", "unregister-membership", "sweep")


@pytest.fixture(scope="module", params=["create", "wait"])
def mode(request: pytest.FixtureRequest) -> str:
    """The setting REGISTRATION of all functions."""
    return str(request.param)


@pytest.fixture(scope="module")
def cloud(mode: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud whose functions register clusters, and one whose functions leave that to others."""
    with running(tmp_path_factory.mktemp(mode)) as chain:
        chain.wait_quiet()
        for function in REGISTERING if mode == "wait" else ():
            chain.redeploy(function, {"REGISTRATION": mode})
        yield chain


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
