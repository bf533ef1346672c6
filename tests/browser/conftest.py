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


@pytest.fixture
def tab(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open tabs; no tab may report an error, ask anything of another host, or open a dialogue."""
    faults: list[str] = []
    contexts = []

    def opened(**options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(SECONDS * 1000)
        page = context.new_page()

        def note(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                faults.append(f"console: {message.text}")

        def refuse(dialog: Dialog) -> None:
            faults.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        def watch(request: Request) -> None:
            if not request.url.startswith(("http://127.0.0.1:", "data:", "file:")):
                faults.append(f"request: {request.url}")

        page.on("console", note)
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.on("dialog", refuse)
        page.on("request", watch)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not faults, faults
