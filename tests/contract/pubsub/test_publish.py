"""Publishing: attributes, sizes, fan-out, filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions

from tests.waiting import until

if TYPE_CHECKING:
    from tests.contract.pubsub.sides import Endpoint, Side


def test_a_message_without_data_and_attributes_is_refused(side: Side) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        side.publish(side.topic(), b"")
    topic = side.topic()
    name = side.subscription(topic)
    side.publish(topic, b"", only="attributes")
    received = side.pull_one(name)
    assert (received.message.data, dict(received.message.attributes)) == (b"", {"only": "attributes"})


@pytest.mark.parametrize(
    "attributes",
    [{"k": "v" * 1025}, {"k" * 257: "v"}, {"google": "v"}, {"k": "é" * 513}, {f"k{n}": "v" for n in range(101)}],
    ids=["long value", "long key", "goog", "bytes count", "101 of them"],
)
def test_attributes_beyond_the_limits_are_refused(side: Side, attributes: dict[str, str]) -> None:
    side.skip_on_sdk("it does not check attributes")
    topic = side.topic()
    with pytest.raises(exceptions.InvalidArgument):
        side.publish(topic, b"x", **attributes)


def test_attributes_at_the_limits_pass(side: Side) -> None:
    topic = side.topic()
    name = side.subscription(topic)
    attributes = {"k" * 256: "v" * 1024}
    side.publish(topic, b"x", **attributes)
    assert dict(side.pull_one(name).message.attributes) == attributes


def test_a_message_may_be_nearly_ten_megabytes_long(side: Side, endpoint: Endpoint) -> None:
    # By push, because the client library takes 4 MB at most where PUBSUB_EMULATOR_HOST is set.
    topic = side.topic()
    side.subscription(topic, push_config={"push_endpoint": endpoint.url})
    side.publish(topic, b"x" * 9_900_000)
    [request] = until(lambda: endpoint.requests)
    assert len(request.data) == 9_900_000


def test_a_pull_brings_no_more_than_the_client_takes(side: Side) -> None:
    side.skip_on_sdk("it answers with more than 4 MB, which the client library refuses there")
    topic = side.topic()
    name = side.subscription(topic)
    sent = {side.publish(topic, b"x" * 1_500_000) for _ in range(4)}
    found = [*side.pull(name), *side.pull(name)]
    assert {received.message.message_id for received in found} == sent


def test_every_subscription_gets_every_message_under_one_id(side: Side) -> None:
    topic = side.topic()
    names = [side.subscription(topic) for _ in range(3)]
    sent = {side.publish(topic, b"one"), side.publish(topic, b"two")}
    for name in names:
        found = {received.message.message_id: received for received in (side.pull_one(name), side.pull_one(name))}
        assert set(found) == sent


def test_a_filter_lets_through_what_it_describes_alone(side: Side) -> None:
    side.skip_on_sdk("it stores filters and ignores them")
    topic = side.topic()
    name = side.subscription(topic, filter='attributes.kind = "gke" AND NOT hasPrefix(attributes.place, "us-")')
    side.publish(topic, b"1", kind="gke", place="us-east1")
    side.publish(topic, b"2", kind="attached", place="europe-west1")
    side.publish(topic, b"3", kind="gke", place="europe-west1")
    side.publish(topic, b"4")
    assert [received.message.data for received in side.pull(name)] == [b"3"]
