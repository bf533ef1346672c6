"""A running cluster that is no longer selected is removed only by a sweep, in two passes, and can return at any point."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from shared.values.messages import STEPS
from tests.chain.running import ARGOCD, MARK, Chain, fresh, running

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED = {"argocd": "yes"}
HOLD = 1


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud that registers clusters labelled `argocd=yes` only, and holds for a second."""
    with running(tmp_path_factory.mktemp("leaving"), "--selector", "argocd=yes", "--hold", str(HOLD)) as chain:
        yield chain


def ask(cloud: Chain, cluster: str, leave: str) -> None:
    """What a sweep publishes."""
    cloud.publish("remove-secret", cloud.leave(cluster, leave), {"requested-by": "sweep"})


def deselected(cloud: Chain, cluster: str) -> None:
    cloud.set_labels(cluster, {})
    cloud.logged("write-secret", cluster, code="unselected")
    cloud.wait_quiet()
    cloud.forget_reads()


def held_long_enough(cloud: Chain, cluster: str) -> None:
    ask(cloud, cluster, "hold")
    cloud.wait_for(lambda: cloud.held(cluster) in ("not-wanted", "left-fleet"))
    since = datetime.fromisoformat(cloud.manifest(cluster)["metadata"]["annotations"][f"{MARK}held"].split()[1])
    cloud.wait_for(lambda: (datetime.now(UTC) - since).total_seconds() > HOLD)


def test_unselected_cluster_is_ignored(cloud: Chain) -> None:
    before = cloud.everything()
    cluster = cloud.create_cluster(fresh("other"), labels={"argocd": "no"})
    cloud.logged("register-membership", cluster, code="unselected")
    cloud.wait_quiet()
    after = cloud.everything()
    assert (after["secrets"], after["memberships"]) == (before["secrets"], before["memberships"])
    assert cloud.binding(cluster) is None


def test_a_cluster_that_gets_the_label_appears(cloud: Chain) -> None:
    cluster = cloud.create_cluster(fresh("late"))
    cloud.logged("register-membership", cluster, code="unselected")
    cloud.set_labels(cluster, WANTED)
    cloud.onboarded(cluster)


def test_event_never_removes_a_running_cluster(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels=WANTED)
    deselected(cloud, cluster)
    before = cloud.everything()
    for topic in STEPS:
        cloud.publish(topic, {"cluster": cluster}, {"cause": f"look {topic} {cluster}"})
        cloud.logged(topic, f"look {topic} {cluster}")
    cloud.wait_quiet()
    assert cloud.everything() == before


def test_unselected_cluster_is_removed_in_two_passes(cloud: Chain) -> None:
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
    cloud.wait_for(lambda: not cloud.admits(membership, ARGOCD))
    cloud.set_labels(cluster, WANTED)
    cloud.onboarded(cluster)
    assert cloud.admits(membership)


def test_removal_needs_a_hold_of_the_same_reason_and_time(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels=WANTED)
    deselected(cloud, cluster)
    ask(cloud, cluster, "remove")
    cloud.logged("remove-secret", cluster, decision="no_op")
    cloud.wait_quiet()
    assert cluster in cloud.listed()
    long_ago = {"annotations": {f"{MARK}held": "going 2020-01-01T00:00:00Z skip-reconcile=ours"}}
    cloud.change_secret(cluster, long_ago)
    ask(cloud, cluster, "remove")
    cloud.wait_quiet()
    assert cloud.held(cluster) == "going"
    ask(cloud, cluster, "hold")
    cloud.wait_for(lambda: cloud.held(cluster) == "not-wanted")  # another reason restarts the time
    assert " 2020-" not in cloud.manifest(cluster)["metadata"]["annotations"][f"{MARK}held"]


def test_selected_cluster_is_never_removed(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels=WANTED)
    before = cloud.everything()
    for leave in ("hold", "remove"):
        ask(cloud, cluster, leave)
    cloud.logged("remove-secret", cluster, decision="reversed")
    cloud.wait_quiet()
    assert cloud.everything() == before


@pytest.mark.parametrize(
    ("moment", "call", "caller"),
    [
        ("after the label is lost", "", ""),
        ("while it is held", "", ""),
        ("while its Secret is deleted", "DELETE */secrets/*.{name}", "remove-secret@*"),
        ("while the binding is deleted", "DELETE */{membership}/*/clusterrolebindings/*", "revoke-rbac@*"),
        ("before the binding is read", "GET */{membership}/*/clusterrolebindings", "revoke-rbac@*"),
        ("while the last step looks", "GET */clusters/{name}", "unregister-membership@*"),
    ],
)
def test_returned_label_releases_the_hold(cloud: Chain, moment: str, call: str, caller: str) -> None:
    cluster = cloud.onboard("blue", labels=WANTED)
    membership = cloud.membership(cluster)
    deselected(cloud, cluster)
    if moment != "after the label is lost":
        held_long_enough(cloud, cluster)
    fault = None
    if call:
        pattern = call.format(name=cluster.rpartition("/")[2], membership=membership.rpartition("/")[2])
        fault = cloud.add_fault("slow", call=pattern, caller=caller)
        ask(cloud, cluster, "remove")
        cloud.wait_met(fault)
    cloud.set_labels(cluster, WANTED)
    cloud.wait_for(lambda: cloud.state()["clusters"][cluster]["resourceLabels"])
    if fault:
        cloud.remove_faults(fault["id"])
    cloud.wait_quiet()
    assert cluster in cloud.listed()
    assert cloud.membership(cluster) == membership
    assert cloud.admits(membership)
    assert not cloud.dead_letters(cluster)


def test_unregistered_attached_cluster_is_held_then_removed(cloud: Chain) -> None:
    edge = cloud.attach(fresh("edge"), labels=WANTED, admit=True)
    cloud.onboarded(edge)
    cloud.detach(edge)
    cloud.wait_for(lambda: cloud.held(edge) == "left-fleet")
    cloud.wait_quiet()
    held_long_enough(cloud, edge)
    ask(cloud, edge, "remove")
    cloud.wait_for(lambda: cloud.secret(edge) is None)


def test_unselected_attached_cluster_is_removed_in_two_passes(cloud: Chain) -> None:
    edge = cloud.attach(fresh("edge"), labels=WANTED, admit=True)
    cloud.onboarded(edge)
    cloud.do("fleet", "patch", name=edge, asked={"labels": {}}, paths=["labels"])
    cloud.logged("register-membership", edge, code="unselected")
    held_long_enough(cloud, edge)
    ask(cloud, edge, "remove")
    cloud.wait_for(lambda: cloud.secret(edge) is None)
    cloud.wait_for(lambda: cloud.binding(edge) is None)
    cloud.wait_quiet()
    assert edge in cloud.state()["memberships"]
    cloud.wait_for(lambda: not cloud.admits(edge))


def test_cluster_deleted_while_leaving_leaves_nothing(cloud: Chain) -> None:
    cluster = cloud.onboard("blue", labels=WANTED)
    deselected(cloud, cluster)
    ask(cloud, cluster, "hold")
    cloud.wait_for(lambda: cloud.held(cluster) == "not-wanted")
    cloud.delete_cluster(cluster)
    cloud.offboarded(cluster)
