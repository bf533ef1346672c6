"""The events of `samples/`: their shape, and what the functions make of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cloudevents.http import CloudEvent, from_json
from google.events.cloud.audit_v1 import LogEntryData
from google.events.cloud.gkehub_v1 import MembershipEventData
from google.protobuf import json_format

from local.commands.send import MEMBERSHIP, PUSHED, SAMPLES, names, sample
from shared.decisions.events import AUDIT, payload, route_entry, route_membership
from shared.runtime.delivery import decode
from shared.values.codes import EventCode
from shared.values.messages import STEPS, json_object, parse
from tests.unit.given import SETTINGS

AUDITED = [name for name in names() if name.startswith("audit-")]
CHANGES = ("create", "delete", "setlabels", "update")
ROUTES = {
    "audit-create-refused": EventCode.REFUSED,
    "audit-create-started": EventCode.STARTED,
    "audit-create-finished": EventCode.CREATED,
    "audit-delete-started": EventCode.DELETED,
    "audit-delete-finished": EventCode.DELETED,
    "audit-setlabels-started": EventCode.STARTED,
    "audit-setlabels-finished": EventCode.CHANGED,
    "audit-update-started": EventCode.STARTED,
    "audit-update-finished": EventCode.CHANGED,
    "log-sink-push": EventCode.CREATED,
    "membership-created": EventCode.CREATED,
    "membership-updated": EventCode.CHANGED,
    "membership-deleted": EventCode.DELETED,
}


def _event(name: str) -> CloudEvent:
    return from_json((SAMPLES / f"{name}.json").read_text())


def _entry(name: str) -> dict[str, Any]:
    event = sample(name)
    entry: dict[str, Any] = event["data"]
    return entry


def test_there_is_a_sample_of_each_kind() -> None:
    audited = {f"audit-{change}-{phase}" for change in CHANGES for phase in ("started", "finished")}
    memberships = {f"membership-{kind}" for kind in ("created", "updated", "deleted")}
    messages = {f"message-{step}" for step in (*STEPS, "sweep")}
    assert set(names()) == {"audit-create-refused", "log-sink-push"} | audited | memberships | messages


@pytest.mark.parametrize("name", AUDITED)
def test_an_audit_entry_has_only_known_fields(name: str) -> None:
    json_format.ParseDict(_entry(name), LogEntryData.pb()(), ignore_unknown_fields=False)


@pytest.mark.parametrize("name", ["membership-created", "membership-updated", "membership-deleted"])
def test_a_membership_event_has_only_known_fields(name: str) -> None:
    json_format.ParseDict(_entry(name), MembershipEventData.pb()(), ignore_unknown_fields=False)


@pytest.mark.parametrize("name", AUDITED)
def test_an_audit_entry_has_the_recorded_shape(name: str) -> None:
    """Recorded entries: GoogleCloudPlatform/khi, test/logs/gke_audit."""
    entry, phase = _entry(name), name.rpartition("-")[2]
    found, operation = entry["protoPayload"], entry.get("operation", {})
    assert found["serviceName"] == "container.googleapis.com"
    assert found["methodName"].startswith("google.container.v1.ClusterManager.")
    assert found["resourceName"].startswith("projects/demo-fleet/zones/europe-west1/clusters/")
    assert entry["resource"]["type"] == "gke_cluster"
    assert entry["resource"]["labels"].keys() == {"cluster_name", "location", "project_id"}
    assert entry["logName"].endswith("/logs/cloudaudit.googleapis.com%2Factivity")
    assert entry["severity"] == ("ERROR" if phase == "refused" else "NOTICE")
    assert (
        operation.keys()
        == {
            "started": {"id", "producer", "first"},
            "finished": {"id", "producer", "last"},
            "refused": set(),
        }[phase]
    )
    who = {"authenticationInfo", "authorizationInfo", "request"}
    assert who & found.keys() == (set() if phase == "finished" else who)
    assert ("metadata" in found, "status" in found) == (phase == "finished", phase != "started")


def test_both_entries_of_a_change_have_one_operation() -> None:
    for change in CHANGES:
        started, finished = (_entry(f"audit-{change}-{phase}") for phase in ("started", "finished"))
        assert started["operation"]["id"] == finished["operation"]["id"]
        assert finished["protoPayload"]["status"] == {}


@pytest.mark.parametrize("name", ROUTES)
def test_route_event_takes_the_sample(name: str) -> None:
    message = decode(_event(name))
    if message.kind.startswith(MEMBERSHIP):
        kind = message.kind.removeprefix(MEMBERSHIP)
        route = route_membership(kind, payload(message.data), message.attributes, SETTINGS.numbers)
    else:
        assert message.kind in (AUDIT, "")
        route = route_entry(json_object(message.data, name), SETTINGS.numbers)
    assert route.code is ROUTES[name]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_takes_its_message(step: str) -> None:
    message = decode(_event(f"message-{step}"))
    assert str(parse(step, message.data, SETTINGS).cluster).endswith("/clusters/blue")


def test_the_message_to_sweep_is_an_empty_object() -> None:
    assert json.loads(decode(_event("message-sweep")).data) == {}


def test_a_push_names_its_topic() -> None:
    for name in names():
        event = sample(name)
        if event["type"] == PUSHED:
            topic = event["source"].rpartition("/")[2]
            assert topic == {"log-sink-push": "audit-log-entries"}.get(name, name.removeprefix("message-"))
