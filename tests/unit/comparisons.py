"""Comparisons to start from: one GKE cluster or one attached cluster, and what was read of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.decisions.differences import differences
from shared.values.inventory import Inventory
from shared.values.selector import Selector
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NOW, SETTINGS, secret

if TYPE_CHECKING:
    from shared.values.codes import FindingCode
    from shared.values.findings import Differences, PlannedRequest
    from shared.values.settings import Settings

JOINED = replace(BLUE, fleet_project="demo-fleet", membership=BLUE_MEMBER.name)
ALL: dict[str, Any] = {
    "secrets": (secret(),),
    "clusters": {BLUE.name: JOINED},
    "memberships": {BLUE_MEMBER.name: BLUE_MEMBER},
    "listed": frozenset(SETTINGS.source_projects),
}
ATTACHED: dict[str, Any] = {
    "secrets": (secret(None, EDGE),),
    "memberships": {EDGE.name: EDGE},
    "listed": frozenset(SETTINGS.source_projects),
}
NONE_SELECTED = replace(SETTINGS, selector=Selector.parse("env=never"))


def compared(changes: dict[str, Any] | None = None, settings: Settings = SETTINGS, base: Any = None) -> Differences:
    inventory = Inventory(**{**(base or ALL), **(changes or {})})
    return differences(inventory, settings, central=None, now=NOW)


def codes(found: Differences) -> list[FindingCode]:
    return [*(each.code for each in found.requests), *(each.code for each in found.findings)]


def only(found: Differences) -> PlannedRequest:
    [request] = found.requests
    assert found.findings == ()
    return request
