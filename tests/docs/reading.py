"""Markdown in, its parts out: fenced blocks, inline code, links and headings, each with the line where it starts."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).parent.parent.parent
# Languages of fenced blocks. `sh` holds commands, `text` holds output and pictures; README.md beside this file says more.
SHELL = "sh"
LOCAL = "local"
LANGUAGES = {SHELL, "text", "mermaid", "python", "yaml", "json", "hcl", "diff"}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `info` is what follows the fence: the language, then words such as `local`."""

    where: str
    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        """The first word after the fence; empty if there is none."""
        return self.info.split()[0] if self.info else ""

    @property
    def runs_locally(self) -> bool:
        """True if the walk runs the block on the local cloud."""
        return self.info.split() == [SHELL, LOCAL]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of inline code, or the target of a link or image."""

    where: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A Markdown file. `path` is relative to the repository."""

    path: Path
    blocks: tuple[Block, ...]
    spans: tuple[Span, ...]
    links: tuple[Span, ...]
    anchors: frozenset[str]


def documents() -> list[Path]:
    """The Markdown files of the repository that people read, relative to its root."""
    patterns = ("*.md", "docs/**/*.md", "local/**/*.md", "infra/**/*.md", "tests/**/*.md")
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(path.relative_to(ROOT) for path in found if ".terraform" not in path.parts)


def read(path: Path, text: str | None = None) -> Document:
    """Parse a document; `text` replaces the content of the file."""
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / path).read_text() if text is None else text)
    where = path.as_posix()
    return Document(
        path,
        tuple(
            Block(where, _line(token), token.info.strip(), token.content) for token in tokens if token.type == "fence"
        ),
        tuple(Span(where, line, child.content) for line, child in _inline(tokens) if child.type == "code_inline"),
        tuple(Span(where, line, target) for line, child in _inline(tokens) for target in _targets(child)),
        frozenset(_anchors(tokens)),
    )


def _line(token: Token) -> int:
    return token.map[0] + 1 if token.map else 0


def _inline(tokens: list[Token]) -> Iterator[tuple[int, Token]]:
    for token in tokens:
        line = _line(token)
        for child in token.children or []:
            yield line, child
            line += child.type in ("softbreak", "hardbreak")


def _targets(token: Token) -> list[str]:
    return [str(token.attrs[name]) for name in ("href", "src") if name in token.attrs]


def _anchors(tokens: list[Token]) -> Iterator[str]:
    """The anchors that GitHub gives to headings; the second of two equal ones ends with `-1`."""
    seen: Counter[str] = Counter()
    for before, token in itertools.pairwise(tokens):
        if before.type == "heading_open":
            text = "".join(child.content for child in token.children or [])
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            yield f"{slug}-{seen[slug]}" if seen[slug] else slug
            seen[slug] += 1
