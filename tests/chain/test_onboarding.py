"""A cluster that is made appears in Argo CD's list by itself, wherever and however it was made."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.chain.running import (
    APPS,
    ARGOCD,
    BINDING,
    CENTRAL,
    CREDENTIALS,
    FLEET,
    MERGE,
    NUMBER,
    REGION,
    SECRETS,
    decoded,
    email,
    fresh,
)

if TYPE_CHECKING:
    from tests.chain.running import Chain, Json

OPERATIONS = "/operations/"


def counted(cloud: Chain, since: float) -> list[str]:
    """The outside calls of the functions; Pub/Sub, waiting for operations, and a process's first look are left out."""
    return [
        f"{call['caller'].partition('@')[0]} {call['method']} {call['path']}"
        for call in cloud.calls(since)
        if call["api"] in ("container", "gkehub", "connectgateway")
        and OPERATIONS not in call["path"]
        and not call["path"].endswith("/memberships/central")
    ]


def test_a_regional_cluster_appears_with_its_labels(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels={"env": "prod"})
    assert cloud.labels(cluster)["env"] == "prod"
    assert cloud.membership(cluster).startswith(f"projects/{FLEET}/locations/{REGION}/memberships/blue-")
    assert cloud.binding(cluster) is not None


def test_argocd_identity_is_refused_before_and_accepted_after(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_event_rule("hold", event=f"CreateCluster.finished */{name}")
    cluster = cloud.create_cluster(name, fleet=FLEET)
    cloud.wait_for(lambda: cloud.do("eventarc", "held"))
    membership = cloud.membership(cluster)
    cloud.wait_for(lambda: not cloud.admits(membership))
    cloud.release()
    cloud.onboarded(cluster)
    assert cloud.admits(membership)
    cloud.wait_for(lambda: not cloud.admits(membership, email("write-secret")))


def test_zonal_cluster_is_registered_in_its_region(cloud: Chain) -> None:
    cluster = cloud.onboard("green", f"{REGION}-b", APPS, {"team": "a"})
    events = [one for one in cloud.state()["events"]["log"] if one["name"].endswith(cluster)]
    assert {(one["sink"], one["state"]) for one in events} == {(True, "published")}
    name = cloud.membership(cluster)
    assert name.startswith(f"projects/{FLEET}/locations/{REGION}/memberships/")
    labels = cloud.labels(cluster)
    assert labels["fleet-registrar/project"] == APPS
    assert labels["fleet-registrar/location"] == f"{REGION}-b"


def test_membership_created_by_gke_is_never_deleted(cloud: Chain) -> None:
    cloud.set("fleet", "removes_google_managed", value=False)
    since = time.time()
    try:
        cluster = cloud.onboard("auto", autopilot=True, fleet=FLEET)
        membership = cloud.membership(cluster)
        assert membership.endswith(f"/memberships/{cluster.rpartition('/')[2]}")
        assert cloud.labels(cluster)["fleet-registrar/kind"] == "gke-autopilot"
        cloud.delete_cluster(cluster)
        cloud.wait_for(lambda: cloud.secret(cluster) is None)
        cloud.wait_quiet()
        assert membership in cloud.state()["memberships"]
    finally:
        cloud.set("fleet", "removes_google_managed", value=True)
    writes = [call for call in cloud.calls(since) if call["api"] == "gkehub" and call["method"] != "GET"]
    assert not [call for call in writes if membership in call["path"]]
    cloud.detach(membership)


def test_the_secret_is_byte_for_byte_what_argocd_expects(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels={"env": "prod", "goog-terraform-provisioned": "true"})
    manifest = cloud.manifest(cluster)
    meta = manifest["metadata"]
    short = cluster.rpartition("/")[2]
    membership = cloud.membership(cluster)
    gateway = cloud.state()["endpoints"]["connectgateway"]
    ids = cloud.state()["clusters"][cluster]["id"], cloud.state()["memberships"][membership]["uniqueId"]
    assert manifest["type"] == "Opaque"
    assert meta["name"] == f"{FLEET}.{REGION}.{short}"
    hashes = {key: meta["labels"].pop(f"fleet-registrar/{key}-hash") for key in ("cluster", "membership")}
    assert all(len(one) == 32 and int(one, 16) for one in hashes.values())
    assert membership.endswith(f"/{short}-{hashes['cluster'][:8]}")
    assert meta["labels"] == {
        "argocd.argoproj.io/secret-type": "cluster",
        "app.kubernetes.io/managed-by": "fleet-registrar",
        "fleet-registrar/project": FLEET,
        "fleet-registrar/location": REGION,
        "fleet-registrar/instance": "default",
        "fleet-registrar/kind": "gke",
        "fleet-registrar/name": short,
        "fleet-registrar/region": REGION,
        "fleet-registrar/channel": "regular",
        "fleet-registrar/version": "1.33",
        "env": "prod",
    }
    endpoint = meta["annotations"].pop("fleet-registrar/endpoint")
    assert endpoint.endswith(f"/clusters/{FLEET}.{REGION}.{short}")
    assert meta["annotations"] == {
        "fleet-registrar/cluster": cluster,
        "fleet-registrar/cluster-id": ids[0],
        "fleet-registrar/membership": membership,
        "fleet-registrar/membership-uid": ids[1],
        "fleet-registrar/functions-project": FLEET,
        "fleet-registrar/grant": f"cluster-admin {ARGOCD}",
        "fleet-registrar/label-keys": "env",
        "fleet-registrar/network": f"projects/{FLEET}/global/networks/default",
        "fleet-registrar/subnetwork": f"projects/{FLEET}/regions/{REGION}/subnetworks/default",
        "fleet-registrar/project-number": NUMBER,
    }
    assert decoded(manifest) == {
        "name": f"{FLEET}.{REGION}.{short}",
        "server": f"{gateway}/v1/projects/{NUMBER}/locations/{REGION}/gkeMemberships/{membership.rpartition('/')[2]}",
        "config": (
            '{"execProviderConfig":{"apiVersion":"client.authentication.k8s.io/v1beta1","args":["gcp"],'
            '"command":"argocd-k8s-auth"},"tlsClientConfig":{"insecure":false}}'
        ),
    }


def test_the_binding_is_argocds_alone_and_carries_our_label(cloud: Chain) -> None:
    binding = cloud.binding(cloud.onboard())
    assert binding is not None
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "cluster-admin",
    }
    assert binding["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ARGOCD}]
    assert binding["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "fleet-registrar",
        "fleet-registrar/instance": "default",
    }


def test_our_membership_says_whose_it_is(cloud: Chain) -> None:
    cluster = cloud.onboard()
    id_ = cloud.state()["clusters"][cluster]["id"]
    labels = cloud.state()["memberships"][cloud.membership(cluster)]["labels"]
    assert labels == {"managed-by": "fleet-registrar", "fleet-registrar-cluster-id": id_[:40]}


def test_an_onboarding_takes_at_most_thirteen_calls(cloud: Chain) -> None:
    cloud.onboard("first")  # the functions have read the central cluster's membership
    since = time.time()
    cloud.onboard("blue")
    calls = counted(cloud, since)
    assert len(calls) <= 13, "\n".join(calls)


def test_replay_of_an_onboarded_cluster_writes_nothing(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels={"env": "prod"})
    before, since = cloud.everything(), time.time()
    cloud.publish("register-membership", {"cluster": cluster}, {"cause": cluster})
    cloud.logged("write-secret", cluster, decision="unchanged")
    cloud.wait_quiet()
    assert cloud.everything() == before
    writes = {call for call in counted(cloud, since) if " GET " not in call}
    assert all(call.endswith("/subjectaccessreviews") for call in writes), writes
    assert len(writes) == 1  # a review asks, it changes nothing


def test_a_label_change_arrives(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels={"env": "dev"})
    cloud.set_labels(cluster, {"env": "prod", "tier": "gold"})
    cloud.wait_for(lambda: cloud.labels(cluster).get("env") == "prod")
    assert cloud.labels(cluster)["tier"] == "gold"
    assert cloud.manifest(cluster)["metadata"]["annotations"]["fleet-registrar/label-keys"] == "env,tier"


def test_label_change_without_an_operation_arrives(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels={"env": "dev"})
    cloud.set("gke", "labels_without_operation", value=True)
    try:
        cloud.set_labels(cluster, {"env": "prod"})
    finally:
        cloud.set("gke", "labels_without_operation", value=False)
    cloud.wait_for(lambda: cloud.labels(cluster).get("env") == "prod")


def test_only_a_sweep_removes_a_label_key(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels={"env": "dev", "tier": "gold"})
    cloud.set_labels(cluster, {"env": "prod"})
    cloud.wait_for(lambda: cloud.labels(cluster).get("env") == "prod")
    assert cloud.labels(cluster)["tier"] == "gold"
    uid = cloud.manifest(cluster)["metadata"]["uid"]
    cloud.publish("write-secret", {"cluster": cluster, "drop_labels": ["tier", "env"], "secret_uid": uid})
    cloud.wait_for(lambda: "tier" not in cloud.labels(cluster))
    assert cloud.labels(cluster)["env"] == "prod"


def test_odd_label_characters_are_adapted_or_reported(cloud: Chain) -> None:
    odd = {
        "a": "plain",
        "b-": "ends-",
        "c_": "_begins",
        "d": "größe",
        "straße": "x",
        "e" * 63: "v" * 63,
        "f": "",
        "g": "-_-",
        "h1": "日本",
        "b": "wins",
        "goog-managed": "no",
        "fleet-registrar-x": "no",
    }
    cluster = cloud.onboard("odd", labels=odd)
    labels = {key: value for key, value in cloud.labels(cluster).items() if "/" not in key}
    assert labels == {"a": "plain", "b": "wins", "c": "begins", "e" * 63: "v" * 63, "f": ""}
    message = cloud.logged("write-secret", cluster, decision="created", severity="WARNING")["message"]
    for key in ("straße", "größe", "日本", "-_-", "'b-'"):
        assert key in message


def test_what_people_add_to_a_secret_stays(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels={"env": "dev"})
    theirs = {"labels": {"wave": "1"}, "annotations": {"note": "ours", "argocd.argoproj.io/skip-reconcile": "true"}}
    cloud.change_secret(cluster, theirs)
    name = cloud.manifest(cluster)["metadata"]["name"]
    cloud.kubernetes(
        CENTRAL,
        "PATCH",
        f"{SECRETS}/{name}",
        {"stringData": {"shard": "3"}},
        content_type=MERGE,
    )
    cloud.set_labels(cluster, {"env": "prod", "wave": "9"})
    cloud.wait_for(lambda: cloud.labels(cluster).get("env") == "prod")
    manifest = cloud.manifest(cluster)
    assert manifest["metadata"]["labels"]["wave"] == "1"
    assert {key: manifest["metadata"]["annotations"][key] for key in theirs["annotations"]} == theirs["annotations"]
    assert decoded(manifest)["shard"] == "3"


def test_one_message_repairs_binding_and_secret(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    name = cloud.manifest(cluster)["metadata"]["name"]
    server = decoded(cloud.manifest(cluster))["server"]
    merge: Json = {"stringData": {"server": "https://elsewhere.example", "config": "{}"}}
    cloud.kubernetes(CENTRAL, "PATCH", f"{SECRETS}/{name}", merge, content_type=MERGE)
    cloud.kubernetes(cluster, "PATCH", BINDING, {"subjects": []}, content_type=MERGE)
    cloud.wait_for(lambda: not cloud.admits(cloud.membership(cluster)))
    cloud.publish("register-membership", {"cluster": cluster})
    cloud.wait_for(lambda: decoded(cloud.manifest(cluster))["server"] == server)
    assert "argocd-k8s-auth" in decoded(cloud.manifest(cluster))["config"]
    assert cloud.admits(cloud.membership(cluster))


def test_no_credential_in_secrets_or_logs(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    cloud.publish("write-secret", b"poison", {"cause": cluster})
    cloud.dead_letter(cluster, "write-secret")
    _, found = cloud.kubernetes(CENTRAL, "GET", SECRETS)
    for manifest in found["items"]:
        assert not CREDENTIALS.search(json.dumps(manifest) + json.dumps(decoded(manifest)))
    for name, text in cloud.logs().items():
        assert not CREDENTIALS.search(text), name
        assert "execProviderConfig" not in text, name


def test_log_entries_name_cluster_step_cause_decision_and_code(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    traces = set()
    for step in ("route-event", "register-membership", "grant-rbac", "write-secret"):
        line = cloud.logged(step, cluster)
        labels = line["logging.googleapis.com/labels"]
        assert (line["severity"], line["step"], labels["cluster"], labels["step"]) == ("INFO", step, cluster, step)
        assert "CreateCluster finished" in labels["cause"]
        assert line["decision"]
        assert line["code"]
        assert line["message"]
        traces.add(line["logging.googleapis.com/trace"])
    assert len(traces) == 1
