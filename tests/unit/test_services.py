"""The outside world of a step, as the settings describe it; and what a list of an inventory hides."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.runtime.services import Services
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.inventory import Inventory
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, SETTINGS, settings
from tests.unit.stub import Identity, Stub, sends, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CENTRAL = SETTINGS.central_membership


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as running:
        yield running


def services(stub: Stub, **changes: str) -> Services:
    overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": f"{stub.url}/" for api in ("GKEHUB", "CONTAINER")}
    found = Services(settings(**overrides, **changes), sleep=lambda _: None)
    found.credentials = Identity()
    return found


def test_a_central_membership_that_is_missing_stops_every_step(stub: Stub) -> None:
    stub.give(sends({"error": {"code": 404, "status": "NOT_FOUND"}}, 404))
    with pytest.raises(RetryableError) as raised:
        _ = services(stub).central_cluster
    assert raised.value.code is ErrorCode.NO_CENTRAL_MEMBERSHIP


@pytest.mark.parametrize(("gke", "kind"), [(True, "gkeMemberships"), (False, "memberships")])
def test_the_central_cluster_may_be_attached(stub: Stub, gke: bool, kind: str) -> None:
    endpoint: dict[str, Any] = {"gkeCluster": {"resourceLink": BLUE.name.link}} if gke else {}
    stub.give(sends({"name": str(CENTRAL), "uniqueId": "u", "endpoint": endpoint}))
    found = services(stub)
    assert found.central_cluster == (BLUE.name if gke else None)
    assert f"/{kind}/{CENTRAL.membership}" in found.central_url
    assert len(stub.seen) == 1


def test_a_function_without_an_identity_is_retried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))
    with pytest.raises(RetryableError) as raised:
        _ = Services(SETTINGS).credentials
    assert raised.value.code is ErrorCode.NO_IDENTITY


def test_a_step_waits_for_the_budget_that_its_gateway_spends(stub: Stub) -> None:
    found = services(stub, GATEWAY_REQUESTS="6")
    found.wait_for_gateway()
    for _ in range(20):
        found._gateway_budget.spend()
    with pytest.raises(RetryableError) as raised:
        found.wait_for_gateway()
    assert raised.value.code is ErrorCode.RATE_LIMITED


LISTED = frozenset({"demo-apps"})


@pytest.mark.parametrize(
    ("location", "missing", "known"),
    [
        ("europe-west1", "europe-west1", False),
        ("europe-west1", "europe-west1-b", False),
        ("europe-west1-b", "europe-west1", False),
        ("europe-west1-b", "europe-west1-b", False),
        ("europe-west1-b", "europe-west1-c", True),
        ("europe-west1", "europe-west12-a", True),
        ("europe-west12", "europe-west1", True),
    ],
)
def test_a_missing_zone_hides_itself_and_its_region(location: str, missing: str, known: bool) -> None:
    """docs/architecture.md#proof-of-deletion."""
    inventory = Inventory(listed=LISTED, missing_zones={"demo-apps": frozenset({missing})})
    assert inventory.knows(replace(BLUE.name, location=location)) is known


def test_a_list_knows_nothing_of_other_projects_or_unreadable_items() -> None:
    assert Inventory(listed=LISTED).knows(BLUE.name)
    assert Inventory(listed=LISTED, missing_zones={"demo-fleet": frozenset({"europe-west1"})}).knows(BLUE.name)
    assert not Inventory().knows(BLUE.name)
    assert not Inventory(listed=LISTED, unreadable={BLUE.name: "x"}).knows(BLUE.name)
    assert Inventory().knows_membership(EDGE.name)
    assert not Inventory(unreachable=frozenset({"global"})).knows_membership(EDGE.name)
    assert Inventory(unreachable=frozenset({"global"})).knows_membership(BLUE_MEMBER.name)
    assert not Inventory(unreadable={EDGE.name: "x"}).knows_membership(EDGE.name)
