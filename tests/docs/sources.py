"""What the sources tell people: commands in their messages and comments, and the files and headings that they refer to.

A command counts as one where it is marked as such: between backticks, after a colon, an opening parenthesis or at the start of
a text. Prose about a tool ("gcloud refuses it") is none.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.docs import paths, shell
from tests.docs.faults import Code, Fault
from tests.docs.reading import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = r"(?:gcloud|kubectl|terraform|make|argocd|helm|(?:\.venv/bin/)?python3? -m|ops|local)"
QUOTED = re.compile(rf"`({TOOLS} [^`]*)`")
# `make` and `ops` are words of prose, too: without backticks they count only when an option or an assignment follows.
MARKED = re.compile(r"(?:^|: |\(|\n\s*)((?:gcloud|kubectl|terraform|(?:\.venv/bin/)?python3? -m) [a-z-].*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Text:
    """A text for people: a message, a docstring or a comment. `printed` is True for what the product prints."""

    where: str
    text: str
    printed: bool


def python_texts(path: Path, source: str | None = None) -> list[Text]:
    """The string literals, docstrings and comments of a Python file. What an f-string inserts becomes an open value."""
    source = (ROOT / path).read_text() if source is None else source
    nodes = list(ast.walk(ast.parse(source)))
    documented = {id(text) for node in nodes if (text := _docstring(node))}
    inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    names = _constants(nodes)
    found = [
        Text(f"{path}:{node.lineno}", _joined(node, names), id(node) not in documented)
        for node in nodes
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        if isinstance(node, ast.JoinedStr) or id(node) not in inside
    ]
    return found + [Text(f"{path}:{line}", text, printed=False) for line, text in _comments(source)]


def other_texts(path: Path, source: str | None = None) -> list[Text]:
    """The comments of Terraform, YAML, shell and make files, and Terraform's messages."""
    source = (ROOT / path).read_text() if source is None else source
    found: list[Text] = []
    block: list[str] = []
    for number, line in enumerate([*source.splitlines(), ""], 1):
        comment = re.match(r"\s*#+ ?(.*)", line)
        if comment:
            block.append(comment[1])
            continue
        if block:
            found.append(Text(f"{path}:{number - len(block)}", " ".join(block), printed=False))
            block = []
        if path.suffix == ".tf" and (
            message := re.search(r'(?:error_message|description|content)\s*=\s*"(.*)"$', line)
        ):
            text = re.sub(r"\$\{[^}]*\}", shell.OPEN, message[1]).replace('\\"', '"')
            found.append(Text(f"{path}:{number}", text, printed=True))
        elif "`" in line:  # a line of a longer message
            found.append(Text(f"{path}:{number}", re.sub(r"\$\{[^}]*\}", shell.OPEN, line), printed=False))
        elif after := re.search(r"\s#+ (.*)", line):
            found.append(Text(f"{path}:{number}", after[1], printed=False))
    return found


def texts() -> dict[Path, list[Text]]:
    """Every text for people in the sources, by file. Tests tell people nothing but their comments and docstrings."""
    found = {}
    for name in sorted(paths.files()):
        path = Path(name)
        if path.suffix == ".py":
            items = python_texts(path)
            found[path] = [one for one in items if not one.printed] if path.parts[0] == "tests" else items
        elif path.suffix in (".tf", ".yaml", ".hcl", ".mk", ".example", ".toml") or path.name in ("Makefile", "run"):
            found[path] = other_texts(path)
    return found


def commands(items: list[Text]) -> list[shell.Command]:
    """The commands in texts for people. Each is a mention: a message leaves out what its reader knows."""
    found = []
    for one in items:
        for text in _command_texts(one):
            found += shell.commands(shell.spelled_out(text), one.where, 0, shell.Variables(), whole=False)
    return [_at(command) for command in found]


def reference_faults(items: list[Text]) -> list[Fault]:
    """Paths and headings in comments, docstrings and messages that do not exist."""
    found = []
    for one in items:
        for name in paths.references(one.text):
            path, _, _ = name.partition("#")
            if not paths.exists(path):
                found.append(Fault(Code.FILE, one.where, name, "there is no such file or directory"))
            elif paths.missing_heading(name):
                found.append(Fault(Code.HEADING, one.where, name, "the file has no such heading"))
    return found


def _command_texts(items: Text) -> Iterator[str]:
    yield from QUOTED.findall(items.text)
    if items.printed:
        plain = QUOTED.sub("", items.text)
        if found := MARKED.search(plain):
            yield _until_prose(found[1])


def _until_prose(text: str) -> str:
    """The command at the start of a text: up to the end of its line, or the punctuation that ends it."""
    quote = ""
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif (
            char in "\n)" or text[at : at + 2] == " (" or (char in ",;.:" and text[at + 1 : at + 2] in ("", " ", "\n"))
        ):
            return text[:at]
    return text


def _at(command: shell.Command) -> shell.Command:
    file, line, _ = command.where.split(":")
    return shell.Command(f"{file}:{line}", command.text, command.words, command.whole)


def _docstring(node: ast.AST) -> ast.Constant | None:
    body = getattr(node, "body", None)
    first = body[0] if isinstance(body, list) and body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first.value
    return None


def _constants(nodes: list[ast.AST]) -> dict[str, ast.expr]:
    """Names that are assigned a text, so that `f"{kubectl} get …"` can be read."""
    return {
        node.targets[0].id: node.value
        for node in nodes
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        if isinstance(node.value, ast.JoinedStr | ast.Constant)
    }


def _joined(node: ast.expr, names: dict[str, ast.expr]) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else shell.OPEN
    if isinstance(node, ast.JoinedStr):
        return "".join(_joined(part, names) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        inner = node.value
        if isinstance(inner, ast.Name) and inner.id in names:
            return _joined(names[inner.id], {name: value for name, value in names.items() if name != inner.id})
        return shell.OPEN
    return shell.OPEN


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Comments, those of successive lines as one."""
    block: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if block and token.start[0] != last + 1:
            yield last - len(block) + 1, " ".join(block)
            block = []
        block.append(token.string.lstrip("# "))
        last = token.start[0]
    if block:
        yield last - len(block) + 1, " ".join(block)
