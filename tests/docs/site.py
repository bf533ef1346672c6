"""Hooks of the documentation's site (mkdocs.yml): README.md is its first page, and links out of docs/ become file names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
INFO = re.compile(r"^(\s*```\w+) \w.*$", re.MULTILINE)


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

    return LINK.sub(inside, INFO.sub(r"\1", markdown))


def _moved(readme: str) -> str:
    """Return README.md as a page of docs/: its links are relative to that folder."""
    return LINK.sub(
        lambda link: (
            f"[{link[1]}]({link[2].removeprefix('docs/') if link[2].startswith('docs/') else '../' + link[2]}"
            f"{link[3] or ''})"
        ),
        readme,
    )
