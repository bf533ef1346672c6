"""Hooks of the documentation's site (mkdocs.yml): README.md is its first page, links out of docs/ become file names,
and mermaid draws the diagrams in the reader's browser.

npm fetches mermaid once, into the cache outside of the checkout. The site has a copy, so no page loads anything from elsewhere.
"""

from __future__ import annotations

import html
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # mkdocs runs a hook as a file of its own

from tests import npm
from tests.infra.terraform import MissingError

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
INFO = re.compile(r"^(\s*```\w+) \w.*$", re.MULTILINE)
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIAGRAM_CLASS = '<pre class="mermaid">'
SCRIPT = "mermaid.min.js"
LOG = get_plugin_logger("mermaid")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README.md as the first page."""
    files.append(File.generated(config, "index.md", content=_moved((ROOT / "README.md").read_text())))
    return files


def on_page_markdown(markdown: str, **given: Any) -> str:
    """Return the page with links that the site has; the rest of the repository is named."""
    folder = (ROOT / "docs" / given["page"].file.src_uri).parent

    def inside(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.is_relative_to(ROOT / "docs") or target == ROOT / "README.md":
            return link[0]
        return f"{link[1]} (`{target.relative_to(ROOT)}`)"

    return LINK.sub(inside, INFO.sub(r"\1", DIAGRAM.sub(_diagram, markdown)))


def on_page_content(content: str, **given: Any) -> str:
    """Load mermaid on a page with a diagram; it draws what is in `pre.mermaid` when the page is loaded."""
    if DIAGRAM_CLASS not in content:
        return content
    to_root = "../" * given["page"].file.src_uri.count("/")
    return f'{content}<script src="{to_root}{SCRIPT}"></script>\n'


def on_post_build(config: MkDocsConfig) -> None:
    """Put mermaid into the site."""
    try:
        shutil.copy(npm.fetched(npm.MERMAID), Path(config.site_dir) / SCRIPT)
    except MissingError as error:
        LOG.warning("%s", error)


def _diagram(block: re.Match[str]) -> str:
    return f"{DIAGRAM_CLASS}\n{html.escape(block[1])}</pre>"


def _moved(readme: str) -> str:
    """Return README.md as a page of docs/: its links are relative to that folder."""
    return LINK.sub(
        lambda link: (
            f"[{link[1]}]({link[2].removeprefix('docs/') if link[2].startswith('docs/') else '../' + link[2]}"
            f"{link[3] or ''})"
        ),
        readme,
    )
