"""Incidents whose cause is an object: of others, of an earlier cluster, or changed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chain.running import ARGOCD, BINDING, BINDINGS, CENTRAL, FLEET, MERGE, REGION, SECRETS, fresh
from tests.incidents.console import deployed
from tests.incidents.test_in_flight import LABELS, unseen

if TYPE_CHECKING:
    from tests.chain.running import Chain
    from tests.incidents.console import Console


def test_08_a_foreign_membership_under_our_id(cloud: Chain, console: Console) -> None:
    cluster = unseen(cloud, "taken")
    cloud.publish("register-membership", {"cluster": cluster})
    cloud.onboarded(cluster)
    own = cloud.membership(cluster)
    rule = cloud.add_event_rule("lose", times=0)
    cloud.delete_cluster(cluster, seconds=0)
    cloud.gone(cluster)
    cloud.do("fleet", "delete", name=own)
    cloud.wait_for(lambda: own not in cloud.state()["memberships"])
    cloud.do("fleet", "attach", name=own.rpartition("/")[2], location=REGION, project=FLEET)
    again = cloud.create_cluster(cluster.rpartition("/")[2], labels=LABELS)
    cloud.running(again)
    cloud.wait_quiet()
    cloud.remove_event_rules(rule["id"])
    cloud.publish("register-membership", {"cluster": cluster})
    cloud.logged("register-membership", cluster, code="unmanaged_membership")
    printed = console.ops("explain", cluster)
    assert printed.code == 2
    assert printed.has(f"membership {own} has the id that ours needs")
    assert console.paste(printed.command("memberships describe", own.rpartition("/")[2])).has(own.rpartition("/")[2])
    assert printed.command("memberships delete", own.rpartition("/")[2])
    cloud.do("fleet", "delete", name=own)
    cloud.wait_for(lambda: own not in cloud.state()["memberships"])
    console.paste(printed.command("dead-letters replay"))
    cloud.onboarded(cluster)


def test_09_a_foreign_cluster_role_binding(cloud: Chain, console: Console) -> None:
    cluster = unseen(cloud, "bound")
    name = f"fleet-registrar:{ARGOCD}"
    manifest = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [],
    }
    assert cloud.kubernetes(cluster, "POST", BINDINGS, manifest)[0] == 201
    cloud.publish("register-membership", {"cluster": cluster})
    cloud.logged("grant-rbac", cluster, code="unmanaged_binding")
    printed = console.ops("explain", cluster)
    assert printed.code == 2
    assert printed.has(f"ClusterRoleBinding {name}: an unmanaged object has the name")
    console.paste(printed.command("get-credentials"))
    console.paste(printed.command("kubectl get clusterrolebinding"))
    assert printed.command("kubectl delete clusterrolebinding", name)
    cloud.kubernetes(cluster, "DELETE", BINDING)
    console.paste(printed.command("dead-letters replay"))
    cloud.onboarded(cluster)


def test_16_a_cluster_role_that_the_cluster_lacks(cloud: Chain, console: Console) -> None:
    with deployed(cloud, "grant-rbac", ARGOCD_CLUSTER_ROLE="argocd-deployer"):
        cluster = cloud.create_cluster(fresh("role"), labels=LABELS)
        cloud.logged("grant-rbac", cluster, decision="retry", code="no_role")
        printed = console.ops("explain", cluster, ARGOCD_CLUSTER_ROLE="argocd-deployer")
        assert printed.code == 2
        assert printed.has(
            "ClusterRole argocd-deployer (ARGOCD_CLUSTER_ROLE): missing",
            "Create ClusterRole argocd-deployer",
            "grant-rbac attempt",
        )
        assert "all is as it should be" not in printed.text
        assert printed.command("kubectl get clusterroles")
    cloud.publish("register-membership", {"cluster": cluster})
    cloud.onboarded(cluster)


def test_17_a_cluster_in_error(cloud: Chain, console: Console) -> None:
    cluster = cloud.onboard("error", labels=LABELS)
    cloud.set_status(cluster, "ERROR", "nodes are out of quota")
    printed = console.ops("explain", cluster)
    assert printed.code == 2
    assert printed.has("(ERROR)", "GKE says: nodes are out of quota", "created ")
    assert console.paste(printed.command("clusters describe")).has("nodes are out of quota")
    cloud.set_status(cluster, "RUNNING")


def test_17_a_cluster_that_is_still_created(cloud: Chain, console: Console) -> None:
    cluster = unseen(cloud, "young")
    cloud.set_status(cluster, "PROVISIONING")
    printed = console.ops("explain", cluster)
    assert printed.code == 2
    assert printed.has("(PROVISIONING)", "created ", "no Secret of ours")
    cloud.set_status(cluster, "RUNNING")
    cloud.publish("register-membership", {"cluster": cluster})
    cloud.onboarded(cluster)
    assert console.ops("explain", cluster).code == 0


def test_18_a_cluster_re_created_unseen(cloud: Chain, console: Console) -> None:
    cluster = cloud.onboard("again", labels=LABELS)
    cloud.re_create_unseen(cluster, LABELS)
    before = cloud.manifest(cluster)["metadata"]["resourceVersion"]
    printed = console.ops("explain", cluster)
    assert printed.code == 2
    assert printed.has("earlier cluster of this name")
    console.publish(printed.command("topics publish register-membership"))
    cloud.wait_for(lambda: cloud.manifest(cluster)["metadata"]["resourceVersion"] != before)
    cloud.wait_quiet()
    assert console.ops("explain", cluster).code == 0


def test_19_an_agent_that_is_lost(cloud: Chain, console: Console) -> None:
    membership = cloud.attach(fresh("edge"), labels=LABELS, admit=True)
    cloud.onboarded(membership)
    cloud.disconnect(membership, state="UNKNOWN")
    printed = console.ops("explain", membership)
    assert printed.code == 2
    assert printed.has("its agent is lost")
    assert printed.command("kubectl -n gke-connect get pods")
    cloud.reconnect(membership)
    cloud.wait_quiet()


def test_24_explain_says_who_changed_each_object(cloud: Chain, console: Console) -> None:
    cluster = cloud.onboard("who", labels=LABELS)
    short, secret = cluster.rpartition("/")[2], cloud.manifest(cluster)["metadata"]["name"]
    own = cloud.membership(cluster)
    rule = cloud.add_event_rule("lose", times=0)  # nothing repairs it meanwhile
    console.paste(f"kubectl --context {short} delete clusterrolebinding fleet-registrar:{ARGOCD}")
    console.paste(f"kubectl --context central -n argocd annotate secret {secret} note=mine")
    console.paste(
        f"gcloud container fleet memberships update {own.rpartition('/')[2]} --location={REGION} --update-labels=a=b"
    )
    printed = console.ops("explain", cluster)
    printed.has("io.k8s.authorization.rbac.v1.clusterrolebindings.delete by local-admin")
    printed.has("io.k8s.core.v1.secrets.patch by local-admin")
    printed.has("GkeHub.UpdateMembership by you@example.com")
    cloud.remove_event_rules(rule["id"])
    console.publish(printed.command("topics publish register-membership"))
    cloud.wait_for(lambda: cloud.binding(cluster))
    cloud.wait_quiet()


def test_24_objects_changed_by_hand(cloud: Chain, console: Console) -> None:
    cluster = cloud.onboard("hand", labels=LABELS)
    name = cloud.manifest(cluster)["metadata"]["name"]

    cloud.kubernetes(cluster, "DELETE", BINDING)
    printed = console.ops("explain", cluster)
    assert printed.code == 2
    assert printed.has(f"ClusterRoleBinding fleet-registrar:{ARGOCD}: missing", "Changed by", "CreateCluster by ")
    console.publish(printed.command("topics publish register-membership"))
    cloud.wait_for(lambda: cloud.binding(cluster))
    cloud.wait_quiet()

    server = {"data": {"server": "aHR0cHM6Ly8xMC4wLjAuMQ=="}}
    assert cloud.kubernetes(CENTRAL, "PATCH", f"{SECRETS}/{name}", server, content_type=MERGE)[0] == 200
    printed = console.ops("explain", cluster)
    assert printed.code == 2
    assert printed.has("differs in server")

    cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/{name}")
    printed = console.ops("explain", cluster)
    assert printed.code == 2
    assert printed.has("no Secret of ours")
    console.publish(printed.command("topics publish register-membership"))
    cloud.onboarded(cluster)
    cloud.wait_quiet()

    own = cloud.membership(cluster)
    rule = cloud.add_event_rule("lose", times=0)  # its event alone would repair it
    cloud.do("fleet", "delete", name=own)
    cloud.wait_for(lambda: own not in cloud.state()["memberships"])
    cloud.wait_quiet()
    cloud.remove_event_rules(rule["id"])
    printed = console.ops("explain", cluster)
    assert printed.code == 2
    assert printed.has("no membership in the fleet")
    console.publish(printed.command("topics publish register-membership"))
    cloud.wait_for(lambda: cloud.membership(cluster))
    cloud.onboarded(cluster)
