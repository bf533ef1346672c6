"""Clusters that are not GKE come in through their membership, once a person has let our identities in."""

from __future__ import annotations

import time

from shared.values.messages import STEPS
from tests.chain.running import ARGOCD, BINDINGS, CENTRAL, FLEET, SECRETS, Chain, decoded, email, fresh
from tests.chain.test_onboarding import counted


def test_refused_identity_is_dead_lettered_with_the_command(
    cloud: Chain,
) -> None:
    edge = cloud.attach(fresh("edge"), labels={"env": "edge"})
    letter = cloud.dead_letter(edge, "grant-rbac")
    assert letter.code == "not_admitted"
    assert edge in letter.reason
    assert letter.reason.count("gcloud container fleet memberships generate-gateway-rbac") == 1
    for identity in (email("grant-rbac"), email("revoke-rbac")):
        assert identity in letter.reason
    assert len(letter.reason.encode()) <= 1000
    assert cloud.secret(edge) is None
    cloud.admit(edge)
    cloud.replay(letter)
    cloud.onboarded(edge)
    labels = cloud.labels(edge)
    assert (labels["fleet-registrar/kind"], labels["env"]) == ("attached", "edge")
    assert "fleet-registrar/cluster-hash" not in labels
    assert cloud.admits(edge)


def test_its_secret_goes_by_its_membership(cloud: Chain) -> None:
    edge = cloud.attach(fresh("edge"), admit=True)
    cloud.onboarded(edge)
    name = f"{FLEET}.global.memberships.{edge.rpartition('/')[2]}"
    data = decoded(cloud.manifest(edge))
    assert cloud.manifest(edge)["metadata"]["name"] == name
    assert data["name"] == name
    assert data["server"].endswith(f"/v1/projects/100000000001/locations/global/memberships/{edge.rpartition('/')[2]}")


def test_agent_impersonates_the_argocd_identity(cloud: Chain) -> None:
    edge = cloud.attach(fresh("edge"), admit=True)
    cloud.wait_for(lambda: not cloud.admits(edge))
    cloud.onboarded(edge)
    assert cloud.admits(edge)
    impersonate = f"fleet-registrar:impersonate:{ARGOCD}"
    _, binding = cloud.kubernetes(edge, "GET", f"{BINDINGS}/{impersonate}")
    assert binding["subjects"][0]["name"] == "connect-agent-sa"
    _, role = cloud.kubernetes(edge, "GET", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{impersonate}")
    assert role["rules"][0]["resourceNames"] == [ARGOCD]
    cloud.kubernetes(edge, "DELETE", f"{BINDINGS}/{impersonate}")
    cloud.wait_for(lambda: not cloud.admits(edge))
    cloud.publish("grant-rbac", {"membership": edge})
    cloud.wait_for(lambda: cloud.admits(edge))


def test_an_onboarding_takes_at_most_fifteen_calls(cloud: Chain) -> None:
    cloud.onboarded(cloud.attach(fresh("first"), admit=True))
    cloud.wait_quiet()
    since = time.time()
    cloud.onboarded(cloud.attach(fresh("edge"), admit=True))
    cloud.wait_quiet()
    calls = counted(cloud, since)
    assert len(calls) <= 15, "\n".join(calls)


def test_lost_agent_is_noted_once_and_refreshed_once(cloud: Chain) -> None:
    edge = cloud.attach(fresh("edge"), admit=True)
    cloud.onboarded(edge)
    cloud.wait_quiet()
    cloud.disconnect(edge)
    cloud.publish("write-secret", {"membership": edge})
    cloud.wait_for(lambda: "fleet-registrar/agent-lost" in cloud.manifest(edge)["metadata"]["annotations"])
    noted = cloud.manifest(edge)
    cloud.publish("write-secret", {"membership": edge}, {"cause": f"again {edge}"})
    cloud.logged("write-secret", f"again {edge}")
    assert cloud.manifest(edge) == noted
    cloud.reconnect(edge)
    cloud.publish("write-secret", {"membership": edge})
    cloud.wait_for(lambda: "fleet-registrar/agent-lost" not in cloud.manifest(edge)["metadata"]["annotations"])
    assert "argocd.argoproj.io/refresh" in cloud.manifest(edge)["metadata"]["annotations"]


def test_lost_agent_neither_gets_a_grant_nor_loses_its_secret(cloud: Chain) -> None:
    edge = cloud.attach(fresh("edge"), admit=True)
    cloud.onboarded(edge)
    cloud.wait_quiet()
    before = cloud.everything()
    cloud.disconnect(edge)
    cloud.publish("grant-rbac", {"membership": edge})
    cloud.logged("grant-rbac", edge, decision="retry", code="unreachable")
    cloud.publish("remove-secret", {"membership": edge})
    cloud.logged("remove-secret", edge, decision="reversed")
    assert cloud.everything() == before
    cloud.reconnect(edge)
    cloud.wait_quiet()


def test_unregistered_cluster_is_held_and_released_on_return(cloud: Chain) -> None:
    name = fresh("edge")
    edge = cloud.attach(name, admit=True)
    cloud.onboarded(edge)
    # An event holds a cluster only while fewer than three are held for that: what other tests left must not count.
    for one in cloud.secrets():
        if (one["annotations"] or {}).get("fleet-registrar/held", "").startswith("left-fleet"):
            cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/{one['name']}")
    cloud.detach(edge)
    cloud.wait_for(lambda: cloud.held(edge) == "left-fleet")
    cloud.wait_quiet()
    assert cloud.attach(name, labels={"env": "back"}) == edge
    cloud.wait_for(lambda: not cloud.held(edge) and cloud.labels(edge).get("env") == "back")
    cloud.wait_quiet()
    unique = cloud.state()["memberships"][edge]["uniqueId"]
    assert cloud.manifest(edge)["metadata"]["annotations"]["fleet-registrar/membership-uid"] == unique
    assert cloud.labels(edge)["env"] == "back"


def test_a_change_of_the_memberships_labels_arrives(cloud: Chain) -> None:
    edge = cloud.attach(fresh("edge"), admit=True, labels={"env": "dev"})
    cloud.onboarded(edge)
    cloud.do("fleet", "patch", name=edge, asked={"labels": {"env": "prod"}}, paths=["labels"])
    cloud.wait_for(lambda: cloud.labels(edge)["env"] == "prod")


def test_membership_message_of_a_gke_cluster_becomes_its_clusters(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    membership = cloud.membership(cluster)
    before = cloud.everything()
    for topic in STEPS:
        cloud.publish(topic, {"membership": membership}, {"cause": f"{topic} of {cluster}"})
        cloud.logged(topic, f"{topic} of {cluster}")
    cloud.wait_quiet()
    assert cloud.everything() == before


def test_deleted_membership_of_a_running_cluster_is_re_created(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    membership = cloud.membership(cluster)
    unique = cloud.state()["memberships"][membership]["uniqueId"]
    cloud.detach(membership)
    cloud.wait_for(lambda: cloud.membership(cluster) == membership)
    cloud.wait_quiet()
    now = cloud.state()["memberships"][membership]["uniqueId"]
    assert now != unique
    assert cloud.manifest(cluster)["metadata"]["annotations"]["fleet-registrar/membership-uid"] == now
    assert cluster in cloud.listed()
