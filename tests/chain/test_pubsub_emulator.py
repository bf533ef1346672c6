"""The chain on the Cloud SDK's Pub/Sub emulator: the same stories, where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.google.pubsub import sdk
from shared.values.messages import STEPS
from tests.chain.running import APPS, REGION, Chain, fresh, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud on the emulator, which knows no fewer than five attempts."""
    try:
        sdk.command(0)
    except sdk.UnavailableError as error:
        pytest.skip(f"the chain on the Cloud SDK's Pub/Sub emulator is left out: {error}")
    options = ("--pubsub", "emulator", "--attempts", "5", "--retry-min", "0.1", "--retry-max", "1")
    with running(tmp_path_factory.mktemp("emulator"), *options) as chain:
        yield chain


def test_clusters_appear_and_disappear(cloud: Chain) -> None:
    clusters = [
        cloud.create_cluster(fresh("blue"), labels={"env": "prod"}),
        cloud.create_cluster(fresh("green"), f"{REGION}-b", APPS),
        cloud.attach(fresh("edge"), admit=True),
    ]
    cloud.onboarded(*clusters)
    assert cloud.labels(clusters[0])["env"] == "prod"
    cloud.set_labels(clusters[0], {"env": "dev"})
    cloud.wait_for(lambda: cloud.labels(clusters[0])["env"] == "dev")
    for cluster in clusters[:2]:
        cloud.delete_cluster(cluster)
    cloud.offboarded(*clusters[:2])
    assert cloud.listed() >= {clusters[2]}


def test_poison_is_dead_lettered_and_repaired_it_is_done(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_event_rule("lose", event=f"CreateCluster.finished */{name}")
    cluster = cloud.create_cluster(name)
    cloud.running(cluster)
    for step in STEPS:
        cloud.publish(step, b"poison", {"cause": f"poison for {step}"})
    cloud.publish("register-membership", {"cluster": cluster, "typo": True})
    for step in STEPS:
        assert "not JSON" in cloud.dead_letter(f"'poison for {step}'", step).reason
    # An unknown key is tried again, and a push of the emulator names no attempt: the emulator gives the message up itself.
    letter = cloud.dead_letter(cluster)
    assert letter.attributes["CloudPubSubDeadLetterSourceSubscription"] == "register-membership"
    cloud.publish("register-membership", {"cluster": cluster})
    cloud.onboarded(cluster)


def test_exhausted_message_is_dead_lettered_by_the_emulator(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_fault("status", api="connectgateway", call=f"* */{name}-*", status=500, times=0)
    cluster = cloud.create_cluster(name)
    letter = cloud.dead_letter(cluster)
    assert letter.attributes["CloudPubSubDeadLetterSourceSubscription"] == "grant-rbac"
    cloud.remove_faults()
    cloud.publish("grant-rbac", letter.data)
    cloud.onboarded(cluster)
