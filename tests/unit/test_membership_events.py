"""Membership events into requests: the rows of the table of events (docs/architecture.md#events) about the fleet."""

from __future__ import annotations

from typing import Any

import pytest

from shared.decisions.events import route_membership
from shared.values.errors import PermanentError
from tests.unit.given import NUMBERS

BLUE = "projects/demo-apps/locations/europe-west1/clusters/blue"
EDGE = "projects/demo-fleet/locations/global/memberships/edge"


def membership(**fields: Any) -> dict[str, Any]:
    return {"payload": {"name": EDGE, "state": {"code": "READY"}, **fields}}


GKE = {"gkeCluster": {"resourceLink": f"//container.googleapis.com/{BLUE}"}}
FLEET = "//gkehub.googleapis.com/projects/demo-fleet/locations/global"


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("created", membership(endpoint=GKE), ""),
        ("updated", membership(endpoint=GKE), ""),
        ("created", membership(), "register-membership"),
        ("updated", membership(endpoint={"kubernetesMetadata": {}}), "register-membership"),
        ("created", membership(endpoint={"multiCloudCluster": {"resourceLink": "…"}}), "register-membership"),
        ("created", b"\x0a\x01", "register-membership"),
        ("updated", None, "register-membership"),
        ("updated", {"payload": None}, "register-membership"),
        ("deleted", {}, "remove-secret"),
        ("deleted", None, "remove-secret"),
        ("deleted", membership(endpoint=GKE), "remove-secret"),
        ("moved", membership(), ""),
        ("", None, ""),
    ],
)
def test_a_membership_event_becomes(kind: str, data: Any, expected: str) -> None:
    found = route_membership(kind, data, {"source": FLEET, "subject": "memberships/edge", "id": "e1"}, NUMBERS)
    assert (found.next.topic if found.next else "") == expected
    assert found.reason
    if found.next is not None:
        assert found.next.body() == {"membership": EDGE}


@pytest.mark.parametrize(
    "attributes",
    [
        {"source": f"{FLEET}/memberships/edge"},
        {"source": FLEET, "subject": "memberships/edge"},
        {"source": FLEET, "membership": "edge"},
        {"source": FLEET.replace("demo-fleet", "100000000001"), "subject": "memberships/edge", "membership": "edge"},
        {"source": "//gkehub.googleapis.com/projects/100000000001", "subject": EDGE},
        {"source": "", "subject": f"//gkehub.googleapis.com/{EDGE}"},
        {"source": FLEET.removesuffix("/locations/global"), "subject": "locations/global/memberships/edge"},
        {"source": FLEET.removesuffix("/locations/global"), "membership": "edge", "location": "global"},
        {"source": FLEET.removesuffix("/locations/global"), "subject": "memberships/edge", "location": "global"},
        {"source": FLEET, "membership": "edge", "location": "europe-west1"},
        {"source": "", "membership": EDGE},
    ],
)
def test_a_deleted_membership_is_named_by_any_of_the_events_attributes(attributes: dict[str, str]) -> None:
    found = route_membership("deleted", {}, attributes, NUMBERS).next
    assert found is not None
    assert found.body() == {"membership": EDGE}


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"source": FLEET},
        {"subject": "memberships/edge"},
        {"source": FLEET.replace("demo-fleet", "7"), "subject": "x"},
    ],
)
def test_an_event_that_names_no_membership_is_permanent(attributes: dict[str, str]) -> None:
    with pytest.raises(PermanentError, match="does not say which membership"):
        route_membership("deleted", {}, attributes, NUMBERS)


@pytest.mark.parametrize(
    ("kind", "wait", "topic"), [("created", True, "register-membership"), ("created", False, ""), ("updated", True, "")]
)
def test_new_gke_membership_continues_only_with_wait(kind: str, wait: bool, topic: str) -> None:
    name = "projects/demo-fleet/locations/global/memberships/blue"
    link = "//container.googleapis.com/projects/demo-apps/locations/europe-west1/clusters/blue"
    data = {"payload": {"name": name, "endpoint": {"gkeCluster": {"resourceLink": link}}}}
    found = route_membership(kind, data, {}, NUMBERS, wait=wait).next
    assert (found.topic if found else "") == topic


@pytest.mark.parametrize(
    "name", ["projects/77/locations/global/memberships/x", "projects/UP/locations/a/memberships/x"]
)
def test_an_invalid_membership_name_leaves_the_other_places(name: str) -> None:
    found = route_membership("updated", {"payload": {"name": name}}, {"subject": EDGE}, NUMBERS).next
    assert found is not None
    assert str(found.request.membership) == EDGE
