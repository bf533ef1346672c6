"""One headless Chromium for all tests, and pages that fail the test on any console error."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 60.0


# Of a module: Playwright leaves an event loop running in this thread, in which nothing else can call `asyncio.run`.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        # A container's root has no sandbox of its own; the browser loads nothing but our page.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield found
        found.close()


class Tab:
    """A tab of its own context, and what it has done wrong: reported an error, asked another host, opened a dialogue."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.faults: list[str] = []
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(SECONDS * 1000)
        self.page = self.context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("dialog", self._refuse)
        self.page.on("request", self._watch)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _refuse(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _watch(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "file:", "about:")):
            self.faults.append(f"request: {request.url}")


@pytest.fixture(scope="module")
def kept() -> dict[str, Tab]:
    """The tabs that tests share, by their options: a context costs half a second of processor time."""
    return {}


@pytest.fixture
def tab(browser: Browser, kept: dict[str, Tab]) -> Iterator[Callable[..., Page]]:
    """Open tabs; no tab may report an error, ask anything of another host, or open a dialogue."""
    tabs: list[Tab] = []

    def opened(**options: Any) -> Page:
        shared = kept.get(repr(options))
        tabs.append(Tab(browser, **options) if shared is None or shared in tabs else shared)
        kept.setdefault(repr(options), tabs[-1])
        return tabs[-1].page

    yield opened
    for one in tabs:
        if one in kept.values():
            one.page.unroute_all()
            one.page.goto("about:blank")
            one.context.clear_cookies()
        else:
            one.context.close()
    faults = [fault for one in tabs for fault in one.faults]
    for one in tabs:
        one.faults.clear()
    assert not faults, faults
