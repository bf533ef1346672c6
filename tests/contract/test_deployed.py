"""The APIs of what is deployed: functions, services, triggers, sinks, IAM, enabled APIs, schedules, logs and metrics.

Each is read by the official client where there is one for REST, and broken once: what is taken away does not work any more.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from google.cloud import eventarc_v1, run_v2

from tests.contract.deployed import AGENT, FLEET, PLACE, PUSH, TRIGGER, Deployed, options
from tests.infra.argocd import tool

SWEEP = f"{PLACE}/functions/sweep"
SUBSCRIPTION = f"v1/projects/{FLEET}/subscriptions/sweep"

# Not among the packages of the project: it overwrites a file of functions-framework (google/cloud/functions/__init__.py), so
# that every function would import this client at its start.
FUNCTIONS_CLIENT = ("--no-deps", "google-cloud-functions==1.25.0")


@pytest.fixture(scope="module")
def functions_v2() -> Any:
    """The official client of Cloud Functions."""
    return tool("google.cloud.functions_v2", FUNCTIONS_CLIENT)


def test_the_functions_client_lists_what_runs(reading: Deployed, functions_v2: Any) -> None:
    client = functions_v2.FunctionServiceClient(transport="rest", **options(reading, "cloudfunctions"))
    found = {one.name.rpartition("/")[2]: one for one in client.list_functions(parent=f"projects/{FLEET}/locations/-")}
    assert sorted(found) == ["route-event", "sweep"]
    sweep = found["sweep"]
    assert sweep.state == functions_v2.Function.State.ACTIVE
    assert sweep.service_config.uri == reading.cloud.state()["functions"]["sweep"]["url"]
    assert sweep.service_config.environment_variables["FLEET_PROJECT"] == FLEET
    assert len({one.build_config.environment_variables["BUNDLE"] for one in found.values()}) == 1
    assert "GCE_METADATA_HOST" not in sweep.service_config.environment_variables
    assert reading.read("cloudfunctions", f"v2/{SWEEP}", functions_v2.Function).name == SWEEP


def test_the_run_client_reads_the_services_of_the_functions(reading: Deployed) -> None:
    client = run_v2.ServicesClient(transport="rest", **options(reading, "run"))
    found = list(client.list_services(parent=f"projects/{FLEET}/locations/europe-west1"))
    assert [one.name.rpartition("/")[2] for one in found] == ["route-event", "sweep"]
    service = client.get_service(name=f"{PLACE}/services/sweep")
    assert service.template.service_account == f"fleet-sweep@{FLEET}.iam.gserviceaccount.com"
    policy = client.get_iam_policy(request={"resource": f"{PLACE}/services/sweep"})
    assert [(one.role, list(one.members)) for one in policy.bindings] == [
        ("roles/run.servicesInvoker", [f"serviceAccount:{PUSH}"])
    ]
    assert reading.read("run", f"v2/{PLACE}/services/sweep", run_v2.Service).uri == service.uri


def test_a_changed_setting_reaches_the_running_function(here: Deployed, functions_v2: Any) -> None:
    client = functions_v2.FunctionServiceClient(transport="rest", **options(here, "cloudfunctions"))
    function = client.get_function(name=SWEEP)
    function.service_config.environment_variables["HOLD"] = "5"
    client.update_function(function=function, update_mask="serviceConfig.environmentVariables").result(timeout=60)
    assert client.get_function(name=SWEEP).service_config.environment_variables["HOLD"] == "5"
    here.cloud.publish("sweep", {})
    here.cloud.wait_for(lambda: here.swept() == 1)
    assert here.seen("sweep")[0]["hold"] == "5"


def test_a_requested_state_is_returned(here: Deployed, functions_v2: Any) -> None:
    here.cloud.do("run", "set_state", name=SWEEP, state="FAILED", message="the build failed")
    function = here.read("cloudfunctions", f"v2/{SWEEP}", functions_v2.Function)
    assert function.state == functions_v2.Function.State.FAILED
    assert (
        here.read("run", f"v2/{PLACE}/services/sweep", run_v2.Service).terminal_condition.message == "the build failed"
    )


@pytest.mark.parametrize(
    ("email", "audience", "status"),
    [
        (PUSH, "", 200),
        (PUSH, "https://elsewhere.example", 401),
        (TRIGGER, "", 403),  # it may call route-event alone
        (f"write-secret@{FLEET}.iam.gserviceaccount.com", "", 403),
        ("", "", 403),
    ],
)
def test_a_function_answers_only_a_token_of_an_invoker(
    reading: Deployed, email: str, audience: str, status: int
) -> None:
    url = reading.cloud.state()["functions"]["sweep"]["url"]
    token = ""
    if email:
        token = reading.cloud.do("cloud", "identity_token", email=email, audience=audience or url)
    assert reading.invoke("sweep", token) == status


def test_an_access_token_and_a_forged_token_open_no_function(reading: Deployed) -> None:
    token = reading.cloud.token_for_function("sweep", PUSH)
    assert reading.invoke("sweep", reading.token) == 401
    assert reading.invoke("sweep", f"{token[:-4]}AAAA") == 401


def undelivered(here: Deployed) -> bool:
    """Publish, and say whether the push has failed more than once and the function has seen nothing."""
    before = here.swept()
    here.cloud.publish("sweep", {})
    here.cloud.wait_for(lambda: here.queue("sweep")["most_deliveries"] > 1)
    return here.swept() == before


def test_a_push_without_a_token_is_not_delivered(here: Deployed) -> None:
    _, before = here.call("pubsub", "GET", SUBSCRIPTION)
    endpoint = before["pushConfig"]["pushEndpoint"]
    status, _ = here.call(
        "pubsub", "POST", f"{SUBSCRIPTION}:modifyPushConfig", {"pushConfig": {"pushEndpoint": endpoint}}
    )
    assert status == 200
    assert undelivered(here)
    here.call("pubsub", "POST", f"{SUBSCRIPTION}:modifyPushConfig", {"pushConfig": before["pushConfig"]})
    here.cloud.publish("sweep", {})
    here.cloud.wait_for(lambda: here.swept() >= 1)


def test_a_push_identity_without_invoke_is_not_delivered(here: Deployed) -> None:
    path = f"v2/{PLACE}/services/sweep"
    assert here.call("run", "POST", f"{path}:setIamPolicy", {"policy": {"bindings": []}})[0] == 200
    assert undelivered(here)


def test_a_push_whose_token_cannot_be_minted_is_not_delivered(here: Deployed) -> None:
    path = f"v1/projects/{FLEET}/serviceAccounts/{PUSH}:setIamPolicy"
    assert here.call("iam", "POST", path, {"policy": {"bindings": []}})[0] == 200
    here.cloud.publish("sweep", {})
    here.cloud.wait_for(lambda: here.swept() == 1)  # by the service agent's role in the project
    remove(here, f"v1/projects/{FLEET}", "roles/pubsub.serviceAgent")
    assert undelivered(here)


def remove(here: Deployed, path: str, role: str, api: str = "cloudresourcemanager") -> None:
    """Take a binding out of a policy, as gcloud does: read, change, write."""
    _, policy = here.call(api, "POST", f"{path}:getIamPolicy", {})
    kept = [one for one in policy["bindings"] if one["role"] != role]
    assert len(kept) < len(policy["bindings"])
    status, answer = here.call(api, "POST", f"{path}:setIamPolicy", {"policy": policy | {"bindings": kept}})
    assert status == 200, answer


def test_without_its_grant_a_dead_letter_is_delivered_for_ever(here: Deployed) -> None:
    remove(here, f"v1/projects/{FLEET}/topics/dead-letters", "roles/pubsub.publisher", api="pubsub")
    here.cloud.kill_function("sweep")
    here.cloud.publish("sweep", {})
    here.cloud.wait_for(lambda: here.queue("sweep")["most_deliveries"] > 7)
    assert here.queue("sweep")["dead_lettered"] == 0


def test_publishing_with_credentials_needs_the_grant(reading: Deployed) -> None:
    path, body = f"v1/projects/{FLEET}/topics/write-secret:publish", {"messages": [{"data": "e30="}]}
    for name, status in (("grant-rbac", 200), ("unregister-membership", 403)):
        token = reading.cloud.do("iam", "token_for", email=f"{name}@{FLEET}.iam.gserviceaccount.com")
        assert reading.call("pubsub", "POST", path, body, token)[0] == status


def test_the_eventarc_client_reads_a_trigger_for_every_method(reading: Deployed) -> None:
    client = eventarc_v1.EventarcClient(transport="rest", **options(reading, "eventarc"))
    found = list(client.list_triggers(parent=f"projects/{FLEET}/locations/-"))
    methods = {one.value for trigger in found for one in trigger.event_filters if one.attribute == "methodName"}
    assert "google.container.v1.ClusterManager.CreateCluster" in methods
    assert len(methods) == 8
    for trigger in found[:3]:
        read = reading.read("eventarc", f"v1/{trigger.name}", eventarc_v1.Trigger)
        assert read.service_account == TRIGGER


def routed(here: Deployed, cluster: str) -> int:
    short = cluster.rpartition("/")[2]
    return sum(one["attributes"].get("resourcename", "").endswith(f"/{short}") for one in here.seen("route-event"))


def test_a_deleted_trigger_brings_no_event(here: Deployed) -> None:
    client = eventarc_v1.EventarcClient(transport="rest", **options(here, "eventarc"))
    blue = here.cloud.create_cluster("blue")
    here.cloud.wait_for(lambda: routed(here, blue) == 2)
    for version in ("v1", "v1beta1"):
        name = f"projects/{FLEET}/locations/global/triggers/audit-createcluster-{version}"
        client.delete_trigger(name=name).result(timeout=60)
    red = here.cloud.create_cluster("red")
    here.cloud.wait_for(lambda: here.cloud.state()["clusters"][red]["status"] == "RUNNING")
    here.cloud.wait_quiet()
    assert routed(here, red) == 0


def test_a_permission_taken_out_of_a_role_is_refused(here: Deployed) -> None:
    email = f"register-membership@{FLEET}.iam.gserviceaccount.com"
    token = here.cloud.do("iam", "token_for", email=email)
    path = f"v1/projects/{FLEET}/locations/-/memberships"
    assert here.call("gkehub", "GET", path, token=token)[0] == 200
    name = f"v1/projects/{FLEET}/roles/fleet_registrar.register_membership"
    _, role = here.call("iam", "GET", name)
    less = [one for one in role["includedPermissions"] if one != "gkehub.memberships.list"]
    assert here.call("iam", "PATCH", f"{name}?updateMask=includedPermissions", {"includedPermissions": less})[0] == 200
    assert here.call("gkehub", "GET", path, token=token)[0] == 403


def test_a_policy_that_was_changed_meanwhile_is_not_overwritten(here: Deployed) -> None:
    path = f"v1/projects/{FLEET}"
    _, policy = here.call("cloudresourcemanager", "POST", f"{path}:getIamPolicy", {})
    remove(here, path, "roles/pubsub.serviceAgent")
    assert here.call("cloudresourcemanager", "POST", f"{path}:setIamPolicy", {"policy": policy})[0] == 409


def test_an_identity_keeps_its_unique_id(reading: Deployed) -> None:
    _, answer = reading.call("iam", "GET", f"v1/projects/{FLEET}/serviceAccounts")
    ids = {one["email"]: one["uniqueId"] for one in answer["accounts"]}
    assert len(set(ids.values())) == len(ids) == 13
    assert all(id_.isdigit() and len(id_) == 21 for id_ in ids.values())
    _, one = reading.call("iam", "GET", f"v1/projects/-/serviceAccounts/{ids[PUSH]}")
    assert one["email"] == PUSH


def test_a_disabled_api_refuses_and_says_so(here: Deployed) -> None:
    service = f"v1/projects/{FLEET}/services/eventarc.googleapis.com"
    assert here.call("serviceusage", "POST", f"{service}:disable", {})[0] == 200
    status, answer = here.call("eventarc", "GET", f"v1/projects/{FLEET}/locations/-/triggers")
    assert (status, answer["error"]["details"][0]["reason"]) == (403, "SERVICE_DISABLED")
    _, enabled = here.call("serviceusage", "GET", f"v1/projects/{FLEET}/services?filter=state:ENABLED")
    assert "eventarc.googleapis.com" not in [one["config"]["name"] for one in enabled["services"]]
    assert here.call("serviceusage", "POST", f"{service}:enable", {})[0] == 200
    assert here.call("eventarc", "GET", f"v1/projects/{FLEET}/locations/-/triggers")[0] == 200


def test_a_job_publishes_when_it_is_run(here: Deployed) -> None:
    job = f"v1/{PLACE}/jobs/sweep"
    assert here.call("cloudscheduler", "POST", f"{job}:pause", {})[1]["state"] == "PAUSED"
    assert here.call("cloudscheduler", "POST", f"{job}:resume", {})[1]["state"] == "ENABLED"
    assert here.call("cloudscheduler", "POST", f"{job}:run", {})[0] == 200
    here.cloud.wait_for(lambda: here.swept() == 1)


def test_requests_to_the_gateway_are_counted(here: Deployed) -> None:
    here.cloud.through_gateway("you@example.com", f"{PLACE}/memberships/central", "GET", "/api/v1/namespaces")
    asked = {
        "filter": 'metric.type="serviceruntime.googleapis.com/api/request_count" AND resource.type="consumed_api"'
        ' AND resource.labels.service="connectgateway.googleapis.com"',
        "interval.startTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 600)),
        "interval.endTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60)),
        "aggregation.alignmentPeriod": "60s",
    }
    query = "&".join(f"{key}={value}" for key, value in asked.items())
    _, answer = here.call("monitoring", "GET", f"v3/projects/{FLEET}/timeSeries?{query}")
    points = [int(point["value"]["int64Value"]) for one in answer["timeSeries"] for point in one["points"]]
    assert sum(points) == 1


def test_quotas_of_memberships_and_the_gateway_are_returned(reading: Deployed) -> None:
    limits = {}
    for service in ("gkehub", "connectgateway"):
        path = f"v1beta1/projects/{FLEET}/services/{service}.googleapis.com/consumerQuotaMetrics"
        _, answer = reading.call("serviceusage", "GET", path)
        for metric in answer["metrics"]:
            limit = metric["consumerQuotaLimits"][0]
            limits[limit["unit"]] = limit["quotaBuckets"][0]["effectiveLimit"]
    assert limits == {"1/{project}": "250", "1/{project}/{region}": "50", "1/min/{project}": "2400"}


def test_reading_needs_permission(reading: Deployed) -> None:
    token = reading.cloud.do("iam", "token_for", email="stranger@example.com")
    for api, method, path in [
        ("cloudfunctions", "GET", f"v2/{PLACE}/functions"),
        ("run", "GET", f"v2/{PLACE}/services"),
        ("run", "GET", f"v1/{PLACE}/services/sweep:getIamPolicy"),
        ("eventarc", "GET", f"v1/{PLACE}/triggers"),
        ("logging", "GET", f"v2/projects/{FLEET}/sinks"),
        ("iam", "GET", f"v1/projects/{FLEET}/roles"),
        ("iam", "GET", f"v1/projects/-/serviceAccounts/{PUSH}"),
        ("cloudscheduler", "GET", f"v1/{PLACE}/jobs"),
        ("cloudresourcemanager", "POST", f"v1/projects/{FLEET}:getIamPolicy"),
        ("serviceusage", "GET", f"v1/projects/{FLEET}/services"),
        ("monitoring", "GET", f"v3/projects/{FLEET}/timeSeries?interval.endTime=2026-01-01T00:00:00Z"),
        ("pubsub", "GET", SUBSCRIPTION),
    ]:
        assert reading.call(api, method, path, {} if method == "POST" else None, token)[0] == 403, path


def test_pubsubs_agent_is_granted_what_dead_letters_need(reading: Deployed) -> None:
    _, topic = reading.call("pubsub", "GET", f"v1/projects/{FLEET}/topics/dead-letters:getIamPolicy")
    _, subscription = reading.call("pubsub", "GET", f"{SUBSCRIPTION}:getIamPolicy")
    assert f"serviceAccount:{AGENT}" in topic["bindings"][0]["members"]
    assert subscription["bindings"][0]["members"] == [f"serviceAccount:{AGENT}"]
