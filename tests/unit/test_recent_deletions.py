"""The deletion of a cluster announces that of its membership (docs/architecture.md#events)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.runtime.recent_deletions import KEPT_FOR, RecentDeletions
from tests.unit.given import BLUE, EDGE, NOW

OWN = BLUE.name.membership("demo-fleet")
SECOND = timedelta(seconds=1)


def noted() -> RecentDeletions:
    recent = RecentDeletions()
    recent.note(OWN, NOW)
    return recent


def test_a_noted_deletion_covers_one_event_of_its_membership() -> None:
    recent = noted()
    assert recent.take(OWN, NOW)
    assert not recent.take(OWN, NOW)


def test_another_membership_is_not_covered() -> None:
    assert not noted().take(EDGE.name, NOW)


@pytest.mark.parametrize(("later", "covered"), [(KEPT_FOR - SECOND, True), (KEPT_FOR, False), (-SECOND, False)])
def test_a_deletion_is_noted_for_ten_minutes(later: timedelta, covered: bool) -> None:
    assert noted().take(OWN, NOW + later) is covered


def test_a_created_cluster_ends_the_note() -> None:
    recent = noted()
    recent.forget(OWN)
    recent.forget(EDGE.name)
    assert not recent.take(OWN, NOW)


def test_the_last_thousand_deletions_are_noted() -> None:
    recent = noted()
    for number in range(1000):
        recent.note(BLUE.name.membership(f"fleet-{number}"), NOW)
    assert not recent.take(OWN, NOW)
    assert recent.take(BLUE.name.membership("fleet-0"), NOW)
