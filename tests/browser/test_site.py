"""The documentation's site in a browser: its diagrams are drawn, its pictures load, and no page asks anything of another host."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests import npm
from tests.docs.reading import ROOT, documents
from tests.infra.terraform import MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

    Tab = Callable[..., Page]

DRAWN = [
    path.relative_to("docs").with_suffix(".html").as_posix()
    for path in documents()
    if path.parts[0] == "docs" and "```mermaid" in (ROOT / path).read_text()
]


class Quiet(SimpleHTTPRequestHandler):
    """Serves the site, and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the site, built as `make docs` builds it."""
    try:
        npm.fetched(npm.MERMAID)
    except MissingError as error:
        pytest.skip(str(error))
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_page_of_the_documentation_has_a_diagram() -> None:
    assert "architecture.html" in DRAWN


@pytest.mark.parametrize("name", DRAWN)
def test_every_diagram_is_drawn(site: str, tab: Tab, name: str) -> None:
    page = tab()
    page.goto(f"{site}/{name}")
    page.locator("pre.mermaid svg").first.wait_for()
    for diagram in page.locator("pre.mermaid").all():
        assert diagram.locator("svg").count() == 1
        assert diagram.locator("svg .node, svg .cluster, svg .actor").count() > 1
        assert diagram.locator(".error-icon").count() == 0


def test_the_diagram_names_every_function_of_the_chain(site: str, tab: Tab) -> None:
    page = tab()
    page.goto(f"{site}/architecture.html")
    drawn = page.locator("pre.mermaid svg").first.text_content() or ""
    assert all(name in drawn for name in ("route-event", "grant-rbac", "unregister-membership", "sweep"))


def test_the_status_picture_is_on_the_first_page(site: str, tab: Tab) -> None:
    page = tab()
    page.goto(f"{site}/index.html")
    picture = page.locator("img[src='status.png']")
    assert picture.count() == 1
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 500
