"""Prose of the repository, and the expressions that CONTRIBUTING.md#language rules out."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent

# Each expression made readers stop; the right side is what the field says.
HABITS = {
    r"stands?(?! for\b)|standing|stood": "is, exists, current",
    r"told|said|tells? apart": "reported, logged, distinguished",
    r"anew": "again, re-created",
    r"who(?:ever)? (?:asks|looks|reads|says)|whoever|nobody's": "name the person or the component",
    r"mend(?:s|ed|ing)?": "repair, fix, correct",
    r"held against": "compared with",
    r"at rest": "idle, without changes",
    r"look(?:s|ed)? (?:at )?(?:in turn|again)|looked at(?: again)?|a look|two looks": "read, check, pass",
    r"lets? (?:him|her|it|them|us)? ?in|let in": "admit, grant access",
    r"tak(?:e|es|en|ing) in": "register, include",
    r"left alone|leaves? alone": "unchanged, ignored",
    r"in the way": "conflicts with",
    r"the edge": "clients, I/O",
    r"aloud|plainly": "with a reason, explicitly",
    r"as wished|at a stroke|once and for all": "optional; delete it",
    r"somebody else's": "unmanaged",
    r"the brake|braked?": "the removal limit, limited",
    r"(?-i:is none)(?! of)": "is not one",
}
_HABIT = re.compile(rf"\b(?:{'|'.join(HABITS)})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of prose: `file:number`, and its text without inline code and link targets."""

    where: str
    text: str
    raw: str
    kind: str  # paragraph, list, table, heading, comment, name


def documents() -> list[Path]:
    """The Markdown files that users read, relative to the root."""
    patterns = ("*.md", "docs/**/*.md", "local/*.md", "infra/**/*.md", "tests/*.md", ".github/*.md")
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(path.relative_to(ROOT) for path in found if not {".venv", ".terraform"} & set(path.parts))


def sources(*folders: str) -> list[Path]:
    """The Python files of these folders, relative to the root."""
    return sorted(path.relative_to(ROOT) for folder in folders for path in ROOT.glob(folder))


def prose(path: Path) -> Iterator[Line]:
    """The lines of a document outside its fenced blocks."""
    fenced = False
    for number, raw in enumerate((ROOT / path).read_text().splitlines(), 1):
        if raw.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and raw.strip():
            text = re.sub(r"`[^`]*`|\]\([^)]*\)|\"[^\"]*\"", "`", raw)
            yield Line(f"{path}:{number}", text, raw, _kind(raw.lstrip("> ")))


def _kind(text: str) -> str:
    if text.startswith("|"):
        return "table"
    if text.startswith("#"):
        return "heading"
    return "list" if re.match(r"(?:[-*]|\d+\.) |\s{2,}", text) else "paragraph"


def configuration() -> list[Path]:
    """Terraform, YAML and make files, relative to the root."""
    patterns = ("infra/**/*.tf", "infra/**/*.yaml", "infra/**/*.mk", "*.y*ml", ".github/**/*.y*ml", "Makefile", ".ci/*")
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path.relative_to(ROOT) for path in found if ".terraform" not in path.parts)


def lines(path: Path) -> Iterator[Line]:
    """Every line of a file."""
    for number, raw in enumerate((ROOT / path).read_text().splitlines(), 1):
        yield Line(f"{path}:{number}", raw, raw, "line")


def remarks(path: Path) -> Iterator[Line]:
    """The comments and strings of a Python file, line by line, and each name once, as words."""
    text = (ROOT / path).read_text()
    names: set[str] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)):
            for offset, raw in enumerate(token.string.splitlines()):
                yield Line(f"{path}:{token.start[0] + offset}", re.sub(r"`[^`]*`", "`", raw), raw, "comment")
        elif token.type == tokenize.NAME and token.string not in names:
            names.add(token.string)
            yield Line(f"{path}:{token.start[0]}", token.string.replace("_", " "), token.string, "name")


def habits(lines: Iterator[Line]) -> list[str]:
    """`file:line: expression` for each expression that HABITS rules out."""
    return [f"{line.where}: {found[0]}" for line in lines for found in _HABIT.finditer(line.text)]
