"""The GKE API, driven by the official client library; the audit entries, read by the official types of events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud import container_v1
from google.events.cloud.audit_v1 import LogEntryData

from local.google.audit import event_data, node_pool_entries
from tests.contract.google_cloud import APPS, FLEET, FLEET_NUMBER, HOME, OWNER, Cloud, served
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

BLUE = f"{HOME}/clusters/blue"
Status = container_v1.Cluster.Status


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as running:
        yield running


def create(cloud: Cloud, name: str = "blue", parent: str = HOME, **fields: Any) -> container_v1.Operation:
    cluster = container_v1.Cluster(name=name, initial_node_count=1, **fields)
    return cloud.clusters().create_cluster(parent=parent, cluster=cluster)


def done(cloud: Cloud, operation: container_v1.Operation, parent: str = HOME) -> container_v1.Operation:
    client = cloud.clusters()

    def finished() -> container_v1.Operation | None:
        found = client.get_operation(name=f"{parent}/operations/{operation.name}")
        return found if found.status == container_v1.Operation.Status.DONE else None

    answer: container_v1.Operation = until(finished)
    return answer


def test_a_cluster_lives_from_provisioning_to_gone(cloud: Cloud) -> None:
    cloud.gke.seconds |= {"create": 600, "delete": 600}
    client = cloud.clusters()
    creating = create(cloud, resource_labels={"env": "prod"})
    assert creating.operation_type == container_v1.Operation.Type.CREATE_CLUSTER
    assert client.get_cluster(name=BLUE).status == Status.PROVISIONING
    cloud.do(cloud.gke.finish, BLUE)
    assert not done(cloud, creating).error.message
    found = client.get_cluster(name=BLUE)
    assert (found.status, found.location, dict(found.resource_labels)) == (
        Status.RUNNING,
        "europe-west1",
        {"env": "prod"},
    )
    assert found.endpoint
    assert found.master_auth.cluster_ca_certificate
    deleting = client.delete_cluster(name=BLUE)
    assert client.get_cluster(name=BLUE).status == Status.STOPPING
    cloud.do(cloud.gke.finish, BLUE)
    done(cloud, deleting)
    with pytest.raises(exceptions.NotFound):
        client.get_cluster(name=BLUE)
    assert (cloud.running, cloud.gone) == ([BLUE], [BLUE])


def test_a_cluster_made_again_under_its_name_has_another_id(cloud: Cloud) -> None:
    ids = []
    for _ in range(2):
        done(cloud, create(cloud))
        ids.append(cloud.clusters().get_cluster(name=BLUE).id)
        done(cloud, cloud.clusters().delete_cluster(name=BLUE))
    assert len(set(ids)) == 2


def test_one_name_may_exist_in_a_zone_a_region_and_two_projects(cloud: Cloud) -> None:
    zone = f"projects/{FLEET}/locations/europe-west1-b"
    for parent in (HOME, zone, f"projects/{APPS}/locations/europe-west1"):
        done(cloud, create(cloud, parent=parent), parent)
    listed = cloud.clusters().list_clusters(parent=f"projects/{FLEET}/locations/-").clusters
    assert sorted(cluster.location for cluster in listed) == ["europe-west1", "europe-west1-b"]
    assert "/zones/europe-west1-b/" in cloud.clusters().get_cluster(name=f"{zone}/clusters/blue").self_link


def test_a_project_may_be_named_by_its_number(cloud: Cloud) -> None:
    done(cloud, create(cloud))
    assert cloud.clusters().get_cluster(name=BLUE.replace(FLEET, FLEET_NUMBER)).name == "blue"


@pytest.mark.parametrize("name", ["Blue", "1blue", "b" * 41, "blue-", ""])
def test_an_impossible_name_is_refused(cloud: Cloud, name: str) -> None:
    with pytest.raises(exceptions.BadRequest):
        create(cloud, name)
    assert cloud.gke.clusters == {}


def test_a_name_that_is_taken_is_refused(cloud: Cloud) -> None:
    done(cloud, create(cloud))
    with pytest.raises(exceptions.Conflict):
        create(cloud)


def test_autopilot_is_regional_and_has_workload_identity(cloud: Cloud) -> None:
    autopilot = container_v1.Autopilot(enabled=True)
    with pytest.raises(exceptions.BadRequest):
        create(cloud, parent=f"projects/{FLEET}/locations/europe-west1-b", autopilot=autopilot)
    done(cloud, create(cloud, autopilot=autopilot))
    found = cloud.clusters().get_cluster(name=BLUE)
    assert (found.autopilot.enabled, found.workload_identity_config.workload_pool) == (True, f"{FLEET}.svc.id.goog")


def test_labels_are_replaced_with_the_current_fingerprint_only(cloud: Cloud) -> None:
    done(cloud, create(cloud, resource_labels={"env": "dev", "team": "größe"}))
    client = cloud.clusters()
    fingerprint = client.get_cluster(name=BLUE).label_fingerprint
    request: dict[str, Any] = {"name": BLUE, "resource_labels": {"env": "prod"}, "label_fingerprint": fingerprint}
    done(cloud, client.set_labels(request))
    assert dict(client.get_cluster(name=BLUE).resource_labels) == {"env": "prod"}
    with pytest.raises(exceptions.BadRequest) as refused:
        client.set_labels(request)
    assert refused.value.response.json()["error"]["status"] == "FAILED_PRECONDITION"


@pytest.mark.parametrize("labels", [{"Env": "x"}, {"1a": "x"}, {"a": "X"}, {"a": "x" * 64}, {"a": "b.c"}, {"": "x"}])
def test_labels_that_google_refuses_are_refused(cloud: Cloud, labels: dict[str, str]) -> None:
    with pytest.raises(exceptions.BadRequest):
        create(cloud, resource_labels=labels)
    with pytest.raises(exceptions.BadRequest):
        create(cloud, resource_labels={f"k{number}": "" for number in range(65)})


def test_one_operation_at_a_time(cloud: Cloud) -> None:
    cloud.gke.seconds["create"] = 60
    create(cloud)
    with pytest.raises(exceptions.BadRequest, match="incompatible operation"):
        cloud.clusters().delete_cluster(name=BLUE)
    assert cloud.audit[-1]["protoPayload"]["status"]["code"] == 9
    assert cloud.clusters().get_cluster(name=BLUE).status == Status.PROVISIONING


def test_only_an_operation_that_runs_can_be_finished(cloud: Cloud) -> None:
    cloud.gke.seconds["create"] = 600
    with pytest.raises(ValueError, match="no operation"):
        cloud.do(cloud.gke.finish, BLUE)
    creating = create(cloud)
    cloud.do(cloud.gke.finish, BLUE)
    done(cloud, creating)
    with pytest.raises(ValueError, match="no operation"):
        cloud.do(cloud.gke.finish, BLUE)


def test_a_failed_create_leaves_a_cluster_in_error(cloud: Cloud) -> None:
    cloud.gke.fail_next("create", message="no quota")
    assert done(cloud, create(cloud)).error.message == "no quota"
    assert cloud.clusters().get_cluster(name=BLUE).status == Status.ERROR
    assert cloud.audit[-1]["protoPayload"]["status"]["message"] == "no quota"
    assert cloud.running == []


@pytest.mark.parametrize("status", ["RUNNING", "DEGRADED", "ERROR"])
def test_a_failed_delete_leaves_the_cluster(cloud: Cloud, status: str) -> None:
    done(cloud, create(cloud))
    cloud.gke.fail_next("delete", status=status)
    assert done(cloud, cloud.clusters().delete_cluster(name=BLUE)).error.message
    assert cloud.clusters().get_cluster(name=BLUE).status.name == status
    assert cloud.gone == []


def test_a_cluster_whose_kubernetes_api_does_not_start_ends_in_error(cloud: Cloud) -> None:
    def broken(cluster: dict[str, Any]) -> None:
        raise RuntimeError("no ports left")

    cloud.gke.on_cluster_running = broken
    assert "no ports left" in done(cloud, create(cloud)).error.message


def test_zones_that_do_not_answer_are_reported_and_left_out(cloud: Cloud) -> None:
    done(cloud, create(cloud))
    other = f"projects/{FLEET}/locations/us-east1-b"
    done(cloud, create(cloud, "red", parent=other), other)
    cloud.gke.missing_zones[FLEET] = {"europe-west1-b"}
    answer = cloud.clusters().list_clusters(parent=f"projects/{FLEET}/locations/-")
    assert (list(answer.missing_zones), [cluster.name for cluster in answer.clusters]) == (["europe-west1-b"], ["red"])
    assert list(cloud.clusters().list_clusters(parent=HOME).missing_zones) == ["europe-west1-b"]
    assert not cloud.clusters().list_clusters(parent=other).missing_zones


def test_answers_can_be_stale(cloud: Cloud) -> None:
    done(cloud, create(cloud))
    client = cloud.clusters()
    cloud.gke.hidden_from_list = {BLUE}
    assert not client.list_clusters(parent=HOME).clusters
    assert client.get_cluster(name=BLUE).name == "blue"
    cloud.gke.hidden_from_list, cloud.gke.hidden_from_get = set(), {BLUE}
    with pytest.raises(exceptions.NotFound):
        client.get_cluster(name=BLUE)
    cloud.gke.stale[BLUE] = dict(cloud.gke.clusters[BLUE])
    cloud.do(cloud.gke.set_status, BLUE, "STOPPING")
    assert client.get_cluster(name=BLUE).status == Status.RUNNING


def test_a_shut_project_and_one_that_is_not_there_answer_403(cloud: Cloud) -> None:
    done(cloud, create(cloud))
    cloud.gke.shut_project(FLEET)
    for name in (BLUE, BLUE.replace(FLEET, "nobody-knows")):
        with pytest.raises(exceptions.Forbidden):
            cloud.clusters().get_cluster(name=name)


def test_each_call_needs_its_permission(cloud: Cloud) -> None:
    done(cloud, create(cloud))
    token = cloud.iam.token_for("reader@example.com")
    client = cloud.clusters(token)
    with pytest.raises(exceptions.Forbidden):
        client.get_cluster(name=BLUE)
    cloud.iam.grant("reader@example.com", FLEET, "container.clusters.get", "container.clusters.list")
    assert client.get_cluster(name=BLUE).name == client.list_clusters(parent=HOME).clusters[0].name
    with pytest.raises(exceptions.Forbidden):
        client.delete_cluster(name=BLUE)
    assert cloud.audit[-1]["protoPayload"]["status"]["code"] == 7
    assert cloud.audit[-1]["protoPayload"]["authenticationInfo"]["principalEmail"] == "reader@example.com"
    answer = requests.get(
        f"{cloud.url('container')}/v1/{BLUE}", headers={"Authorization": "Bearer unknown"}, timeout=60
    )
    assert answer.status_code == 401


def test_the_older_paths_work(cloud: Cloud) -> None:
    client = cloud.clusters()
    zone = {"project_id": FLEET, "zone": "europe-west1-b"}
    parent = f"projects/{FLEET}/locations/europe-west1-b"
    body = {"cluster": {"name": "blue", "initial_node_count": 1}}
    done(cloud, client.create_cluster(zone | body), parent)
    found = client.get_cluster(zone | {"cluster_id": "blue"})
    labels = {"resource_labels": {"a": "b"}, "label_fingerprint": found.label_fingerprint}
    done(cloud, client.set_labels(zone | {"cluster_id": "blue"} | labels), parent)
    assert client.list_node_pools(zone | {"cluster_id": "blue"}).node_pools[0].name == "default-pool"
    assert client.get_server_config(zone).default_cluster_version == found.current_master_version
    done(cloud, client.delete_cluster(zone | {"cluster_id": "blue"}), parent)
    assert not client.list_clusters(zone).clusters
    assert len(client.list_operations(zone).operations) == 3


# Audit entries


def test_a_change_leaves_two_entries_a_refusal_one(cloud: Cloud) -> None:
    client = cloud.clusters()
    done(cloud, create(cloud))
    with pytest.raises(exceptions.Conflict):
        create(cloud)
    done(cloud, client.set_labels({"name": BLUE, "label_fingerprint": client.get_cluster(name=BLUE).label_fingerprint}))
    done(cloud, client.update_cluster({"name": BLUE, "update": {"desired_logging_service": "none"}}))
    done(cloud, client.delete_cluster(name=BLUE))
    until(lambda: len(cloud.audit) == 9)
    assert cloud.methods() == [
        ("CreateCluster", "started"),
        ("CreateCluster", "finished"),
        ("CreateCluster", "refused"),
        ("SetLabels", "started"),
        ("SetLabels", "finished"),
        ("UpdateCluster", "started"),
        ("UpdateCluster", "finished"),
        ("DeleteCluster", "started"),
        ("DeleteCluster", "finished"),
    ]


def test_entries_have_the_recorded_shape(cloud: Cloud) -> None:
    operation = create(cloud, resource_labels={"env": "prod"}, default_max_pods_constraint={"max_pods_per_node": 110})
    done(cloud, operation)
    until(lambda: len(cloud.audit) == 2)
    started, finished = cloud.audit
    for entry in cloud.audit:
        assert entry["protoPayload"]["resourceName"] == f"projects/{FLEET}/zones/europe-west1/clusters/blue"
        assert entry["protoPayload"]["methodName"] == "google.container.v1.ClusterManager.CreateCluster"
        assert entry["protoPayload"]["serviceName"] == "container.googleapis.com"
        assert entry["logName"] == f"projects/{FLEET}/logs/cloudaudit.googleapis.com%2Factivity"
        assert entry["resource"]["labels"] == {"cluster_name": "blue", "location": "europe-west1", "project_id": FLEET}
        assert entry["severity"] == "NOTICE"
    assert started["operation"] == {"id": operation.name, "producer": "container.googleapis.com", "first": True}
    assert finished["operation"] == {"id": operation.name, "producer": "container.googleapis.com", "last": True}
    payload = started["protoPayload"]
    assert payload["request"]["parent"] == HOME
    assert payload["request"]["cluster"]["defaultMaxPodsConstraint"] == {"maxPodsPerNode": "110"}
    assert f"/projects/{FLEET_NUMBER}/" in payload["response"]["targetLink"]
    assert payload["authenticationInfo"] == {"principalEmail": OWNER}
    assert "status" not in payload
    assert set(finished["protoPayload"]) == {
        *("@type", "serviceName", "methodName", "resourceName", "resourceLocation", "status", "metadata")
    }
    assert finished["protoPayload"]["status"] == {}


def test_entries_are_messages_of_the_events_library(cloud: Cloud) -> None:
    cloud.gke.fail_next("create")
    done(cloud, create(cloud))
    with pytest.raises(exceptions.Conflict):
        create(cloud)
    until(lambda: len(cloud.audit) == 3)
    entries = cloud.audit + node_pool_entries(FLEET, "europe-west1", "blue", OWNER)
    codes = []
    for entry in entries:
        data = LogEntryData.from_json(json.dumps(event_data(entry)), ignore_unknown_fields=False)
        assert data.resource.labels["cluster_name"] == "blue"
        codes.append(data.proto_payload.status.code)
    assert codes == [0, 13, 6, 0, 0]


def test_labels_may_be_set_without_an_operation(cloud: Cloud) -> None:
    done(cloud, create(cloud))
    cloud.gke.labels_without_operation = True
    fingerprint = cloud.clusters().get_cluster(name=BLUE).label_fingerprint
    request = {"name": BLUE, "resource_labels": {"a": "b"}, "label_fingerprint": fingerprint}
    done(cloud, cloud.clusters().set_labels(request))
    assert cloud.methods()[-1] == ("SetLabels", "at once")
    assert dict(cloud.clusters().get_cluster(name=BLUE).resource_labels) == {"a": "b"}
