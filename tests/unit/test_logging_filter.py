"""The logging query language of the local cloud, on the filters that Terraform deploys and on each operator."""

from __future__ import annotations

from typing import Any

import pytest

from local.deployment import SINK_FILTER
from local.google.audit import AuditedCall, node_pool_entries
from local.google.logging.filters import parse
from local.google.wire import GoogleError

CALL = AuditedCall("CreateCluster", "demo-apps", "europe-west1", "blue", "you@example.com", {})
OPERATION = {"name": "operation-1", "operationType": "CREATE_CLUSTER", "status": "RUNNING"}
ENTRY: dict[str, Any] = {
    "logName": "projects/demo-fleet/logs/run.googleapis.com%2Fstdout",
    "timestamp": "2026-11-27T21:00:00.5Z",
    "severity": "ERROR",
    "resource": {"type": "cloud_run_revision", "labels": {"service_name": "sweep"}},
    "jsonPayload": {"decision": "swept", "requests": 12, "complete": True, "message": 'the answer is "no"'},
    "labels": {"k8s-pod/app": "x"},
}


def test_the_deployed_sink_takes_finished_entries_and_started_deletions() -> None:
    matches = parse(SINK_FILTER.replace("${var.project}", "demo-fleet"))
    delete = AuditedCall("DeleteCluster", "demo-apps", "europe-west1", "blue", "you@example.com", {})
    assert matches(CALL.finished(OPERATION))
    assert not matches(CALL.started(OPERATION))
    assert matches(delete.started(OPERATION))
    assert matches(CALL.refused(GoogleError(409, "it is there")))
    own = AuditedCall("CreateCluster", "demo-fleet", "europe-west1", "blue", "you@example.com", {})
    assert not matches(own.finished(OPERATION))  # they come by triggers
    assert not any(
        matches(entry) for entry in node_pool_entries("demo-apps", "europe-west1", "blue", "you@example.com")
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        'resource.type="cloud_run_revision" resource.labels.service_name="sweep" jsonPayload.decision="swept"',
        'log_id("run.googleapis.com/stdout")',
        "severity>=WARNING",
        "severity<CRITICAL AND severity!=INFO",
        'timestamp>="2026-11-27T20:59:00+00:00"',
        "jsonPayload.requests>9",
        "jsonPayload.complete=true",
        "jsonPayload.requests:*",
        "NOT jsonPayload.error:*",
        "-jsonPayload.error:*",
        'jsonPayload.decision=~"^sw"',
        'jsonPayload.decision!~"^x"',
        'jsonPayload.message:"answer"',
        'jsonPayload.message="the answer is \\"no\\""',
        'labels."k8s-pod/app"="x"',
        'jsonPayload.decision="other" OR jsonPayload.decision="swept" AND severity=ERROR',
        '(jsonPayload.decision="other" OR severity=ERROR) -- a comment',
        "swept",
        'jsonPayload.decision=("other" OR "swept")',
        "severity=(ERROR OR CRITICAL) AND jsonPayload.requests>=(1 AND 12)",
        'jsonPayload.decision=(NOT "other" AND NOT "third")',
        'timestamp<"2026-11-27T22:00:00.250+00:30" timestamp>="2026-11-27T21:00:00.500000000Z"',
    ],
)
def test_a_filter_matches(text: str) -> None:
    assert parse(text)(ENTRY)


@pytest.mark.parametrize(
    "text",
    [
        'resource.type="gke_cluster"',
        "severity>ERROR",
        "jsonPayload.requests>100",
        "jsonPayload.error:*",
        'timestamp>="2026-11-27T21:01:00Z"',
        'jsonPayload.decision="swept" AND severity=INFO',
        'NOT (jsonPayload.decision="swept")',
        'jsonPayload.decision!="swept"',
        "nothing-like-it",
        'jsonPayload.decision=("other" OR "third")',
        'jsonPayload.decision=("swept" AND "third")',
    ],
)
def test_a_filter_does_not_match(text: str) -> None:
    assert not parse(text)(ENTRY)


@pytest.mark.parametrize(
    "text",
    ['a="', "(a=1", 'a=~"("', "a=", "OR", 'log_id("x"', "a=1 )", "a=()", "a=(1 OR", "a=(1 2)", "a=(1 OR 2 AND 3)"],
)
def test_a_filter_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(GoogleError) as refused:
        parse(text)
    assert refused.value.code == 400


@pytest.mark.parametrize("text", ['SEARCH("x")', "sample(insertId, 0.1)", 'severity=ERROR ip_in_net(a, "10.0.0.0/8")'])
def test_a_function_that_is_left_out_is_named(text: str) -> None:
    with pytest.raises(GoogleError, match="is left out here") as refused:
        parse(text)
    assert refused.value.code == 400
