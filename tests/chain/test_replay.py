"""Replay of any step is one publish, with nothing but the cluster's name."""

from __future__ import annotations

import pytest

from tests.chain.running import BINDING, CENTRAL, SECRETS, Chain, fresh


def replay(cloud: Chain, step: str, cluster: str) -> None:
    cloud.publish(step, {"cluster": cluster})


def without_secret(cloud: Chain, cluster: str) -> None:
    name = cloud.manifest(cluster)["metadata"]["name"]
    assert cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/{name}")[0] == 200


def gone_unheard(cloud: Chain, cluster: str) -> None:
    cloud.add_event_rule("lose", event=f"DeleteCluster.* {cluster}", times=0)
    cloud.delete_cluster(cluster, seconds=0)
    cloud.gone(cluster)
    cloud.wait_quiet()


def test_register_membership(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_event_rule("lose", event=f"CreateCluster.finished */{name}")
    cluster = cloud.create_cluster(name)
    cloud.running(cluster)
    cloud.wait_quiet()
    assert cloud.secret(cluster) is None
    replay(cloud, "register-membership", cluster)
    cloud.onboarded(cluster)


def test_grant_rbac(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    cloud.kubernetes(cluster, "DELETE", BINDING)
    replay(cloud, "grant-rbac", cluster)
    cloud.wait_for(lambda: cloud.binding(cluster))
    assert cloud.admits(cloud.membership(cluster))


def test_write_secret(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels={"env": "prod"})
    before = cloud.manifest(cluster)
    without_secret(cloud, cluster)
    replay(cloud, "write-secret", cluster)  # it has the access proven first
    cloud.onboarded(cluster)
    after = cloud.manifest(cluster)
    for one in (before, after):
        for key in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
            one["metadata"].pop(key, None)
    assert after == before


def test_remove_secret(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    gone_unheard(cloud, cluster)
    assert cloud.secret(cluster) is not None
    replay(cloud, "remove-secret", cluster)
    cloud.offboarded(cluster)


@pytest.mark.parametrize("step", ["revoke-rbac", "unregister-membership"])
def test_revoke_rbac_and_unregister_membership(cloud: Chain, step: str) -> None:
    cluster = cloud.onboard("blue")
    gone_unheard(cloud, cluster)
    without_secret(cloud, cluster)
    assert cloud.membership(cluster)
    replay(cloud, step, cluster)
    cloud.offboarded(cluster)
