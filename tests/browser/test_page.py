"""The page of given values: search, filters, sorting, paging, keyboard, no script, dark mode, 320 px, axe, hostile text."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ops.activity import Log
from ops.page.render import snapshot
from shared.values.names import ClusterName
from tests.browser.shown import served
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NOW, secret
from tests.unit.surveys import seen, theirs
from tests.unit.test_status_page import HOSTILE, board, entry

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    Tab = Callable[..., Page]


def cluster(index: int) -> ClusterName:
    return ClusterName(f"team-{index % 3}", ("europe-west1", "us-east1")[index % 2], f"c{index:03}")


@pytest.fixture(scope="module")
def fleet() -> Iterator[str]:
    """120 clusters of other projects, one cluster without a Secret, an agent that is lost, and a failure."""
    several = [replace(BLUE, name=cluster(index), labels={"env": f"e{index % 4}"}) for index in range(120)]
    lost = replace(EDGE, last_connection=NOW - timedelta(hours=1))
    survey = seen([BLUE, *several], [BLUE_MEMBER, lost], [])
    log = Log((entry(attempt=7, attempts=20),), (entry(attempt=7, attempts=20),), ())
    with served(board(survey, log, letters=2)) as address:
        yield address


def names(page: Page) -> list[str]:
    return page.locator("#table tbody th").all_inner_texts()


def test_search_and_filters_leave_what_they_ask_for(fleet: str, tab: Tab) -> None:
    page = tab()
    page.goto(fleet)
    page.get_by_label("Search").fill("c07 europe-west1")
    page.get_by_role("button", name="Show", exact=True).click()
    assert sorted(names(page)) == ["c070", "c072", "c074", "c076", "c078"]
    page.get_by_role("combobox", name="Project").select_option("team-0")
    page.get_by_label("Label").fill("env=e0")
    page.get_by_role("button", name="Show", exact=True).click()
    assert names(page) == ["c072"]
    page.get_by_role("link", name="Show all").click()
    assert page.locator("#table caption").inner_text().startswith("122 of 122")
    page.get_by_role("combobox", name="State").select_option("problems")
    page.get_by_role("button", name="Show", exact=True).click()
    assert sorted(names(page)) == ["blue", "edge"]
    page.get_by_role("combobox", name="Kind").select_option("attached")
    page.get_by_role("button", name="Show", exact=True).click()
    assert names(page) == ["edge"]


def test_a_click_sorts_and_another_reverses(fleet: str, tab: Tab) -> None:
    page = tab()
    page.goto(fleet)
    page.locator("#table thead").get_by_role("link", name="Cluster").click()
    up = names(page)
    assert up == sorted(up)
    assert page.locator("th[aria-sort=ascending]").inner_text() == "Cluster"
    page.locator("#table thead").get_by_role("link", name="Cluster").click()
    assert names(page)[0] == "edge"
    assert page.locator("th[aria-sort=descending]").inner_text() == "Cluster"


def test_pages_hold_every_cluster_once(fleet: str, tab: Tab) -> None:
    page = tab()
    page.goto(fleet)
    found = names(page)
    while page.get_by_role("link", name="Next").count():
        page.get_by_role("link", name="Next").click()
        found += names(page)
    assert len(found) == len(set(found)) == 122


def test_a_problem_leads_to_its_cause_and_command_in_one_click(fleet: str, tab: Tab) -> None:
    page = tab()
    page.goto(fleet)
    page.locator("#problems ~ ul").get_by_role("link", name=str(BLUE.name)).click()
    assert "attempt 7 of 20" in page.locator("ol.time").inner_text()
    assert any("python -m ops doctor" in one for one in page.locator("pre.command").all_inner_texts())


def test_the_keyboard_reaches_everything(fleet: str, tab: Tab) -> None:
    page = tab()
    page.goto(fleet)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("c007")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=c007**")
    assert names(page) == ["c007"]
    page.locator("#table tbody th a").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/cluster?**")
    assert page.get_by_role("heading", level=1).inner_text() == "c007"


def test_it_works_without_script(fleet: str, tab: Tab) -> None:
    page = tab(java_script_enabled=False)
    page.goto(fleet)
    page.get_by_label("Search").fill("c007")
    page.get_by_role("button", name="Show", exact=True).click()
    page.locator("#table tbody th a").click()
    assert page.get_by_role("heading", level=1).inner_text() == "c007"


def test_dark_mode_is_dark(fleet: str, tab: Tab) -> None:
    def background(scheme: str) -> str:
        page = tab(color_scheme=scheme)
        page.goto(fleet)
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert background("light") == "rgb(255, 255, 255)"
    assert background("dark") == "rgb(20, 23, 27)"


@pytest.mark.parametrize("path", ["", "cluster?name=blue", "?stage=problems", "?q=nothing-like-this"])
def test_320_pixels_are_enough(fleet: str, tab: Tab, path: str) -> None:
    page = tab(viewport={"width": 320, "height": 640})
    page.goto(fleet + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", "cluster?name=blue", "cluster?name=nope", "?q=nothing-like-this"])
def test_axe_finds_nothing(fleet: str, tab: Tab, path: str, scheme: str) -> None:
    # axe is put into the page by the test, which the page's own policy would refuse.
    page = tab(color_scheme=scheme, bypass_csp=True)
    if "nope" in path:
        page.route("**/favicon.ico", lambda route: route.abort())
    page.goto(fleet)
    page.goto(fleet + path) if "nope" not in path else page.set_content(_body(fleet + path))
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def _body(address: str) -> str:
    """The body of an answer whose status the browser would report as an error."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())


def test_hostile_text_does_nothing(tab: Tab) -> None:
    stranger = replace(BLUE, labels={HOSTILE: HOSTILE, "<img src=x onerror=alert(1)>": "1"}, status=HOSTILE)
    log = Log((entry(message=HOSTILE, cluster=HOSTILE),), (entry(message=HOSTILE),))
    survey = seen([stranger], [replace(BLUE_MEMBER, state=HOSTILE)], [secret()], [theirs(HOSTILE)])
    with served(board(survey, log)) as address:
        page = tab()
        for path in ("", "cluster?name=blue", '?q="><script>alert(1)</script>&label=%E2%80%AE', "?project=<b>"):
            page.goto(address + path)
            assert page.locator("img, iframe, b").count() == 0
            assert page.locator("script").count() == 1
            text = page.locator("body").inner_text()
            assert all(one.isprintable() or one in "\n\t" for one in text), [
                ascii(one) for one in text if not one.isprintable()
            ]


def test_a_snapshot_needs_no_server(tab: Tab, tmp_path: Path) -> None:
    file = tmp_path / "status.html"
    file.write_text(snapshot(board(seen([BLUE], [BLUE_MEMBER]))), encoding="utf-8")
    page = tab()
    page.goto(file.as_uri())
    assert names(page) == ["blue"]
    assert "no event or request has reached a step" in page.locator("main").inner_text()
    assert page.locator("main a[href^='?'], main a[href^='cluster']").count() == 0
