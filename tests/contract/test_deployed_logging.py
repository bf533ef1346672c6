"""Sinks and log entries of what is deployed, read by the official client, and broken once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.cloud.logging import Client as LoggingClient

from tests.contract.deployed import APPS, FLEET, Deployed, deployed, options
from tests.contract.test_deployed import remove, routed

if TYPE_CHECKING:
    from pathlib import Path


def test_the_logging_client_reads_the_sinks(reading: Deployed) -> None:
    client = LoggingClient(project=APPS, _use_grpc=False, **options(reading, "logging"))
    (sink,) = client.list_sinks()
    assert sink.name == "fleet-registrar-clusters"
    assert sink.destination == f"pubsub.googleapis.com/projects/{FLEET}/topics/audit-log-entries"
    assert sink.writer_identity.startswith("serviceAccount:")


def by_sink(here: Deployed) -> list[str]:
    """What became of the entries of the other project: published, lost …"""
    here.cloud.wait_quiet()
    return [
        one["state"] for one in here.cloud.do("eventarc", "since") if one["sink"] and f"projects/{APPS}" in one["name"]
    ]


def test_a_sink_brings_what_its_filter_names(here: Deployed) -> None:
    here.cloud.create_cluster("far", project=APPS)
    here.cloud.wait_for(lambda: by_sink(here) == ["published"])  # the finished entry; the started one is left out
    path = f"v2/projects/{APPS}/sinks/fleet-registrar-clusters"
    _, sink = here.call("logging", "GET", path)
    assert here.call("logging", "PUT", path, sink | {"filter": 'resource.type="gce_instance"'})[0] == 200
    here.cloud.delete_cluster(f"projects/{APPS}/locations/europe-west1/clusters/far")
    here.cloud.wait_quiet()
    assert by_sink(here) == ["published"]


def test_a_sink_that_may_not_publish_loses_entries(here: Deployed) -> None:
    remove(here, f"v1/projects/{FLEET}/topics/audit-log-entries", "roles/pubsub.publisher", api="pubsub")
    here.cloud.create_cluster("far", project=APPS)
    here.cloud.wait_for(lambda: by_sink(here) == ["lost"])


def test_entries_of_the_fleets_own_project_come_by_triggers_alone(tmp_path: Path) -> None:
    with deployed(tmp_path) as here:
        blue = here.cloud.create_cluster("blue")
        here.cloud.wait_for(lambda: routed(here, blue) == 2)  # started and finished, by triggers
        here.cloud.wait_quiet()
        names = [(one["name"], one["sink"]) for one in here.cloud.do("eventarc", "since") if one["name"].endswith(blue)]
        assert not any(by_sink for _, by_sink in names)
        assert names.count((f"CreateCluster.finished {blue}", False)) == 1


def test_the_logging_client_reads_all_pages_of_entries(here: Deployed) -> None:
    client = LoggingClient(project=FLEET, _use_grpc=False, **options(here, "logging"))
    wanted = 'resource.labels.service_name="sweep" jsonPayload.decision="noted"'

    def noted(**how: Any) -> list[str]:
        return [entry.insert_id for entry in client.list_entries(filter_=wanted, **how)]

    before = len(noted(page_size=1000))
    for number in range(5):
        here.cloud.publish("sweep", {"number": number})
    here.cloud.wait_for(lambda: len(noted(page_size=1000)) == before + 5)
    found = noted(order_by="timestamp desc", page_size=2)
    assert len(found) == len(set(found)) == before + 5
    assert sorted(noted(page_size=1000)) == sorted(found)


@pytest.mark.parametrize(
    "body",
    [
        {"resourceNames": []},
        {"resourceNames": [f"projects/{FLEET}/locations/global/buckets/x/views/y"]},
        {"filter": 'SEARCH("x")'},
        {"filter": "a=("},
        {"orderBy": "severity"},
        {"pageSize": 0.5},
        {"pageSize": 1001},
        {"pageToken": "x"},
    ],
)
def test_a_read_that_is_wrong_or_left_out_is_refused(reading: Deployed, body: dict[str, Any]) -> None:
    status, answer = reading.call("logging", "POST", "v2/entries:list", {"resourceNames": [f"projects/{FLEET}"]} | body)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_what_a_function_logs_is_read_by_the_logging_client(here: Deployed) -> None:
    here.cloud.publish("sweep", {})
    here.cloud.wait_for(lambda: here.swept() == 1)
    client = LoggingClient(project=FLEET, _use_grpc=False, **options(here, "logging"))
    asked = 'resource.type="cloud_run_revision" resource.labels.service_name="sweep" jsonPayload.decision="noted"'
    (entry,) = here.cloud.wait_for(lambda: list(client.list_entries(filter_=asked)))
    assert (entry.severity, entry.payload["message"]) == ("NOTICE", "noted")
    assert entry.log_name == f"projects/{FLEET}/logs/run.googleapis.com%2Fstdout"
