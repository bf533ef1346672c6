"""The real gcloud on the APIs of what is deployed: each list that an operator types, and each way to break something."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests import forked_gcloud
from tests.contract.deployed import APPS, FLEET, PUSH, REGION, Deployed, deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not shutil.which("gcloud"),
    reason="left out: the real gcloud on functions, triggers, sinks, IAM and schedules; gcloud is not installed here",
)
ROLE = "fleet_registrar.sweep"
PLACE = f"--location={REGION}"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.mark.parametrize(
    ("command", "field", "found"),
    [
        ("functions list", "name", f"projects/{FLEET}/locations/{REGION}/functions/sweep"),
        ("run services list", "metadata.name", "sweep"),
        (
            "eventarc triggers list --location=-",
            "name",
            f"projects/{FLEET}/locations/global/triggers/audit-setlabels-v1",
        ),
        (f"logging sinks list --project={APPS}", "name", "fleet-registrar-clusters"),
        (f"projects get-iam-policy {FLEET} --flatten=bindings", "bindings.role", f"projects/{FLEET}/roles/{ROLE}"),
        (f"scheduler jobs list {PLACE}", "name", f"projects/{FLEET}/locations/{REGION}/jobs/sweep"),
        ("services list", "config.name", "eventarc.googleapis.com"),
        (f"iam roles list --project={FLEET}", "name", f"projects/{FLEET}/roles/{ROLE}"),
        ("iam service-accounts list", "email", PUSH),
        ("pubsub subscriptions list", "pushConfig.oidcToken.serviceAccountEmail", PUSH),
        ("pubsub topics list", "name", f"projects/{FLEET}/topics/sweep"),
    ],
)
def test_gcloud_lists(here: Deployed, command: str, field: str, found: str) -> None:
    values = []
    for item in json.loads(here.gcloud(*command.split(), "--format=json")):
        value = item
        for key in field.split("."):
            value = value.get(key, {})
        values.append(value)
    assert found in values


def test_gcloud_deletes_a_trigger(here: Deployed) -> None:
    here.gcloud("eventarc", "triggers", "delete", "audit-setlabels-v1beta1", "--location=global")
    name = f"projects/{FLEET}/locations/global/triggers/audit-setlabels-v1beta1"
    assert here.call("eventarc", "GET", f"v1/{name}")[0] == 404


def test_gcloud_takes_the_invoker_away(here: Deployed) -> None:
    service, grant = ("run", "services"), (f"--region={REGION}", f"--member=serviceAccount:{PUSH}")
    token = here.cloud.token_for_function("sweep", PUSH)
    role = "--role=roles/run.servicesInvoker"
    here.gcloud(*service, "remove-iam-policy-binding", "sweep", *grant, role)
    without = here.invoke("sweep", token)
    here.gcloud(*service, "add-iam-policy-binding", "sweep", *grant, role)
    assert (without, here.invoke("sweep", token)) == (403, 200)


def test_gcloud_changes_a_role(here: Deployed) -> None:
    here.gcloud("iam", "roles", "update", ROLE, f"--project={FLEET}", "--remove-permissions=gkehub.gateway.get")
    _, role = here.call("iam", "GET", f"v1/projects/{FLEET}/roles/{ROLE}")
    assert "gkehub.gateway.get" not in role["includedPermissions"]


def test_gcloud_takes_a_role_from_an_identity(here: Deployed) -> None:
    grant = (
        f"--member=serviceAccount:fleet-sweep@{FLEET}.iam.gserviceaccount.com",
        f"--role=projects/{FLEET}/roles/{ROLE}",
    )
    project = f"v1/projects/{FLEET}"
    _, before = here.call("cloudresourcemanager", "POST", f"{project}:getIamPolicy", {})
    here.gcloud("projects", "remove-iam-policy-binding", FLEET, *grant, "--condition=None")
    _, after = here.call("cloudresourcemanager", "POST", f"{project}:getIamPolicy", {})
    again = {"policy": {"bindings": before["bindings"]}}
    assert here.call("cloudresourcemanager", "POST", f"{project}:setIamPolicy", again)[0] == 200
    role = f"projects/{FLEET}/roles/{ROLE}"
    assert [role in [one["role"] for one in policy["bindings"]] for policy in (before, after)] == [True, False]


def test_gcloud_disables_and_enables_an_api(here: Deployed) -> None:
    here.gcloud("services", "disable", "monitoring.googleapis.com", "--force")
    enabled = [one["config"]["name"] for one in json.loads(here.gcloud("services", "list", "--format=json"))]
    here.gcloud("services", "enable", "monitoring.googleapis.com")
    assert "monitoring.googleapis.com" not in enabled
    assert (
        here.call("serviceusage", "GET", f"v1/projects/{FLEET}/services/monitoring.googleapis.com")[1]["state"]
        == "ENABLED"
    )


def test_gcloud_pauses_and_runs_a_job(here: Deployed) -> None:
    here.gcloud("scheduler", "jobs", "pause", "sweep", PLACE)
    assert (
        json.loads(here.gcloud("scheduler", "jobs", "describe", "sweep", PLACE, "--format=json"))["state"] == "PAUSED"
    )
    here.cloud.wait_quiet()  # a run from before the pause may be under way
    before = here.swept()
    here.gcloud("scheduler", "jobs", "run", "sweep", PLACE)
    here.cloud.wait_for(lambda: here.swept() > before)


def test_gcloud_changes_a_sink(here: Deployed) -> None:
    here.gcloud(
        "logging", "sinks", "update", "fleet-registrar-clusters", f"--project={APPS}", "--log-filter=severity>=ERROR"
    )
    _, sink = here.call("logging", "GET", f"v2/projects/{APPS}/sinks/fleet-registrar-clusters")
    assert sink["filter"] == "severity>=ERROR"


def test_gcloud_changes_a_push_config(here: Deployed) -> None:
    subscription = f"v1/projects/{FLEET}/subscriptions/sweep"
    _, before = here.call("pubsub", "GET", subscription)
    here.gcloud("pubsub", "subscriptions", "modify-push-config", "sweep", "--push-endpoint=https://elsewhere.example")
    _, found = here.call("pubsub", "GET", subscription)
    again = {"pushConfig": before["pushConfig"]}
    assert here.call("pubsub", "POST", f"{subscription}:modifyPushConfig", again)[0] == 200
    assert found["pushConfig"] == {"pushEndpoint": "https://elsewhere.example"}


def test_gcloud_reads_what_a_function_logged(here: Deployed) -> None:
    assert here.invoke("route-event", here.cloud.token_for_function("route-event", PUSH)) == 200
    asked = 'resource.labels.service_name="route-event" jsonPayload.decision="noted"'
    entries = here.cloud.wait_for(lambda: json.loads(here.gcloud("logging", "read", asked, "--format=json")))
    assert entries[0]["jsonPayload"]["message"] == "noted"


def test_the_kubeconfig_survives_eight_creations_at_a_time(here: Deployed) -> None:
    names = [f"c{number}" for number in range(8)]
    started = [
        subprocess.Popen(
            ["gcloud", "container", "clusters", "create", name, "--region=europe-west1"],
            env=here.environment | {"PATH": forked_gcloud.path()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in names
    ]
    assert [one.wait(300) for one in started] == [0] * 8

    def whole() -> bool:
        try:
            config = yaml.safe_load(Path(here.environment["KUBECONFIG"]).read_text())
        except yaml.YAMLError:
            return False
        return {"central", *names} <= {context["name"] for context in config["contexts"]}

    here.cloud.wait_for(whole, 120, "a context for each cluster")
    command = ["kubectl", "--context", "c7", "get", "namespaces", "--output=name"]
    if shutil.which("kubectl"):
        environment = here.environment | {"PATH": forked_gcloud.path()}  # its plugin runs gcloud
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        assert "namespace/default" in found.stdout
