"""A part goes away and comes back: nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chain.running import APPS, MERGE, REGION, Chain, email, fresh

if TYPE_CHECKING:
    from tests.chain.running import Json

# What each function is doing when it is killed: a call that names the cluster, and takes its time.
ONBOARDING = {
    "register-membership": "GET */clusters/{name}",
    "grant-rbac": "POST */{name}-*/clusterrolebindings",
    "write-secret": "GET */clusters/{name}",
}
OFFBOARDING = {
    "remove-secret": "DELETE */secrets/*.{name}",
    "unregister-membership": "DELETE */memberships/{name}-*",
}


def kill_meanwhile(cloud: Chain, step: str, fault: Json) -> None:
    """Kill a function in the middle of a slow call (which the other side still carries out), and start it again."""
    cloud.wait_met(fault)
    cloud.kill_function(step)
    cloud.remove_faults(fault["id"])
    cloud.start_function(step)


@pytest.mark.parametrize("step", ONBOARDING)
def test_killed_onboarding_step_is_repeated(cloud: Chain, step: str) -> None:
    name = fresh("killed")
    fault = cloud.add_fault("slow", call=ONBOARDING[step].format(name=name), caller=email(step))
    cluster = cloud.create_cluster(name, labels={"env": "prod"})
    kill_meanwhile(cloud, step, fault)
    cloud.onboarded(cluster)
    cloud.wait_quiet()
    assert cloud.admits(cloud.membership(cluster))
    assert not cloud.dead_letters(cluster)


@pytest.mark.parametrize("step", OFFBOARDING)
def test_killed_offboarding_step_is_repeated(cloud: Chain, step: str) -> None:
    cluster = cloud.onboard("killed")
    call = OFFBOARDING[step].format(name=cluster.rpartition("/")[2])
    fault = cloud.add_fault("slow", call=call, caller=email(step))
    cloud.delete_cluster(cluster)
    kill_meanwhile(cloud, step, fault)
    cloud.offboarded(cluster)
    cloud.wait_quiet()
    assert not cloud.dead_letters(cluster)


def test_event_of_a_killed_router_is_redelivered(cloud: Chain) -> None:
    call = "POST */topics/register-membership:publish"
    fault = cloud.add_fault("slow", api="pubsub", call=call)
    cluster = cloud.create_cluster(fresh("killed"))
    kill_meanwhile(cloud, "route-event", fault)
    cloud.onboarded(cluster)
    cloud.wait_quiet()
    assert cloud.membership(cluster)


def test_events_during_an_outage_are_caught_up(cloud: Chain) -> None:
    """Eventarc keeps events, and Pub/Sub keeps messages, until somebody answers."""
    going = cloud.onboard("going")
    functions = list(cloud.state()["functions"])
    for function in functions:
        cloud.kill_function(function)
    coming = [cloud.create_cluster(fresh("coming")), cloud.create_cluster(fresh("coming"), f"{REGION}-c", APPS)]
    cloud.running(*coming)
    cloud.delete_cluster(going)
    cloud.gone(going)
    for function in functions:
        cloud.start_function(function)
    cloud.onboarded(*coming)
    cloud.offboarded(going)


def test_redeployment_between_messages_changes_nothing(cloud: Chain) -> None:
    cluster = cloud.create_cluster(fresh("blue"))
    for step in ONBOARDING:
        cloud.stop_function(step)
        cloud.start_function(step)
    cloud.onboarded(cluster)


def test_gateway_outage_is_retried(cloud: Chain) -> None:
    held_up = cloud.onboard("blue")
    down = cloud.add_fault("status", api="connectgateway", status=503, times=0)
    cluster = cloud.create_cluster(fresh("blue"))
    cloud.delete_cluster(held_up)
    cloud.logged("grant-rbac", cluster, decision="retry", status=503)
    cloud.logged("remove-secret", held_up, decision="retry", status=503)
    assert cloud.secret(held_up) is not None
    cloud.remove_faults(down["id"])
    cloud.onboarded(cluster)
    cloud.offboarded(held_up)


def test_gateway_404_of_a_new_membership_is_retried(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_fault("status", api="connectgateway", call=f"* */{name}-*", status=404, times=3)
    cluster = cloud.create_cluster(name)
    cloud.onboarded(cluster)
    assert not cloud.dead_letters(cluster)


def test_late_access_review_is_repeated_within_the_step(cloud: Chain) -> None:
    """The binding is there, the authoriser has not seen it: here because the role gets its rules a moment later."""
    name = fresh("blue")
    fault = cloud.add_fault("slow", call=f"POST */{name}-*/subjectaccessreviews", caller=email("grant-rbac"))
    cluster = cloud.create_cluster(name)
    cloud.wait_met(fault)
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin"
    _, admin = cloud.kubernetes(cluster, "GET", role)
    cloud.kubernetes(cluster, "PATCH", role, {"rules": []}, content_type=MERGE)
    cloud.remove_faults(fault["id"])
    cloud.wait_for(
        lambda: len([c for c in cloud.calls() if f"/{name}-" in c["path"] and "accessreviews" in c["path"]]) >= 2
    )
    assert cloud.secret(cluster) is None
    cloud.kubernetes(cluster, "PATCH", role, {"rules": admin["rules"]}, content_type=MERGE)
    cloud.onboarded(cluster)


@pytest.mark.parametrize("effect", [{"effect": "status", "status": 500}, {"effect": "timeout", "seconds": 0.2}])
def test_failing_metadata_server_is_retried(cloud: Chain, effect: dict[str, object]) -> None:
    for step in ONBOARDING:
        cloud.kill_function(step)
        cloud.do("cloud", "add_fault", api=f"metadata {step}", **effect)
        cloud.start_function(step)
    cluster = cloud.create_cluster(fresh("blue"))
    cloud.onboarded(cluster)
    assert not cloud.dead_letters(cluster)


def test_unreachable_cluster_delays_only_itself(cloud: Chain) -> None:
    bad = fresh("bad")
    cloud.add_fault("timeout", api="connectgateway", call=f"* */{bad}-*", seconds=2, times=0)
    stuck = cloud.create_cluster(bad)
    cloud.wait_for(lambda: [f for f in cloud.do("faults", "as_json") if f["hits"]])
    others = [cloud.create_cluster(fresh("good")) for _ in range(4)]
    cloud.onboarded(*others)
    assert cloud.secret(stuck) is None
    cloud.remove_faults()
    cloud.onboarded(stuck)


def test_failed_membership_operation_is_retried(cloud: Chain) -> None:
    cloud.do("fleet", "fail_next", verb="create")
    cluster = cloud.onboard("blue")
    cloud.do("fleet", "fail_next", verb="delete")
    cloud.delete_cluster(cluster)
    cloud.offboarded(cluster)
    assert not cloud.dead_letters(cluster)


def test_membership_that_is_not_ready_is_retried(cloud: Chain) -> None:
    cloud.set("fleet", "operation_seconds", value=1.2)
    try:
        cluster = cloud.onboard("blue")
    finally:
        cloud.set("fleet", "operation_seconds", value=0.05)
    assert cloud.membership(cluster)


def test_copies_of_every_message_change_nothing(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    before = cloud.everything()
    for _ in range(15):
        for topic in ("register-membership", "remove-secret", "revoke-rbac", "unregister-membership", "write-secret"):
            cloud.publish(topic, {"cluster": cluster})
    cloud.wait_quiet()
    assert cloud.everything() == before
