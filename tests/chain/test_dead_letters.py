"""What cannot be done ends in `dead-letters` with its reason, and once it is put right a replay from there is done."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from shared.values.messages import STEPS
from tests.chain.http import http_status
from tests.chain.running import FLEET, REGION, Chain, fresh, running

if TYPE_CHECKING:
    from collections.abc import Iterator

ONBOARDING = STEPS[:3]
CLUSTER = f"projects/{FLEET}/locations/{REGION}/clusters/any"
MEMBERSHIP = f"projects/{FLEET}/locations/{REGION}/memberships/any"
# Body → what the reason must say.
POISON: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"{'cluster': 'any'}", "not JSON"),
    "not text": (b"\xff\xfe\x00", "not JSON"),
    "a list": (b"[1]", "not an object"),
    "a text": (b'"any"', "not an object"),
    "empty object": (b"{}", "neither cluster nor membership"),
    "wrong type": (b'{"cluster": 7}', "7 is not a cluster's name"),
    "null": (b'{"cluster": null}', "not a cluster's name"),
    "other kind": (json.dumps({"cluster": f"{CLUSTER}/nodePools/one"}).encode(), "not a cluster's name"),
    "a membership for a cluster": (json.dumps({"cluster": MEMBERSHIP}).encode(), "not a cluster's name"),
    "a cluster for a membership": (json.dumps({"membership": CLUSTER}).encode(), "not a membership's name"),
    "other number": (
        json.dumps({"cluster": CLUSTER.replace(FLEET, "100000000002")}).encode(),
        "write the project id",
    ),
    "other fleet": (json.dumps({"membership": MEMBERSHIP.replace(FLEET, "demo-other")}).encode(), "not in our fleet"),
    "several faults": (b'{"cluster": 7, "membership": 8, "x": 1}', "8 is not a membership's name"),
    "deep": (b"[" * 100_000, "not JSON"),
}
OF_ONE_STEP: dict[str, tuple[str, dict[str, Any], str]] = {
    "granted of a wrong type": ("write-secret", {"cluster": CLUSTER, "granted": 1}, "granted is not a text"),
    "drop_labels of a wrong type": (
        "write-secret",
        {"cluster": CLUSTER, "drop_labels": "env"},
        "drop_labels is not a list",
    ),
    "leave of a wrong value": ("remove-secret", {"cluster": CLUSTER, "leave": "now"}, "leave is neither"),
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud that gives up after five deliveries."""
    with running(tmp_path_factory.mktemp("letters"), "--attempts", "5", "--retry-max", "0.3") as chain:
        yield chain


@pytest.mark.parametrize("step", STEPS)
def test_invalid_message_is_dead_lettered_at_once_with_a_reason(cloud: Chain, step: str) -> None:
    for kind, (data, _) in POISON.items():
        cloud.publish(step, data, {"cause": f"{kind} to {step}", "mine": "kept"})
    for kind, (data, expected) in POISON.items():
        letter = cloud.dead_letter(f"'{kind} to {step}'", step)
        assert expected in letter.reason, kind
        assert letter.data == data
        assert {key: letter.attributes[key] for key in ("topic", "step", "mine")} == {
            "topic": step,
            "step": step,
            "mine": "kept",
        }
        assert len(letter.reason.encode()) <= 1000
        assert "CloudPubSubDeadLetterSourceDeliveryCount" not in letter.attributes


@pytest.mark.parametrize("kind", OF_ONE_STEP)
def test_a_key_of_a_wrong_type_is_dead_lettered(cloud: Chain, kind: str) -> None:
    step, body, expected = OF_ONE_STEP[kind]
    cloud.publish(step, body, {"cause": kind})
    assert expected in cloud.dead_letter(f"'{kind}'", step).reason


@pytest.mark.parametrize(
    "data",
    [
        b"poison",
        b"[]",
        b'{"cluster": 7}',
        b'{"cluster": "blue"}',
        b'{"project": "demo-fleet", "release": "x"}',
    ],
)
def test_invalid_sweep_message_is_dead_lettered(cloud: Chain, data: bytes) -> None:
    cause = f"sweep poisoned by {data.hex()}"
    cloud.publish("sweep", data, {"cause": cause})
    assert cloud.dead_letter(cause, "sweep").code == "invalid_message"


def test_all_errors_of_a_message_are_reported_with_an_example(cloud: Chain) -> None:
    cloud.publish("grant-rbac", {"cluster": 7, "membership": CLUSTER, "x": 1}, {"cause": "all at once"})
    reason = cloud.dead_letter("'all at once'").reason
    for part in ("unknown keys 'x'", "not a cluster's name", "not a membership's name", "Example:"):
        assert part in reason


@pytest.mark.parametrize("step", ONBOARDING)
def test_repaired_message_succeeds(cloud: Chain, step: str) -> None:
    name = fresh("blue")
    cloud.add_event_rule("lose", event=f"CreateCluster.finished */{name}")
    cluster = cloud.create_cluster(name)
    cloud.running(cluster)
    if step != "register-membership":
        cloud.publish("register-membership", {"cluster": cluster})
        cloud.onboarded(cluster)
    cloud.publish(step, {"cluster": cluster, "typo": True})
    letter = cloud.dead_letter(cluster, step)
    assert letter.attributes["cluster"] == cluster
    repaired = {key: value for key, value in letter.body.items() if key != "typo"}
    cloud.publish(letter.attributes["topic"], repaired, {"cause": f"repaired {cluster}"})
    cloud.logged("write-secret", f"repaired {cluster}")
    cloud.onboarded(cluster)


def test_ten_megabytes_of_junk_are_dead_lettered_whole(cloud: Chain) -> None:
    junk = b"j" * 9_900_000
    cloud.publish("register-membership", junk, {"cause": "junk"})
    letter = cloud.dead_letter("'junk'", "register-membership")
    assert letter.data == junk
    assert letter.code == "invalid_message"
    cloud.letters.clear()


@pytest.mark.parametrize("topic", [*STEPS, "sweep", "audit-log-entries"])
def test_message_without_data_is_dead_lettered_by_pubsub(cloud: Chain, topic: str) -> None:
    cloud.publish(topic, b"", {"empty": topic})
    letter = cloud.dead_letter(f"'empty': '{topic}'")
    assert letter.data == b""
    assert letter.attributes["CloudPubSubDeadLetterSourceSubscription"] == topic
    assert int(letter.attributes["CloudPubSubDeadLetterSourceDeliveryCount"]) >= 5
    assert "reason" not in letter.attributes


def test_exhausted_message_is_dead_lettered_and_replayed(cloud: Chain) -> None:
    name = fresh("blue")
    cloud.add_fault("status", api="connectgateway", call=f"* */{name}-*", status=500, times=0)
    cluster = cloud.create_cluster(name)
    letter = cloud.dead_letter(cluster, "grant-rbac")
    assert (letter.code, letter.attributes["attempts"]) == ("unavailable", "5")
    assert "500" in letter.reason
    assert cloud.secret(cluster) is None
    cloud.remove_faults()
    cloud.publish("grant-rbac", letter.data)
    cloud.onboarded(cluster)


def test_failed_publish_of_a_dead_letter_is_retried(cloud: Chain) -> None:
    cloud.wait_quiet()  # no other letter meets the fault
    cloud.add_fault("status", api="pubsub", call="POST */topics/dead-letters:publish", status=503, times=2)
    cloud.publish("revoke-rbac", b"poison", {"cause": "stubborn"})
    cloud.logged("revoke-rbac", "stubborn", decision="retry", code="unavailable")
    assert cloud.dead_letter("'stubborn'", "revoke-rbac").code == "invalid_message"


def test_odd_attributes_do_not_prevent_a_dead_letter(cloud: Chain) -> None:
    odd = {f"k{number}": "v" for number in range(96)}
    odd |= {"topic": "register-membership", "data": "x", "reason": "none"}
    cloud.publish("unregister-membership", b"poison-of-attributes", odd)
    letter = cloud.dead_letter("poison-of-attributes", "unregister-membership")
    assert letter.attributes["topic"] == "unregister-membership"
    assert letter.code == "invalid_message"
    assert letter.attributes["data"] == "x"


@pytest.mark.parametrize("topic", STEPS)
def test_request_of_a_sweep_is_not_dead_lettered(cloud: Chain, topic: str) -> None:
    cause = f"swept {topic}"
    cloud.publish(topic, b"poison", {"cause": cause, "requested-by": "sweep"})
    cloud.logged(topic, cause, decision="dropped", code="invalid_message", severity="ERROR")
    cloud.wait_quiet()
    assert not cloud.dead_letters(f"'{cause}'")


# Events


def sent(cloud: Chain, body: bytes, headers: dict[str, str]) -> int:
    """Send something to route-event as Eventarc would; return the HTTP status."""
    url = cloud.state()["functions"]["route-event"]["url"]
    token = cloud.token_for_function("route-event", f"fleet-registrar-trigger@{FLEET}.iam.gserviceaccount.com")
    request = urllib.request.Request(
        url, data=body, headers={**headers, "Authorization": f"Bearer {token}"}, method="POST"
    )
    return http_status(request)


def binary(id_: str, kind: str = "google.cloud.audit.log.v1.written") -> dict[str, str]:
    return {
        "ce-id": id_,
        "ce-type": kind,
        "ce-source": "//cloudaudit.googleapis.com/projects/demo-fleet/logs/activity",
        "ce-specversion": "1.0",
        "content-type": "application/json",
    }


def entry(**payload: Any) -> dict[str, Any]:
    return {
        "protoPayload": {
            "serviceName": "container.googleapis.com",
            "methodName": "google.container.v1.ClusterManager.DeleteCluster",
            **payload,
        },
        "resource": {"type": "gke_cluster"},
        "operation": {"id": "one", "last": True},
    }


def test_an_event_in_structured_mode_is_taken_too(cloud: Chain) -> None:
    name = fresh("structured")
    headers = binary(f"structured-{name}")
    event = {key.removeprefix("ce-"): value for key, value in headers.items() if key.startswith("ce-")}
    where = {"project_id": FLEET, "location": REGION, "cluster_name": name}
    data = entry() | {"resource": {"type": "gke_cluster", "labels": where}}
    body = json.dumps(event | {"data": data, "datacontenttype": "application/json"}).encode()
    assert sent(cloud, body, {"content-type": "application/cloudevents+json"}) == 200
    cloud.logged("remove-secret", name)


@pytest.mark.parametrize(
    ("id_", "body", "code"),
    [
        ("broken", b'{"protoPayload": ', "invalid_message"),
        ("a-list", b"[]", "invalid_message"),
        ("no-cluster", json.dumps(entry()).encode(), "invalid_event"),
        (
            "no-name",
            json.dumps(entry(resourceName="projects/p-1/zones/z-a1")).encode(),
            "invalid_event",
        ),
    ],
)
def test_an_event_that_cannot_be_read_is_dead_lettered(cloud: Chain, id_: str, body: bytes, code: str) -> None:
    assert sent(cloud, body, binary(id_)) == 200
    letter = cloud.dead_letter(f"'{id_}'", "route-event")
    assert letter.code == code
    assert json.loads(letter.data) == json.loads(body) if id_ != "broken" else letter.data == body
    assert letter.attributes["topic"] == "audit-log-entries"


def test_unexpected_event_type_is_dead_lettered(cloud: Chain) -> None:
    assert sent(cloud, b"{}", binary("odd-kind", "google.cloud.storage.object.v1.finalized")) == 200
    assert cloud.dead_letter("'odd-kind'", "route-event").code == "invalid_event"


def test_request_that_is_no_event_is_refused(cloud: Chain) -> None:
    assert sent(cloud, b"hello", {"content-type": "text/plain"}) >= 400


def test_unreadable_sink_entry_is_dead_lettered_and_repaired(cloud: Chain) -> None:
    cluster = cloud.onboard("blue")
    cloud.publish("audit-log-entries", b"not an entry", {"cause": "a bad sink"})
    assert cloud.dead_letter("'a bad sink'", "route-event").code == "invalid_message"
    cloud.add_event_rule("lose", event=f"DeleteCluster.* {cluster}", times=0)
    cloud.delete_cluster(cluster, seconds=0)
    cloud.gone(cluster)
    cloud.publish("audit-log-entries", entry() | {"trace": cluster})
    letter = cloud.dead_letter(cluster, "route-event")
    repaired = letter.body
    repaired["protoPayload"]["resourceName"] = cluster.replace("/locations/", "/zones/")
    cloud.publish(letter.attributes["topic"], repaired)
    cloud.offboarded(cluster)


def test_event_is_redelivered_if_its_request_cannot_be_published(cloud: Chain) -> None:
    cloud.add_fault("status", api="pubsub", call="POST */topics/register-membership:publish", status=500, times=2)
    cluster = cloud.onboard("blue")
    assert not cloud.dead_letters(cluster)
