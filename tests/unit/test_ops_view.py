"""Which clusters the table shows for an address, in which order; and what happened to a cluster, in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ops import overview
from ops.activity import Activity, Entry
from ops.evidence import Evidence
from ops.page.timeline import timeline
from ops.page.view import View, parse, select
from shared.values.names import ClusterName
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NOW, SETTINGS, secret
from tests.unit.surveys import seen

GREEN = replace(BLUE, name=ClusterName("demo-fleet", "us-east1", "green"), id="c" * 64, labels={"env": "dev"})
AMBER = replace(BLUE, name=ClusterName("demo-apps", "asia-east1", "amber"), id="d" * 64, status="ERROR", labels={})
ROWS = overview.rows(seen([BLUE, GREEN, AMBER], [BLUE_MEMBER, EDGE], [secret()]), SETTINGS, ())


def names(view: View) -> list[str]:
    return [row.name.short for row in select(ROWS, view).rows]


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("name", "amber"),
        ("project", "amber"),
        ("location", "amber"),
        ("kind", "edge"),
        ("written", "amber"),
        ("stage", None),
        ("problem", None),
    ],
)
def test_a_column_sorts_and_its_reverse_is_the_other_way(sort: str, first: str | None) -> None:
    forward, backward = names(View(sort=sort)), names(View(sort=sort, descending=True))
    assert sorted(forward) == sorted(backward) == ["amber", "blue", "edge", "green"]
    assert forward != backward
    if first is not None:
        assert forward[0] == first


def test_problems_come_first() -> None:
    rows = select(ROWS, View()).rows
    assert [row.stage.is_problem for row in rows] == sorted((row.stage.is_problem for row in rows), reverse=True)


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (View(project="demo-fleet"), {"green", "edge"}),
        (View(location="us-east1"), {"green"}),
        (View(label="env"), {"blue", "green", "edge"}),
        (View(label="env=dev"), {"green"}),
        (View(label="env="), set()),
        (View(q="DEMO-APPS amber"), {"amber"}),
        (View(q="amber green"), set()),
        (View(stage="problems"), {row.name.short for row in ROWS if row.stage.is_problem}),
        (View(stage=str(ROWS[0].stage)), {row.name.short for row in ROWS if row.stage == ROWS[0].stage}),
    ],
)
def test_a_filter_leaves_the_rows_that_it_names(view: View, shown: set[str]) -> None:
    assert set(names(view)) == shown
    assert view.is_filtered


def test_a_page_beyond_the_last_is_the_last() -> None:
    page = select(ROWS, View(size=3, page=9))
    assert (page.pages, page.view.page, len(page.rows), page.matching) == (2, 2, 1, 4)
    assert select([], View(page=4)).pages == 1


def test_an_address_says_only_what_is_not_the_default() -> None:
    assert View().address() == "?"
    assert parse({"q": "a", "sort": "name", "order": "desc", "size": "100", "page": "3"}).address(page=3) == (
        "?q=a&sort=name&order=desc&page=3&size=100"
    )


@pytest.mark.parametrize("query", [{"page": "0"}, {"page": "x"}, {"page": "²"}, {"size": "7"}, {"sort": "uid"}])
def test_what_an_address_cannot_mean_is_ignored(query: dict[str, str]) -> None:
    assert parse(query) == View()


def test_what_happened_is_in_order() -> None:
    hour = timedelta(hours=1)
    cluster = replace(BLUE, created=NOW - 5 * hour)
    membership = replace(BLUE_MEMBER, created=NOW - 4 * hour)
    held = replace(secret(held="not-wanted 2026-11-24T11:00:00Z skip-reconcile=ours"), created="2026-11-24T09:30:00")
    entry = Entry(NOW - hour / 2, "grant-rbac", "retry", "denied", "403", attempt=2)
    found = timeline(
        Evidence(
            BLUE.name,
            SETTINGS,
            seen([cluster], [membership], [held]),
            cluster=cluster,
            membership=membership,
            activity=Activity((entry,)),
        )
    )
    assert [moment.what for moment in found] == [
        "cluster created",
        "membership created",
        "Secret created",
        "Secret held",
        "grant-rbac attempt 2 of ?",
    ]
    assert found[2].time == datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    assert [moment.failed for moment in found] == [False] * 4 + [True]


def test_a_time_that_nobody_can_read_is_left_out() -> None:
    spoilt = replace(secret(), created="yesterday")
    found = Evidence(BLUE.name, SETTINGS, seen([BLUE], [BLUE_MEMBER], [spoilt]), cluster=BLUE)
    assert timeline(found) == []
