"""Requests and answers follow the APIs' own schemas: unknown fields are refused, answers have known fields alone."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from google.cloud import container_v1, container_v1beta1, eventarc_v1, gkehub_v1, pubsub_v1, run_v2
from google.cloud.audit import audit_log_pb2  # noqa: F401 - entries hold this message
from google.cloud.logging_v2 import types as logging_v2
from google.iam.v1 import policy_pb2
from google.longrunning import operations_pb2
from google.protobuf import json_format

from local.google import schemas
from local.google.wire import GoogleError
from tests.contract import google_fields
from tests.contract.deployed import APPS, FLEET, PLACE, Deployed
from tests.contract.test_deployed import functions_v2  # noqa: F401 - a fixture

CENTRAL: Final = f"{PLACE}/clusters/central"
MEMBER: Final = f"{PLACE}/memberships/central"
SINKS: Final = f"v2/projects/{APPS}/sinks"
JOB: Final = f"v1/{PLACE}/jobs/sweep"
ROLES: Final = f"v1/projects/{FLEET}/roles"
ACCOUNTS: Final = f"v1/projects/{FLEET}/serviceAccounts"
TOPIC: Final = f"v1/projects/{FLEET}/topics/sweep"
SUBSCRIPTION: Final = f"v1/projects/{FLEET}/subscriptions/sweep"
SERVICES: Final = f"v1/projects/{FLEET}/services"
BOGUS: Final = {"bogus": 1}
# API, method, path, body with a field that no message has.
REQUESTS: Final = [
    ("container", "POST", f"v1/{PLACE}/clusters", {"cluster": {"name": "blue", **BOGUS}}),
    ("container", "POST", f"v1beta1/{PLACE}/clusters", {"cluster": {"name": "blue", "nodePools": [BOGUS]}}),
    ("container", "PUT", f"v1/{CENTRAL}", {"update": BOGUS}),
    ("container", "POST", f"v1/{CENTRAL}:setResourceLabels", BOGUS),
    ("gkehub", "POST", f"v1/{PLACE}/memberships?membershipId=blue", {"endpoint": {"gkeCluster": BOGUS}}),
    ("gkehub", "PATCH", f"v1/{MEMBER}?updateMask=labels", BOGUS),
    ("gkehub", "POST", f"v1/{MEMBER}/bindings?membershipBindingId=b", BOGUS),
    ("cloudfunctions", "PATCH", f"v2/{PLACE}/functions/sweep", {"serviceConfig": BOGUS}),
    ("run", "PUT", f"apis/serving.knative.dev/v1/namespaces/{FLEET}/services/sweep", {"spec": BOGUS}),
    ("run", "POST", f"v1/{PLACE}/services/sweep:setIamPolicy", {"policy": BOGUS}),
    ("eventarc", "POST", f"v1/{PLACE}/triggers?triggerId=t", BOGUS),
    ("eventarc", "PATCH", f"v1/projects/{FLEET}/locations/global/triggers/audit-setlabels-v1", {"destination": BOGUS}),
    ("logging", "POST", SINKS, BOGUS),
    ("logging", "PUT", f"{SINKS}/fleet-registrar-clusters", BOGUS),
    ("logging", "POST", "v2/entries:list", BOGUS),
    ("iam", "POST", ROLES, {"role": BOGUS}),
    ("iam", "PATCH", f"{ROLES}/fleet_registrar.sweep", BOGUS),
    ("iam", "POST", ACCOUNTS, {"serviceAccount": BOGUS}),
    ("iam", "POST", f"{ACCOUNTS}/sweep@{FLEET}.iam.gserviceaccount.com:disable", BOGUS),
    ("cloudresourcemanager", "POST", f"v1/projects/{FLEET}:setIamPolicy", {"policy": {"bindings": [BOGUS]}}),
    ("cloudresourcemanager", "POST", f"v1/projects/{FLEET}:testIamPermissions", BOGUS),
    ("cloudresourcemanager", "POST", f"v1/projects/{FLEET}:getAncestry", BOGUS),
    ("cloudscheduler", "POST", f"v1/{PLACE}/jobs", {"pubsubTarget": BOGUS}),
    ("cloudscheduler", "POST", f"{JOB}:pause", BOGUS),
    ("cloudscheduler", "POST", f"{JOB}:run", BOGUS),
    ("serviceusage", "POST", f"{SERVICES}:batchEnable", BOGUS),
    ("serviceusage", "POST", f"{SERVICES}/run.googleapis.com:disable", BOGUS),
    ("pubsub", "PUT", f"{TOPIC}-2", BOGUS),
    ("pubsub", "POST", f"{TOPIC}:publish", {"messages": [BOGUS]}),
    ("pubsub", "PATCH", SUBSCRIPTION, {"subscription": BOGUS}),
    ("pubsub", "POST", f"{TOPIC}:setIamPolicy", {"policy": BOGUS}),
]
LISTED: Final = {"resourceNames": [f"projects/{FLEET}"], "pageSize": 1000}
# API, method, path, body, the message that the answer is.
ANSWERS: Final = [
    ("container", "GET", f"v1/{PLACE}/clusters", None, container_v1.ListClustersResponse),
    ("container", "GET", f"v1/{CENTRAL}", None, container_v1.Cluster),
    ("container", "GET", f"v1beta1/{CENTRAL}", None, container_v1beta1.Cluster),
    ("container", "GET", f"v1/{PLACE}/operations", None, container_v1.ListOperationsResponse),
    ("container", "GET", f"v1/{PLACE}/serverConfig", None, container_v1.ServerConfig),
    ("gkehub", "GET", f"v1/{PLACE}/memberships", None, gkehub_v1.ListMembershipsResponse),
    ("gkehub", "GET", f"v1/{MEMBER}", None, gkehub_v1.Membership),
    ("gkehub", "GET", f"v1/{PLACE}/operations", None, operations_pb2.ListOperationsResponse),
    ("run", "GET", f"v2/{PLACE}/services", None, run_v2.ListServicesResponse),
    ("run", "GET", f"v2/{PLACE}/services/sweep", None, run_v2.Service),
    ("run", "GET", f"v2/{PLACE}/services/sweep:getIamPolicy", None, policy_pb2.Policy),
    ("eventarc", "GET", f"v1/projects/{FLEET}/locations/-/triggers", None, eventarc_v1.ListTriggersResponse),
    ("eventarc", "GET", f"v1/projects/{FLEET}/locations/global/triggers/audit-setlabels-v1", None, eventarc_v1.Trigger),
    ("logging", "GET", SINKS, None, logging_v2.ListSinksResponse),
    ("logging", "GET", f"{SINKS}/fleet-registrar-clusters", None, logging_v2.LogSink),
    ("logging", "POST", "v2/entries:list", LISTED, logging_v2.ListLogEntriesResponse),
    ("pubsub", "GET", f"v1/projects/{FLEET}/topics", None, pubsub_v1.types.ListTopicsResponse),
    ("pubsub", "GET", TOPIC, None, pubsub_v1.types.Topic),
    ("pubsub", "GET", f"v1/projects/{FLEET}/subscriptions", None, pubsub_v1.types.ListSubscriptionsResponse),
    ("pubsub", "GET", SUBSCRIPTION, None, pubsub_v1.types.Subscription),
    ("pubsub", "GET", f"{TOPIC}:getIamPolicy", None, policy_pb2.Policy),
]


def parsed(body: Any, kind: Any) -> Any:
    """Parse an answer; a field that the message has not is an error."""
    message = kind() if kind.__module__.endswith("_pb2") else kind.pb()()
    return json_format.ParseDict(body, message, ignore_unknown_fields=False)


@pytest.mark.parametrize(
    ("api", "method", "path", "body"), REQUESTS, ids=[f"{one[0]} {one[1]} {one[2]}" for one in REQUESTS]
)
def test_an_unknown_field_is_refused(reading: Deployed, api: str, method: str, path: str, body: Any) -> None:
    status, answer = reading.call(api, method, path, body)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT"), answer
    assert "bogus" in answer["error"]["message"]
    assert answer["error"]["message"].startswith("Invalid JSON payload received.")


@pytest.mark.parametrize("asked", ANSWERS, ids=[f"{one[0]} {one[2]}" for one in ANSWERS])
def test_an_answer_has_known_fields_alone(reading: Deployed, asked: tuple[Any, ...]) -> None:
    api, method, path, body, kind = asked
    status, answer = reading.call(api, method, path, body)
    assert (status, bool(answer)) == (200, True), answer
    assert parsed(answer, kind).ListFields()


def test_the_answers_of_cloud_functions_have_known_fields_alone(reading: Deployed, functions_v2: Any) -> None:  # noqa: F811
    for path, kind in (("", functions_v2.ListFunctionsResponse), ("/sweep", functions_v2.Function)):
        status, answer = reading.call("cloudfunctions", "GET", f"v2/{PLACE}/functions{path}")
        assert status == 200
        assert parsed(answer, kind).ListFields()


def test_operations_of_changes_have_known_fields_alone(here: Deployed, functions_v2: Any) -> None:  # noqa: F811
    trigger = f"v1/projects/{FLEET}/locations/global/triggers/audit-setlabels-v1"
    changes = [
        ("container", "POST", f"v1/{PLACE}/clusters", {"cluster": {"name": "blue"}}, container_v1.Operation),
        ("gkehub", "PATCH", f"v1/{MEMBER}?updateMask=labels", {"labels": {"a": "b"}}, operations_pb2.Operation),
        ("cloudfunctions", "PATCH", f"v2/{PLACE}/functions/sweep?updateMask=labels", {"labels": {"a": "b"}}, operations_pb2.Operation),
        ("eventarc", "DELETE", trigger, None, operations_pb2.Operation),
        ("run", "DELETE", f"v2/{PLACE}/services/sweep", None, operations_pb2.Operation),
    ]  # fmt: skip
    for api, method, path, body, kind in changes:
        status, answer = here.call(api, method, path, body)
        assert status == 200, answer
        assert parsed(answer, kind).name


def test_names_in_snake_case_and_nulls_are_taken_as_google_does() -> None:
    found = schemas.checked(
        {"cluster": {"resource_labels": {"a_b": "c"}, "nodePools": None}}, "container", "CreateClusterRequest"
    )
    assert found == {"cluster": {"resourceLabels": {"a_b": "c"}}}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"cluster": "blue"}, "cluster"),
        ({"cluster": {"name": 1}}, "cluster.name"),
        ({"cluster": {"resourceLabels": {"a": 1}}}, "cluster.resource_labels[a]"),
        ({"cluster": {"nodePools": [{"config": {"labels": "x"}}]}}, "cluster.node_pools[0].config.labels"),
        ({"cluster": {"autopilot": {"enabled": "yes"}}}, "cluster.autopilot.enabled"),
        ({"cluster": {"status": {}}}, "cluster.status"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused(body: Any, place: str) -> None:
    with pytest.raises(GoogleError) as refused:
        schemas.checked(body, "container", "CreateClusterRequest")
    assert refused.value.code == 400
    assert f"Invalid value at '{place}'" in refused.value.message


def test_the_table_of_fields_is_the_cloud_sdks() -> None:
    sdk = google_fields.sdk_root()
    if sdk is None:
        pytest.skip(
            "no Cloud SDK is installed: left out is the comparison of local/google/fields.json with its messages"
        )
    table = json.loads(google_fields.TABLE.read_text())
    found = google_fields.read(sdk)
    missing = {
        f"{api}.{message}.{field}"
        for api, messages in found.items()
        for message, fields in messages.items()
        for field in fields
        if field not in table.get(api, {}).get(message, {})
    }
    assert missing == set(), "write it again: python -m tests.contract.google_fields"


def test_every_field_of_the_official_packages_is_in_the_table() -> None:
    table = json.loads(google_fields.TABLE.read_text())
    google_fields.add_packages(table)
    assert google_fields.written(table) == google_fields.TABLE.read_text()
