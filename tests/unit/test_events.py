"""Events into requests: every row of the table of events (docs/architecture.md#events).

The entries are composed in the shapes of recorded ones; nothing in them is a real cluster's.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.decisions.events import Route, payload, route_entry, route_membership
from shared.values.codes import EventCode
from shared.values.errors import PermanentError
from tests.unit.given import NUMBERS

pytestmark = pytest.mark.usefixtures("without_collection")

BLUE = "projects/demo-apps/locations/europe-west1/clusters/blue"
EDGE = "projects/demo-fleet/locations/global/memberships/edge"
Entry = dict[str, Any]


def entry(method: str, when: str, *, version: str = "v1", code: object = None, where: str = "europe-west1") -> Entry:
    """An audit entry: `when` is started, finished, refused, or `at once` for a change without an operation."""
    operation = {"id": "operation-1700000000000-0a1b2c3d", "producer": "container.googleapis.com"}
    payload: Entry = {
        "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "serviceName": "container.googleapis.com",
        "methodName": f"google.container.{version}.ClusterManager.{method}",
        "resourceName": f"projects/demo-apps/zones/{where}/clusters/blue",
        "resourceLocation": {"currentLocations": [where]},
    }
    result: Entry = {
        "insertId": "1a2b3c",
        "logName": "projects/demo-apps/logs/cloudaudit.googleapis.com%2Factivity",
        "severity": "ERROR" if when == "refused" else "NOTICE",
        "resource": {
            "type": "gke_cluster",
            "labels": {"project_id": "demo-apps", "location": where, "cluster_name": "blue"},
        },
        "protoPayload": payload,
    }
    match when:
        case "started":
            result["operation"] = {**operation, "first": True}
            payload["authenticationInfo"] = {"principalEmail": "you@example.com"}
            payload["request"] = {"@type": f"type.googleapis.com/google.container.v1alpha1.{method}Request"}
            payload["response"] = {"status": "RUNNING", "targetLink": "…/projects/100000000002/…"}
        case "finished":
            result["operation"] = {**operation, "last": True}
            payload["status"] = {} if code is None else {"code": code, "message": "failed"}
            payload["metadata"] = {"operationType": method}
        case "refused":
            payload["authenticationInfo"] = {"principalEmail": "you@example.com"}
            payload["status"] = {"code": 3 if code is None else code, "message": "refused"}
        case "at once":
            payload["authenticationInfo"] = {"principalEmail": "you@example.com"}
    return result


def topic(found: Route) -> str:
    return found.next.topic if found.next else ""


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
@pytest.mark.parametrize(
    ("method", "when", "code", "expected"),
    [
        ("CreateCluster", "started", None, ""),
        ("CreateCluster", "finished", None, "register-membership"),
        ("CreateCluster", "finished", 0, "register-membership"),
        ("CreateCluster", "finished", "0", "register-membership"),
        ("CreateCluster", "finished", 13, ""),
        ("CreateCluster", "finished", "13", ""),
        ("CreateCluster", "refused", None, ""),
        ("CreateCluster", "refused", 7, ""),
        ("UpdateCluster", "started", None, ""),
        ("UpdateCluster", "finished", None, "write-secret"),
        ("UpdateCluster", "finished", 13, "write-secret"),
        ("UpdateCluster", "refused", None, ""),
        ("UpdateCluster", "at once", None, "write-secret"),
        ("SetLabels", "started", None, ""),
        ("SetLabels", "finished", None, "write-secret"),
        ("SetLabels", "finished", 13, "write-secret"),
        ("SetLabels", "refused", None, ""),
        ("SetLabels", "at once", None, "write-secret"),
        ("DeleteCluster", "started", None, "remove-secret"),
        ("DeleteCluster", "finished", None, "remove-secret"),
        ("DeleteCluster", "finished", 13, "remove-secret"),
        ("DeleteCluster", "refused", None, ""),
        ("DeleteCluster", "refused", "7", ""),
        ("CreateNodePool", "finished", None, ""),
        ("SetNodePoolSize", "finished", None, ""),
        ("SetLabelsX", "finished", None, ""),
        ("", "finished", None, ""),
    ],
)
def test_an_audit_entry_becomes(version: str, method: str, when: str, code: object, expected: str) -> None:
    found = route_entry(entry(method, when, version=version, code=code), NUMBERS)
    assert topic(found) == expected
    assert found.reason
    if found.next is not None:
        assert found.next.body() == {"cluster": BLUE}
        assert method in found.cause


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"resource": {"type": "gke_nodepool"}}, ""),
        ({"resource": {"type": "k8s_cluster"}}, ""),
        ({"protoPayload": {"serviceName": "k8s.io", "methodName": "io.k8s.core.v1.DeleteCluster"}}, ""),
        ({"protoPayload": {"serviceName": "gkehub.googleapis.com", "methodName": "a.b.DeleteCluster"}}, ""),
        ({"protoPayload": {"methodName": "google.container.v1.ClusterManager.DeleteCluster"}}, ""),
        ({"protoPayload": {}}, ""),
        ({"protoPayload": None}, ""),
        ({"protoPayload": "text"}, ""),
    ],
)
def test_any_other_service_method_or_resource_is_not_ours(change: Entry, expected: str) -> None:
    found = route_entry({**entry("DeleteCluster", "finished"), **change}, NUMBERS)
    assert topic(found) == expected
    assert found.reason.startswith("not relevant")


@pytest.mark.parametrize(
    "resource",
    [
        {"type": "gke_cluster"},
        {"type": "gke_cluster", "labels": {"cluster_name": "blue", "project_id": "demo-apps"}},
        {"type": "gke_cluster", "labels": None},
        {"type": None},
        {},
        None,
    ],
)
@pytest.mark.parametrize("where", ["europe-west1", "europe-west1-b"])
def test_without_the_resources_labels_its_name_will_do(resource: object, where: str) -> None:
    record = {**entry("DeleteCluster", "started", where=where), "resource": resource}
    found = route_entry(record, NUMBERS).next
    assert found is not None
    assert found.body() == {"cluster": f"projects/demo-apps/locations/{where}/clusters/blue"}


@pytest.mark.parametrize(
    ("method", "code", "expected", "reason"),
    [
        ("CreateCluster", None, "register-membership", EventCode.CREATED),
        ("CreateCluster", 7, "", EventCode.REFUSED),
        ("UpdateCluster", None, "write-secret", EventCode.CHANGED),
        ("UpdateCluster", 7, "", EventCode.REFUSED),
        ("UpdateCluster", "9", "", EventCode.REFUSED),
        ("SetLabels", 9, "", EventCode.REFUSED),
        ("DeleteCluster", None, "remove-secret", EventCode.DELETED),
        ("DeleteCluster", 7, "", EventCode.REFUSED),
    ],
)
def test_an_operation_in_one_failed_entry_was_refused(
    method: str, code: object, expected: str, reason: EventCode
) -> None:
    both = entry(method, "finished", code=code)
    both["operation"]["first"] = True
    found = route_entry(both, NUMBERS)
    assert (topic(found), found.code) == (expected, reason)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"first": True}, ""),
        ({"first": "true", "last": "false"}, ""),
        ({"first": True, "last": None}, ""),
        ({"first": False, "last": True}, "write-secret"),
        ({"first": "false", "last": "true"}, "write-secret"),
    ],
)
def test_the_flags_of_an_operation_may_be_text(flags: Entry, expected: str) -> None:
    record = entry("UpdateCluster", "finished", code=13)
    assert topic(route_entry(record | {"operation": {"id": "o", **flags}}, NUMBERS)) == expected


@pytest.mark.parametrize("tail", ["/nodePools/default", "/nodePools/default/nodes/1", "/"])
def test_a_part_of_a_cluster_names_the_cluster(tail: str) -> None:
    record = {**entry("UpdateCluster", "finished"), "resource": {"type": "gke_cluster", "labels": {}}}
    record["protoPayload"]["resourceName"] += tail
    found = route_entry(record, NUMBERS).next
    assert found is not None
    assert found.body() == {"cluster": BLUE}


@pytest.mark.parametrize(
    ("key", "value"),
    [("cluster_name", "masked_name"), ("location", "***"), ("project_id", "REDACTED"), ("location", 7)],
)
def test_masked_labels_give_way_to_the_resource_name(key: str, value: object) -> None:
    record = entry("CreateCluster", "finished")
    record["resource"]["labels"][key] = value
    found = route_entry(record, NUMBERS).next
    assert found is not None
    assert found.body() == {"cluster": BLUE}


def test_a_split_entry_without_its_request_will_do() -> None:
    part = entry("DeleteCluster", "started") | {"split": {"uid": "u", "index": "1", "totalSplits": "3"}}
    del part["protoPayload"]["request"], part["protoPayload"]["response"]
    assert topic(route_entry(part, NUMBERS)) == "remove-secret"


def test_the_fleets_number_is_its_id_and_another_number_is_permanent() -> None:
    record = entry("DeleteCluster", "started")
    record["resource"]["labels"]["project_id"] = "100000000001"
    found = route_entry(record, NUMBERS).next
    assert found is not None
    assert found.body() == {"cluster": BLUE.replace("demo-apps", "demo-fleet")}
    record["resource"]["labels"]["project_id"] = "100000000002"
    record["protoPayload"]["resourceName"] = "projects/100000000002/zones/europe-west1/clusters/blue"
    with pytest.raises(PermanentError, match="does not say which cluster"):
        route_entry(record, NUMBERS)


@pytest.mark.parametrize("name", [None, "", 7, "projects/demo-apps", "projects/p/zones/l/nodePools/n"])
def test_an_entry_of_ours_that_names_no_cluster_is_permanent(name: object) -> None:
    record = {**entry("DeleteCluster", "started"), "resource": {"type": "gke_cluster"}}
    record["protoPayload"]["resourceName"] = name
    with pytest.raises(PermanentError, match=r"DeleteCluster.*does not say which cluster"):
        route_entry(record, NUMBERS)


def test_the_cause_says_what_who_and_which() -> None:
    assert route_entry(entry("DeleteCluster", "started"), NUMBERS).cause == (
        "DeleteCluster started by you@example.com operation-1700000000000-0a1b2c3d"
    )
    assert route_entry(entry("SetLabels", "at once"), NUMBERS).cause == "SetLabels done by you@example.com 1a2b3c"


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["container.googleapis.com", "DeleteCluster", "x.SetLabels", "gke_cluster", BLUE, "\ud800"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ["serviceName", "methodName", "resourceName", "status", "authenticationInfo", "request", "response"]
PLACES = ["protoPayload", "resource", "operation", "insertId"]


@given(
    st.sampled_from(["CreateCluster", "DeleteCluster", "SetLabels"]),
    st.sampled_from(["started", "finished", "refused", "at once"]),
    st.dictionaries(st.sampled_from(PLACES), junk, max_size=2),
    st.dictionaries(st.sampled_from(FIELDS), junk, max_size=2),
)
@example("DeleteCluster", "finished", {}, {"status": {"code": float("inf")}})
@example("DeleteCluster", "finished", {}, {"status": {"code": float("nan")}})
@example("DeleteCluster", "finished", {}, {"authenticationInfo": {"principalEmail": "\ud800"}})
def test_any_entry_is_routed_or_permanent(method: str, when: str, outer: Entry, inner: Entry) -> None:
    record = entry(method, when)
    record["protoPayload"] |= inner
    try:
        found = route_entry(record | outer, NUMBERS)
    except PermanentError:
        return
    assert found.reason
    assert len(found.cause.encode()) <= 1000


@given(junk)
def test_any_object_is_routed_or_permanent(record: Any) -> None:
    try:
        found = route_entry(record if isinstance(record, dict) else {"protoPayload": record}, NUMBERS)
    except PermanentError:
        return
    assert found.next is None


@given(
    st.sampled_from(["created", "updated", "deleted"]) | st.text(max_size=5),
    junk,
    st.dictionaries(st.sampled_from(["source", "subject", "membership", "id"]), junk, max_size=4),
)
@example(
    "created", {"payload": {"endpoint": {"gkeCluster": "x"}, "name": ["\ud800"]}}, {"id": "\ud800", "subject": EDGE}
)
def test_any_membership_event_is_routed_or_permanent(kind: str, data: Any, attributes: dict[str, Any]) -> None:
    try:
        found = route_membership(kind, data, attributes, NUMBERS)
    except PermanentError:
        return
    assert found.reason
    assert len(found.cause.encode()) <= 1000


@pytest.mark.parametrize(
    ("when", "code", "expected"),
    [("started", None, EventCode.STARTED), ("finished", 13, EventCode.FAILED), ("refused", 7, EventCode.REFUSED)],
)
def test_a_creation_without_a_cluster_says_why(when: str, code: object, expected: EventCode) -> None:
    assert route_entry(entry("CreateCluster", when, code=code), NUMBERS).code is expected


def test_a_cause_lists_only_what_is_known() -> None:
    assert "None" not in route_entry(entry("DeleteCluster", "finished"), NUMBERS).cause


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000])
def test_an_event_without_json_has_no_payload(data: bytes) -> None:
    assert payload(data) is None


@pytest.mark.parametrize(
    ("method", "when", "time", "since"),
    [
        ("CreateCluster", "finished", "2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z"),
        ("SetLabels", "at once", "2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z"),
        ("DeleteCluster", "finished", "2026-11-24T12:00:00Z", ""),
        ("CreateCluster", "finished", 7, ""),
        ("CreateCluster", "finished", None, ""),
    ],
)
def test_an_event_says_since_when_an_onboarding_may_run(method: str, when: str, time: object, since: str) -> None:
    assert route_entry(entry(method, when) | {"timestamp": time}, NUMBERS).since == since


@pytest.mark.parametrize("code", ["odd", "", [], {}, [1], 13, "13", True, float("inf")])
def test_a_code_that_is_no_number_is_a_failure(code: object) -> None:
    assert route_entry(entry("CreateCluster", "finished", code=code), NUMBERS).code is EventCode.FAILED
