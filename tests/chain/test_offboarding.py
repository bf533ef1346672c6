"""A cluster that is deleted disappears by itself, and nothing is deleted on a guess."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.chain.http import http_status
from tests.chain.running import (
    APPS,
    CENTRAL,
    CENTRAL_MEMBERSHIP,
    FLEET,
    MARK,
    REGION,
    SECRETS,
    email,
    fresh,
)

if TYPE_CHECKING:
    from tests.chain.running import Chain

SKIP = "argocd.argoproj.io/skip-reconcile"


def asked(cloud: Chain, api: str, method: str, path: str, who: str) -> int:
    """Call a Google API as somebody; return the HTTP status."""
    token = cloud.do("iam", "token_for", email=who)
    url = f"{cloud.state()['endpoints'][api]}/v1/{path}"
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {token}"})
    return http_status(request)


def delete_slowly(cloud: Chain, cluster: str) -> None:
    """Let a deletion take until its Secret is held, and end it."""
    cloud.delete_cluster(cluster, seconds=600)
    cloud.wait_for(lambda: cloud.held(cluster) == "going", what=f"the Secret of {cluster} held")
    cloud.finish(cluster)


def test_a_deleted_cluster_disappears_with_its_membership(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    cloud.delete_cluster(cluster)
    cloud.offboarded(cluster)
    cloud.wait_quiet()
    assert not cloud.dead_letters(cluster)


def test_an_offboarding_has_seven_invocations(cloud: Chain) -> None:
    """docs/scale.md#cost-of-one-event: each invocation writes one line."""
    cluster = cloud.onboard("blue")
    membership = cloud.membership(cluster)
    cloud.wait_quiet()
    functions = list(cloud.state()["functions"])
    before = {function: len(cloud.lines(function, "decision")) for function in functions}
    delete_slowly(cloud, cluster)
    cloud.offboarded(cluster)
    cloud.logged("route-event", membership, code="gke_membership", decision="ignored")
    cloud.wait_quiet()
    found = [(name, line["decision"]) for name in functions for line in cloud.lines(name, "decision")[before[name] :]]
    assert sorted(found) == [
        ("remove-secret", "deleted"),
        ("remove-secret", "held"),
        ("route-event", "ignored"),  # the fleet reports the missing cluster
        ("route-event", "ignored"),  # and the deleted membership
        ("route-event", "routed"),
        ("route-event", "routed"),
        ("unregister-membership", "unregistered"),
    ]


def test_cluster_in_deletion_is_held(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    cloud.delete_cluster(cluster, seconds=600)
    cloud.wait_for(lambda: cloud.held(cluster) == "going")
    assert cloud.manifest(cluster)["metadata"]["annotations"][SKIP] == "true"
    cloud.finish(cluster)
    cloud.offboarded(cluster)


@pytest.mark.parametrize("status", ["RUNNING", "DEGRADED", "ERROR"])
def test_failed_deletion_releases_the_hold(cloud: Chain, status: str) -> None:
    cluster = cloud.onboard("blue", labels={"env": "prod"})
    before = cloud.manifest(cluster)
    cloud.do("gke", "fail_next", what="delete", cluster=cluster, status=status)
    delete_slowly(cloud, cluster)
    cloud.wait_for(lambda: cluster in cloud.listed())
    cloud.wait_quiet()
    after = cloud.manifest(cluster)
    for one in (before, after):
        one["metadata"].pop("resourceVersion")
        one["metadata"].pop("managedFields", None)  # who wrote which field when: only a real server keeps it
    assert after == before
    assert cloud.admits(cloud.membership(cluster))


def test_a_skip_reconcile_that_a_person_set_stays_after_a_hold(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    cloud.change_secret(cluster, {"annotations": {SKIP: "true"}})
    cloud.do("gke", "fail_next", what="delete", cluster=cluster, status="RUNNING")
    delete_slowly(cloud, cluster)
    cloud.wait_for(lambda: cluster in cloud.listed())
    assert cloud.manifest(cluster)["metadata"]["annotations"][SKIP] == "true"


def test_a_refused_deletion_changes_nothing(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    before = cloud.everything()
    assert asked(cloud, "container", "DELETE", cluster, email("write-secret")) == 403
    cloud.logged("route-event", "DeleteCluster", decision="ignored", code="refused")
    cloud.wait_quiet()
    assert cloud.everything() == before


def test_a_cluster_whose_creation_fails_leaves_nothing(cloud: Chain) -> None:
    before = cloud.everything()
    name = fresh("never")
    cluster = f"projects/{FLEET}/locations/{REGION}/clusters/{name}"
    cloud.do("gke", "fail_next", what="create", cluster=cluster)
    cloud.create_cluster(name)
    cloud.wait_for(lambda: cloud.state()["clusters"][cluster]["status"] == "ERROR")
    cloud.publish("register-membership", {"cluster": cluster})  # and nobody can force it in
    cloud.logged("register-membership", cluster, decision="no_op", code="unknown", severity="WARNING")
    cloud.wait_quiet()
    after = cloud.everything()
    assert (after["memberships"], after["secrets"]) == (before["memberships"], before["secrets"])
    cloud.delete_cluster(cluster)
    cloud.gone(cluster)


def test_a_pinned_secret_is_neither_held_nor_removed(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    cloud.change_secret(cluster, {"annotations": {f"{MARK}keep": "true"}})
    pinned = cloud.manifest(cluster)
    cloud.delete_cluster(cluster)
    cloud.gone(cluster)
    cloud.logged("remove-secret", cluster, decision="blocked", code="pinned", severity="ERROR")
    cloud.wait_quiet()
    assert cloud.manifest(cluster) == pinned
    cloud.change_secret(cluster, {"annotations": {f"{MARK}keep": None}})
    cloud.publish("remove-secret", {"cluster": cluster})
    cloud.offboarded(cluster)


def test_404_that_the_list_contradicts_proves_nothing(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    before, secret = cloud.everything(), cloud.manifest(cluster)
    cloud.set("gke", "hidden_from_get", [cluster])
    try:
        cloud.publish("remove-secret", {"cluster": cluster})
        cloud.logged("remove-secret", cluster, decision="retry", code="contradiction")
        assert cloud.manifest(cluster) == secret  # all else is read below: the attempts end after 20 s
    finally:
        cloud.set("gke", "hidden_from_get", [])
    cloud.logged("remove-secret", cluster, decision="reversed", code="selected")
    cloud.wait_quiet()
    assert cloud.everything() == before


def test_unknown_membership_is_not_read(cloud: Chain) -> None:
    """Each deletion of a GKE cluster brings such a message: it costs one look at the Secrets."""
    membership = f"projects/{FLEET}/locations/{REGION}/memberships/{fresh('never')}"
    cloud.wait_quiet()  # what earlier tests left is done
    since = time.time()
    cloud.publish("remove-secret", {"membership": membership})
    cloud.logged("remove-secret", membership, decision="no_op", code="no_secret")
    reads = [one["path"] for one in cloud.calls(since) if one["caller"] == email("remove-secret")]
    of_the_fleet = [path for path in reads if path.startswith(f"/v1/projects/{FLEET}/locations/{REGION}/memberships")]
    # A process that is new also reads which cluster is the central one.
    assert [path for path in of_the_fleet if path != f"/v1/{CENTRAL_MEMBERSHIP}"] == []


def test_list_with_missing_zones_proves_nothing(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", f"{REGION}-c", APPS)
    secret = cloud.manifest(cluster)
    cloud.set("gke", "missing_zones", {APPS: [f"{REGION}-c"]})
    try:
        cloud.delete_cluster(cluster, seconds=0)
        cloud.gone(cluster)
        cloud.logged("remove-secret", cluster, decision="retry", code="incomplete_list")
        assert cloud.manifest(cluster)["metadata"]["uid"] == secret["metadata"]["uid"]
    finally:
        cloud.set("gke", "missing_zones", {})
    cloud.offboarded(cluster)


def test_shut_down_project_proves_nothing(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", project=APPS)
    before = cloud.everything()
    cloud.do("gke", "shut_project", project=APPS)
    try:
        cloud.publish("remove-secret", {"cluster": cluster})
        cloud.logged("remove-secret", cluster, decision="retry", code="denied")
        assert cloud.everything() == before
    finally:
        cloud.set("projects", "shut", [])
    cloud.wait_quiet()


def test_membership_with_sub_resources_stays_and_is_reported(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    membership = cloud.membership(cluster)
    cloud.set("fleet", "bindings", {membership: {"bound": {}}})
    try:
        cloud.delete_cluster(cluster)
        letter = cloud.dead_letter(cluster, "unregister-membership")
        assert letter.code == "membership_in_use"
        assert cloud.secret(cluster) is None
        assert membership in cloud.state()["memberships"]
    finally:
        cloud.set("fleet", "bindings", {})
    cloud.replay(letter)
    cloud.offboarded(cluster)


def test_offboarded_is_published_once(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    cloud.delete_cluster(cluster)
    cloud.offboarded(cluster)
    cloud.wait_quiet()
    before, since = cloud.everything(), time.time()
    cloud.publish("remove-secret", {"cluster": cluster})
    cloud.wait_for(lambda: cloud.calls(since))
    cloud.wait_quiet()
    assert cloud.everything() == before
    # A deletion may be over before its first event is read: then there is nothing to hold.
    cloud.wait_for(lambda: "offboarded" in [event["type"] for event in cloud.events(cluster)])
    types = [event["type"] for event in cloud.events(cluster)]
    assert [kind for kind in types if kind != "held"] == ["onboarded", "offboarded"]


def test_the_central_cluster_has_no_secret_of_its_own(cloud: Chain) -> None:
    _, found = cloud.kubernetes(CENTRAL, "GET", SECRETS)
    assert not [one for one in found["items"] if one["metadata"]["name"].endswith(".central")]
