"""A living cluster that is not wanted any more leaves only as a sweep asks, in two looks, and can come back at any point."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.chain.running import ARGOCD, MARK, Chain, fresh, running

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED = {"argocd": "yes"}
HOLD = 1


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud that takes in clusters labelled `argocd=yes` only, and holds for a second."""
    with running(tmp_path_factory.mktemp("leaving"), "--selector", "argocd=yes", "--hold", str(HOLD)) as chain:
        yield chain


def ask(cloud: Chain, cluster: str, leave: str) -> None:
    """What a sweep publishes."""
    kind = "cluster" if "/clusters/" in cluster else "membership"
    cloud.publish("remove-secret", {kind: cluster, "leave": leave}, {"asked-by": "sweep"})


def deselected(cloud: Chain, cluster: str) -> None:
    cloud.set_labels(cluster, {})
    cloud.said("register-membership", cluster, code="unselected")
    cloud.wait_quiet()


def held_long_enough(cloud: Chain, cluster: str) -> None:
    ask(cloud, cluster, "hold")
    cloud.wait_for(lambda: cloud.held(cluster) in ("not-wanted", "left-fleet"))
    since = datetime.fromisoformat(cloud.manifest(cluster)["metadata"]["annotations"][f"{MARK}held"].split()[1])
    cloud.wait_for(lambda: (datetime.now(UTC) - since).total_seconds() > HOLD)


def test_what_the_selector_does_not_match_is_left_alone(cloud: Chain) -> None:
    before = cloud.everything()
    cluster = cloud.create_cluster(fresh("other"), labels={"argocd": "no"})
    cloud.said("register-membership", cluster, code="unselected")
    cloud.wait_quiet()
    after = cloud.everything()
    assert (after["secrets"], after["memberships"]) == (before["secrets"], before["memberships"])
    assert cloud.binding(cluster) is None


def test_a_cluster_that_gets_the_label_appears(cloud: Chain) -> None:
    cluster = cloud.create_cluster(fresh("late"))
    cloud.said("register-membership", cluster, code="unselected")
    cloud.set_labels(cluster, WANTED)
    cloud.onboarded(cluster)


def test_an_event_never_lets_a_living_cluster_leave(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels=WANTED)
    deselected(cloud, cluster)
    before = cloud.everything()
    for topic in (
        "register-membership",
        "grant-rbac",
        "write-secret",
        "remove-secret",
        "revoke-rbac",
        "unregister-membership",
    ):
        cloud.publish(topic, {"cluster": cluster}, {"cause": f"look {topic} {cluster}"})
        cloud.said(topic, f"look {topic} {cluster}")
    cloud.wait_quiet()
    assert cloud.everything() == before


def test_a_cluster_leaves_in_two_looks_keeps_its_membership_and_refuses_argocd(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels=WANTED)
    membership = cloud.membership(cluster)
    assert cloud.admits(membership)
    deselected(cloud, cluster)
    ask(cloud, cluster, "hold")
    cloud.wait_for(lambda: cloud.held(cluster) == "not-wanted")
    assert cloud.admits(membership)
    held_long_enough(cloud, cluster)
    ask(cloud, cluster, "remove")
    cloud.wait_for(lambda: cloud.secret(cluster) is None)
    cloud.wait_for(lambda: cloud.binding(cluster) is None)
    cloud.wait_quiet()
    assert cloud.membership(cluster) == membership
    assert not cloud.admits(membership, ARGOCD)
    cloud.set_labels(cluster, WANTED)
    cloud.onboarded(cluster)
    assert cloud.admits(membership)


def test_nothing_is_removed_that_was_not_held_for_long_enough_for_that_reason(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels=WANTED)
    deselected(cloud, cluster)
    ask(cloud, cluster, "remove")
    cloud.said("remove-secret", cluster, decision="no_op")
    cloud.wait_quiet()
    assert cluster in cloud.listed()
    long_ago = {"annotations": {f"{MARK}held": "going 2020-01-01T00:00:00Z skip-reconcile=ours"}}
    cloud.change_secret(cluster, long_ago)
    ask(cloud, cluster, "remove")
    cloud.wait_quiet()
    assert cloud.held(cluster) == "going"
    ask(cloud, cluster, "hold")
    cloud.wait_for(lambda: cloud.held(cluster) == "not-wanted")  # another reason starts the time anew
    assert " 2020-" not in cloud.manifest(cluster)["metadata"]["annotations"][f"{MARK}held"]


def test_a_wanted_cluster_does_not_leave_whatever_is_asked(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels=WANTED)
    before = cloud.everything()
    for leave in ("hold", "remove"):
        ask(cloud, cluster, leave)
    cloud.said("remove-secret", cluster, decision="reversed")
    cloud.wait_quiet()
    assert cloud.everything() == before


@pytest.mark.parametrize(
    ("moment", "call", "caller"),
    [
        ("after the label is lost", "", ""),
        ("while it is held", "", ""),
        ("while its Secret is deleted", "DELETE */secrets/*.{name}", "remove-secret@*"),
        ("while the binding is deleted", "DELETE */{membership}/*/clusterrolebindings/*", "revoke-rbac@*"),
        ("before the binding is read", "GET */{membership}/*/clusterrolebindings/*", "revoke-rbac@*"),
        ("while the last step looks", "GET */clusters/{name}", "unregister-membership@*"),
    ],
)
def test_a_label_that_comes_back_lets_it_in_again(cloud: Chain, moment: str, call: str, caller: str) -> None:
    cluster = cloud.onboard("blue", labels=WANTED)
    membership = cloud.membership(cluster)
    deselected(cloud, cluster)
    if moment != "after the label is lost":
        held_long_enough(cloud, cluster)
    if call:
        pattern = call.format(name=cluster.rpartition("/")[2], membership=membership.rpartition("/")[2])
        fault = cloud.add_fault("slow", call=pattern, caller=caller, seconds=1.0)
        ask(cloud, cluster, "remove")
        cloud.wait_met(fault)
    cloud.set_labels(cluster, WANTED)
    cloud.wait_for(lambda: cloud.state()["clusters"][cluster]["resourceLabels"])
    cloud.wait_quiet()
    assert cluster in cloud.listed()
    assert cloud.membership(cluster) == membership
    assert cloud.admits(membership)
    assert not cloud.dead_letters(cluster)


def test_an_attached_cluster_that_left_the_fleet_is_held_by_the_event_and_removed_by_the_sweep(cloud: Chain) -> None:
    edge = cloud.attach(fresh("edge"), labels=WANTED, admit=True)
    cloud.onboarded(edge)
    cloud.detach(edge)
    cloud.wait_for(lambda: cloud.held(edge) == "left-fleet")
    cloud.wait_quiet()
    held_long_enough(cloud, edge)
    ask(cloud, edge, "remove")
    cloud.wait_for(lambda: cloud.secret(edge) is None)


def test_an_attached_cluster_that_is_not_wanted_leaves_like_any_other(cloud: Chain) -> None:
    edge = cloud.attach(fresh("edge"), labels=WANTED, admit=True)
    cloud.onboarded(edge)
    cloud.do("fleet", "patch", name=edge, asked={"labels": {}}, paths=["labels"])
    cloud.said("register-membership", edge, code="unselected")
    held_long_enough(cloud, edge)
    ask(cloud, edge, "remove")
    cloud.wait_for(lambda: cloud.secret(edge) is None)
    cloud.wait_for(lambda: cloud.binding(edge) is None)
    cloud.wait_quiet()
    assert edge in cloud.state()["memberships"]
    assert not cloud.admits(edge)


def test_a_cluster_that_leaves_and_is_deleted_leaves_nothing(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels=WANTED)
    deselected(cloud, cluster)
    ask(cloud, cluster, "hold")
    cloud.wait_for(lambda: cloud.held(cluster) == "not-wanted")
    cloud.delete_cluster(cluster)
    cloud.offboarded(cluster)
