"""Shell text in, its simple commands out, with quotes and variables resolved as far as the text itself tells them."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tree_sitter
import tree_sitter_bash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node

_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))
# A value that the text leaves open: a number, because it must pass as text, as a number and as a name.
OPEN = "1"
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command. `whole`: everything it needs is there; False where prose only mentions it."""

    where: str
    text: str
    words: tuple[str, ...]
    whole: bool = True

    @property
    def name(self) -> str:
        """The program, without its directory."""
        return self.words[0].rpartition("/")[2]


@dataclass
class Variables:
    """The shell variables that a document has set so far, and those that it reads without having set them."""

    values: dict[str, str] = field(default_factory=dict)
    unset: list[str] = field(default_factory=list)

    def value(self, name: str) -> str:
        """The value of a variable; an open value if only running the document tells it."""
        if name not in self.values:
            self.unset.append(name)
        return self.values.get(name, OPEN)


def syntax_error(text: str) -> str:
    """What bash says of the syntax of a text; empty if it is correct or there is no bash."""
    if not shutil.which("bash"):
        return ""
    ran = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return ran.stderr.strip()


def commands(text: str, where: str, line: int, variables: Variables, *, whole: bool = True) -> list[Command]:
    """Every simple command of a text, those in loops, pipes and substitutions included; `line` is the text's first."""
    return list(_commands(_PARSER.parse(text.encode()).root_node, where, line, variables, whole=whole))


def spelled_out(text: str) -> str:
    """A command as it is typed: prose writes `ops plan` for `python -m ops plan`."""
    return re.sub(r"^(ops|local)(?= |$)", r"python -m \1", text)


def statements(text: str) -> list[str]:
    """The statements of a text, each as it is typed, without comments."""
    root = _PARSER.parse(text.encode()).root_node
    return [_text(node) + _background(node) for node in root.named_children if node.type != "comment"]


def _background(node: Node) -> str:
    following = node.next_sibling
    return " &" if following is not None and following.type == "&" else ""


def _commands(node: Node, where: str, line: int, variables: Variables, *, whole: bool) -> Iterator[Command]:
    if node.type == "variable_assignment":
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is not None:
            variables.values[_text(name)] = _word(value, variables) if value is not None else ""
    if node.type == "for_statement" and (name := node.child_by_field_name("variable")) is not None:
        variables.values[_text(name)] = OPEN
    for child in node.named_children:
        yield from _commands(child, where, line, variables, whole=whole)
    if node.type == "command":
        parts = [child for child in node.children if child.type not in ("variable_assignment", "file_redirect")]
        if not whole:  # prose writes `…` for words that it leaves out
            parts = [part for part in parts if _text(part) != ELLIPSIS]
        words = tuple(_word(part, variables) for part in parts)
        if words[0] in ("source", "."):
            variables.values |= dict.fromkeys(("KUBECONFIG", "LOCAL_CLOUD"), OPEN)
        yield Command(f"{where}:{line + node.start_point[0]}", _text(node), words, whole)


def _word(node: Node, variables: Variables) -> str:
    if node.type == "raw_string":
        return _text(node)[1:-1]
    if node.type in ("simple_expansion", "expansion"):
        name = next((child for child in node.named_children if child.type == "variable_name"), None)
        return variables.value(_text(name)) if name is not None else OPEN
    if node.type in ("command_substitution", "process_substitution"):
        return OPEN
    if node.type in ("string", "concatenation", "command_name"):
        source, at, result = node.text or b"", node.start_byte, ""
        for child in node.named_children:
            result += _plain(source[at - node.start_byte : child.start_byte - node.start_byte]) + _word(
                child, variables
            )
            at = child.end_byte
        return result + _plain(source[at - node.start_byte :])
    return re.sub(r"\\(.)", r"\1", _text(node)).replace(ELLIPSIS, OPEN)


def _plain(between: bytes) -> str:
    return between.decode().replace('"', "")


def _text(node: Node) -> str:
    return (node.text or b"").decode()
