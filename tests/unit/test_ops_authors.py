"""Who changed a cluster: the query of Google's audit log, run on entries, and what it tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.google.logging.filters import parse as parse_filter
from ops.authors import Change, newest, parse, projects, query
from tests.unit.given import BLUE, EDGE, SETTINGS

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)
SECRET = f"core/v1/namespaces/argocd/secrets/{BLUE.name.secret_name}"
BINDINGS = "io.k8s.authorization.rbac.v1.clusterrolebindings."


def entry(resource: str, method: str = "x", by: str = "you@example.com", **labels: str) -> dict[str, Any]:
    payload = {
        "resourceName": resource,
        "methodName": method,
        "authenticationInfo": {"principalEmail": by} if by else {},
    }
    return {
        "logName": "projects/demo-apps/logs/cloudaudit.googleapis.com%2Factivity",
        "timestamp": "2026-11-27T11:59:00Z",
        "resource": {"type": "k8s_cluster", "labels": labels},
        "protoPayload": payload,
    }


def is_found(found: dict[str, Any]) -> bool:
    body = query("demo-apps", BLUE.name, EDGE.name, NOW - timedelta(days=1), SETTINGS)
    return parse_filter(body["filter"])(found)


@pytest.mark.parametrize(
    "resource",
    [str(BLUE.name), str(BLUE.name).replace("/locations/", "/zones/"), str(EDGE.name), SECRET],
)
def test_changes_of_its_objects_are_found(resource: str) -> None:
    assert is_found(entry(resource))
    assert not is_found(entry(f"{resource}-2"))
    assert not is_found(entry(resource, by=""))


def test_a_call_that_was_refused_is_no_change() -> None:
    refused = entry(str(BLUE.name))
    assert not is_found({**refused, "protoPayload": {**refused["protoPayload"], "status": {"code": 7}}})
    assert is_found({**refused, "protoPayload": {**refused["protoPayload"], "status": {}}})


def test_what_our_functions_changed_is_left_out() -> None:
    assert not is_found(entry(str(EDGE.name), by="write-secret@demo-fleet.iam.gserviceaccount.com"))
    assert is_found(entry(str(EDGE.name), by="write-secret@demo-apps.iam.gserviceaccount.com"))


def test_changes_of_bindings_in_its_own_cluster_are_found() -> None:
    own = {"cluster_name": BLUE.name.cluster, "location": BLUE.name.location}
    name = "rbac.authorization.k8s.io/v1/clusterrolebindings/fleet-registrar:x"
    assert is_found(entry(name, f"{BINDINGS}delete", **own))
    assert not is_found(entry(name, f"{BINDINGS}delete", **own | {"cluster_name": "red"}))
    assert not is_found(entry(name, "io.k8s.core.v1.pods.delete", **own))


def test_entries_become_the_newest_changes_in_order() -> None:
    found = [entry("r", f"google.container.v1.ClusterManager.M{number}") for number in range(9)]
    changes = newest(parse([*found, *found, {"protoPayload": 1}, {"protoPayload": {"authenticationInfo": {}}}]))
    assert [change.method for change in changes] == [f"container.v1.ClusterManager.M{number}" for number in range(4, 9)]


def test_a_change_is_one_line_that_no_terminal_obeys() -> None:
    line = Change(NOW - timedelta(minutes=5), "Delete\x1b[2J", "you\n@example.com").line(NOW)
    assert line.isprintable()
    assert line.endswith("5 min ago")


def test_the_logs_of_three_projects_at_most_are_read() -> None:
    assert projects(BLUE.name, "demo-fleet", "demo-central") == [BLUE.name.project, "demo-fleet", "demo-central"]
    assert projects(EDGE.name, "demo-fleet", "demo-fleet") == ["demo-fleet"]
