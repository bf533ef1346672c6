"""Argo CD itself at the end of the chain: clusters are made, and Applications come, move and go, by its own status fields.

Argo CD fetches its token by `argocd-k8s-auth gcp` from the metadata server of its Google identity, goes through the gateway as
that identity, and is authorized by the ClusterRoleBinding that `grant_rbac` wrote. What it reads is `infra/argocd/`, from a git
repository beside it. There are no nodes: the tests play the controllers that would report a Deployment as rolled out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from local.real import build
from tests.chain.running import APPS, ARGOCD, CENTRAL, FLEET, MERGE, SECRETS, Chain, decoded, fresh, running
from tests.chain.test_leaving import ask
from tests.real.applications import (
    APPLICATIONS,
    AT_LAST,
    application,
    applications,
    commit,
    hello,
    roll_out,
    short_of,
    synced,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOLD = 1


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud of real clusters with Argo CD; clusters labelled `argocd=no` are not wanted."""
    options = ("--kube", "real", "--argocd", "real", "--selector", "argocd!=no", "--hold", str(HOLD))
    with running(tmp_path_factory.mktemp("argocd"), *options) as chain:
        yield chain


@pytest.fixture(autouse=True)
def healthy(cloud: Chain) -> Iterator[None]:
    """After each test its clusters are gone, and with them all Applications but the fleet's own: nothing is stuck."""
    yield
    cloud.restore()
    state = cloud.state()
    for cluster, one in state["clusters"].items():
        if cluster != CENTRAL and one["status"] not in ("STOPPING", "PROVISIONING"):
            cloud.delete_cluster(cluster)
    for name in [name for name, one in state["memberships"].items() if not one["cluster"]]:
        cloud.do("cloud", "forget", membership=name)
    cloud.wait_for(lambda: set(cloud.state()["clusters"]) == {CENTRAL}, AT_LAST, "no cluster but the central one")
    cloud.wait_quiet()
    for secret in [
        one for one in cloud.secrets() if "data.server" in one
    ]:  # an attached cluster's: the sweep's to remove
        cloud.kubernetes(CENTRAL, "DELETE", f"{SECRETS}/{secret['name']}")
    cloud.wait_for(lambda: set(applications(cloud)) == {"fleet"}, AT_LAST, "no Application but the fleet's own")


def test_argocd_has_access_only_while_the_secret_exists(cloud: Chain) -> None:
    """With the token that `argocd-k8s-auth gcp` gets, on the real RBAC."""
    name = fresh("blue")
    cloud.add_event_rule("hold", event=f"CreateCluster.finished */{name}")
    cluster = cloud.create_cluster(name, fleet=FLEET, labels={"baseline": "standard"})
    cloud.wait_for(lambda: cloud.do("eventarc", "held"))
    membership = cloud.membership(cluster)
    metadata = cloud.state()["endpoints"]["metadata of argocd"].removeprefix("http://")
    environment = {"PATH": os.defpath, "GCE_METADATA_HOST": metadata, "HOME": str(cloud.directory)}
    ran = subprocess.run(
        [build.program(build.ARGOCD, "argocd-k8s-auth"), "gcp"],
        env=environment,
        capture_output=True,
        check=True,
        timeout=100,
    )
    credential = json.loads(ran.stdout)
    assert credential["apiVersion"] == "client.authentication.k8s.io/v1beta1"
    token = credential["status"]["token"]
    assert cloud.do("iam", "identity", authorization=f"Bearer {token}") == ARGOCD
    cloud.wait_for(lambda: not cloud.admits(membership))
    cloud.release()
    synced(cloud, "baseline-guardrails", cluster)
    assert cloud.admits(membership)
    leave(
        cloud, cluster, lambda what: ask(cloud, cluster, what)
    )  # the last of all clusters: a sweep's removal limit would hold it
    cloud.wait_for(lambda: not cloud.admits(membership))


def leave(cloud: Chain, cluster: str, asks: Callable[[str], None]) -> None:
    """A cluster loses what the selector asks for, and leaves in two passes; `asks` is the sweep."""
    cloud.set_labels(cluster, {"argocd": "no"})
    cloud.logged("write-secret", cluster, code="unselected")
    asks("hold")
    cloud.wait_for(lambda: cloud.held(cluster) == "not-wanted")
    since = datetime.fromisoformat(
        cloud.manifest(cluster)["metadata"]["annotations"]["fleet-registrar/held"].split()[1]
    )
    cloud.wait_for(lambda: (datetime.now(UTC) - since).total_seconds() > HOLD)
    asks("remove")
    cloud.wait_for(lambda: cloud.secret(cluster) is None)
    cloud.wait_for(lambda: cloud.binding(cluster) is None)


def test_a_cluster_gets_its_baseline_by_its_label_and_a_hardened_one_more(cloud: Chain) -> None:
    standard = cloud.onboard("blue", labels={"baseline": "standard"})
    synced(cloud, "baseline-guardrails", standard)
    assert cloud.kubernetes(standard, "GET", "/api/v1/namespaces/platform/limitranges/platform")[0] == 200
    assert f"baseline-isolation-{short_of(standard)}" not in applications(cloud)
    cloud.set_labels(standard, {"baseline": "hardened"})
    synced(cloud, "baseline-isolation", standard)
    policies = "/apis/networking.k8s.io/v1/namespaces/platform/networkpolicies"
    assert cloud.kubernetes(standard, "GET", f"{policies}/isolation")[0] == 200


def test_tenant_gets_namespace_and_application_in_its_project(cloud: Chain) -> None:
    cluster = cloud.onboard("shop", project=APPS, labels={"env": "prod"})
    elsewhere = cloud.onboard("claims", labels={"env": "prod"})  # another project: its owner cannot claim to be in it
    synced(cloud, "tenant-shop", cluster)
    _, quota = cloud.kubernetes(cluster, "GET", "/api/v1/namespaces/team-shop/resourcequotas/team")
    assert quota["spec"]["hard"]["pods"] == "40"
    synced(cloud, "shop-hello", cluster)
    assert "Hello" in hello(cloud, cluster, "team-shop")
    assert not [name for name in applications(cloud) if name.endswith(short_of(elsewhere))]


def test_label_change_moves_waves_and_a_merge_reaches_the_first(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", project=APPS, labels={"wave": "1"})
    before = synced(cloud, "hello", cluster)
    assert before["spec"]["source"]["targetRevision"] == "main"
    commit(cloud, "workloads/hello/index.html", lambda page: page.replace("the fleet", "the first wave"))
    cloud.wait_for(lambda: "first wave" in hello(cloud, cluster), AT_LAST, "the new page")
    cloud.set_labels(cluster, {"wave": "2"})
    after = synced(
        cloud, "hello", cluster, lambda one: one["status"]["sync"]["comparedTo"]["source"]["targetRevision"] == "v0.1.0"
    )
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["labels"]["wave"] == "2"
    cloud.wait_for(lambda: "first wave" not in hello(cloud, cluster), AT_LAST, "the page of the second wave")
    assert "the fleet" in hello(cloud, cluster)
    commit(
        cloud, "fleet/waves.yaml", lambda text: re.sub(r'(wave: "2", revision: )v0.1.0', r"\1main", text)
    )  # the gate: a merged pull request
    cloud.wait_for(lambda: "first wave" in hello(cloud, cluster), AT_LAST, "the first wave's page in the second")


def test_leaving_cluster_keeps_workloads_and_no_applications(cloud: Chain) -> None:
    leaving = cloud.onboard("leaving", labels={"baseline": "standard"})
    going = cloud.onboard("going", labels={"baseline": "standard"})
    for cluster in (leaving, going):
        synced(cloud, "baseline-guardrails", cluster)
    leave(cloud, leaving, lambda _: cloud.publish("sweep", {}))
    cloud.delete_cluster(going)
    for cluster in (leaving, going):
        ours = f"baseline-guardrails-{short_of(cluster)}"
        cloud.wait_for(lambda ours=ours: ours not in applications(cloud), AT_LAST, f"{ours} gone")  # type: ignore[misc]
    assert cloud.kubernetes(leaving, "GET", "/api/v1/namespaces/platform/limitranges/platform")[0] == 200
    cloud.offboarded(going)


def test_the_cluster_of_a_returned_agent_is_reconciled(cloud: Chain) -> None:
    edge = cloud.attach(fresh("edge"), admit=True, labels={"baseline": "standard"})
    synced(cloud, "baseline-guardrails", edge)
    limits = "/api/v1/namespaces/platform/limitranges/platform"
    cloud.disconnect(edge)
    cloud.publish("write-secret", {"membership": edge})
    cloud.wait_for(lambda: "fleet-registrar/agent-lost" in cloud.manifest(edge)["metadata"]["annotations"])
    assert cloud.kubernetes(edge, "DELETE", limits)[0] == 200
    cloud.reconnect(edge)
    cloud.publish("write-secret", {"membership": edge})
    cloud.wait_for(lambda: "argocd.argoproj.io/refresh" in cloud.manifest(edge)["metadata"]["annotations"])
    cloud.wait_for(lambda: cloud.kubernetes(edge, "GET", limits)[0] == 200, AT_LAST, "what was lost, healed")
    synced(cloud, "baseline-guardrails", edge)


def test_argocds_rewrite_of_a_secret_causes_no_drift(cloud: Chain) -> None:
    odd = {"team_": "a_b", "x-": "-y-", "x" * 63: "y" * 63, "empty": ""}
    cluster = cloud.onboard("blue", labels={"baseline": "standard"} | odd)
    synced(cloud, "baseline-guardrails", cluster)
    people = {
        "metadata": {
            "labels": {"argocd.argoproj.io/auto-label-cluster-info": "true", "theirs": "1"},
            "annotations": {"theirs": "2"},
        },
        "stringData": {"shard": "0", "project": "baseline"},
    }
    name = cloud.manifest(cluster)["metadata"]["name"]
    assert cloud.kubernetes(CENTRAL, "PATCH", f"{SECRETS}/{name}", people, content_type=MERGE)[0] == 200
    before = cloud.manifest(cluster)
    version = "argocd.argoproj.io/kubernetes-version"
    cloud.wait_for(lambda: version in cloud.labels(cluster), AT_LAST, "Argo CD's rewriting of the Secret")
    after = cloud.manifest(cluster)
    kept: dict[str, Any] = {key: value for key, value in after["metadata"]["labels"].items() if key != version}
    assert kept == before["metadata"]["labels"]
    assert before["metadata"]["annotations"].items() <= after["metadata"]["annotations"].items()
    assert {key: json.loads(value) if key == "config" else value for key, value in decoded(after).items()} == {
        key: json.loads(value) if key == "config" else value for key, value in decoded(before).items()
    }
    cloud.publish("write-secret", {"cluster": cluster}, {"cause": f"again {cluster}"})
    cloud.logged("write-secret", f"again {cluster}")
    cloud.wait_quiet()
    assert cloud.manifest(cluster) == after


LIMITS = "/api/v1/namespaces/platform/limitranges/platform"
NOTE = "/api/v1/namespaces/platform/limitranges/note"


def hold(cloud: Chain, cluster: str) -> None:
    """Take the label away that the selector asks for, and let one sweep hold the Secret."""
    cloud.set_labels(cluster, {"argocd": "no"})
    cloud.wait_quiet()
    cloud.publish("sweep", {})
    cloud.wait_for(lambda: cloud.held(cluster) == "not-wanted", AT_LAST, "the Secret held")


def release_hold(cloud: Chain, cluster: str) -> None:
    """Give the label back."""
    cloud.set_labels(cluster, {"argocd": "yes"})
    cloud.wait_for(lambda: not cloud.held(cluster), AT_LAST, "the hold released")


def wait_until_argocd_heals(cloud: Chain, cluster: str) -> None:
    """Make drift in a cluster that is not held and wait until Argo CD repairs it: one reconciliation has passed."""
    assert cloud.kubernetes(cluster, "DELETE", LIMITS)[0] == 200
    cloud.wait_for(lambda: cloud.kubernetes(cluster, "GET", LIMITS)[0] == 200, AT_LAST, "drift repaired")


def apply_application(cloud: Chain, cluster: str) -> str:
    """Create by hand an Application of one LimitRange, deleted with the Application; return the Application's name."""
    folder = cloud.directory / "argocd" / "fleet" / "infra" / "argocd" / "workloads" / "note"
    if not folder.exists():
        folder.mkdir()
        limit = {"type": "Pod", "max": {"cpu": "1"}}
        note = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "note"}, "spec": {"limits": [limit]}}
        (folder / "note.yaml").write_text(json.dumps(note))
        subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
        commit(cloud, "workloads/note/note.yaml", str)
    like = application(cloud, "baseline-guardrails", cluster)["spec"]
    source = like["source"] | {"path": "infra/argocd/workloads/note", "targetRevision": "main"}
    name = f"by-hand-{short_of(cluster)}"
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": name,
            "namespace": "argocd",
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
        },
        "spec": like | {"source": source},
    }
    status, answer = cloud.kubernetes(CENTRAL, "POST", APPLICATIONS, body)
    assert status == 201, answer
    synced(cloud, "by-hand", cluster)
    assert cloud.kubernetes(cluster, "GET", NOTE)[0] == 200
    return name


def test_held_cluster_is_not_reconciled_until_release(cloud: Chain) -> None:
    held, other = (cloud.onboard(name, labels={"baseline": "standard"}) for name in ("held", "other"))
    for cluster in (held, other):
        synced(cloud, "baseline-guardrails", cluster)
    hold(cloud, held)
    assert cloud.kubernetes(held, "DELETE", LIMITS)[0] == 200
    wait_until_argocd_heals(cloud, other)
    assert cloud.kubernetes(held, "GET", LIMITS)[0] == 404
    assert application(cloud, "baseline-guardrails", held)["status"]["sync"]["status"] == "Synced"  # as before the hold
    release_hold(cloud, held)
    cloud.wait_for(lambda: cloud.kubernetes(held, "GET", LIMITS)[0] == 200, AT_LAST, "drift repaired after the hold")


def held_with_deletion_pending(cloud: Chain) -> tuple[str, str]:
    """Return a held cluster and the name of its Application by hand, which a person has deleted since."""
    held, other = (cloud.onboard(name, labels={"baseline": "standard"}) for name in ("held", "other"))
    for cluster in (held, other):
        synced(cloud, "baseline-guardrails", cluster)
    name = apply_application(cloud, held)
    hold(cloud, held)
    assert cloud.kubernetes(CENTRAL, "DELETE", f"{APPLICATIONS}/{name}")[0] == 200
    wait_until_argocd_heals(cloud, other)
    assert "deletionTimestamp" in applications(cloud)[name]["metadata"]
    assert cloud.kubernetes(held, "GET", NOTE)[0] == 200
    return held, name


def test_hold_postpones_deletion_and_release_carries_it_out(cloud: Chain) -> None:
    held, name = held_with_deletion_pending(cloud)
    release_hold(cloud, held)

    def deleted() -> bool:
        roll_out(cloud, held)
        return name not in applications(cloud)

    cloud.wait_for(deleted, AT_LAST, "the deletion carried out")
    assert cloud.kubernetes(held, "GET", NOTE)[0] == 404


def test_removal_while_held_drops_deletion_and_keeps_workloads(cloud: Chain) -> None:
    held, name = held_with_deletion_pending(cloud)
    since = datetime.fromisoformat(cloud.manifest(held)["metadata"]["annotations"]["fleet-registrar/held"].split()[1])
    cloud.wait_for(lambda: (datetime.now(UTC) - since).total_seconds() > HOLD)
    cloud.publish("sweep", {})
    cloud.wait_for(lambda: cloud.secret(held) is None, AT_LAST, "the Secret removed")
    cloud.wait_for(lambda: name not in applications(cloud), AT_LAST, "the Application gone")
    assert cloud.kubernetes(held, "GET", NOTE)[0] == 200
