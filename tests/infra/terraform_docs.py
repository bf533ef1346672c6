"""The tables of a Terraform module's requirements, inputs and outputs, as terraform-docs writes them.

`make terraform-docs` writes them into each module's README.md. The settings are those of infra/terraform/.terraform-docs.yml:
`terraform-docs infra/terraform` writes the same text, and a test compares the two where the program is installed.
"""

# ruff: noqa: T201 - a command, which talks to a person

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tree_sitter
import tree_sitter_hcl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node

ROOT = Path(__file__).resolve().parents[2] / "infra" / "terraform"
MODULES = (ROOT, ROOT / "modules" / "sink", ROOT / "modules" / "chat-webhook")
BEGIN, END = "<!-- BEGIN_TF_DOCS -->", "<!-- END_TF_DOCS -->"
_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_hcl.language()))


@dataclass(frozen=True, slots=True)
class Block:
    """A block of HCL: its type, its labels, and the source text of each attribute."""

    type: str
    labels: tuple[str, ...]
    attributes: dict[str, str]
    blocks: tuple[Block, ...]


def tables(module: Path) -> str:
    """Return the text between the two marks of a module's README.md."""
    found = [block for file in sorted(module.glob("*.tf")) for block in _blocks(_parse(file))]
    sections = (
        ("Requirements", ("Name", "Version"), ("----", "-------"), _requirements(found)),
        (
            "Inputs",
            ("Name", "Description", "Type", "Default", "Required"),
            ("----", "-----------", "----", "-------", ":------:"),
            _inputs(found),
        ),
        ("Outputs", ("Name", "Description"), ("----", "-----------"), _outputs(found)),
    )
    return "\n\n".join(_section(*one) for one in sections)


def injected(module: Path) -> str:
    """Return README.md of a module with the tables of its files."""
    text = (module / "README.md").read_text()
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{module / 'README.md'} lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{tables(module)}\n{END}{after}"


def _section(title: str, names: tuple[str, ...], rules: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return f"## {title}\n\nNo {title.lower()}."
    return "\n".join([f"## {title}", "", *(f"| {' | '.join(row)} |" for row in (names, rules, *rows))])


def _requirements(blocks: list[Block]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for block in blocks:
        if block.type == "terraform":
            if version := block.attributes.get("required_version"):
                found.append(("terraform", json.loads(version)))
            for inner in block.blocks:
                if inner.type == "required_providers":
                    providers = {
                        name: re.search(r'version\s*=\s*"([^"]*)"', text) for name, text in inner.attributes.items()
                    }
                    found += [(name, match[1]) for name, match in sorted(providers.items()) if match]
    return found


def _inputs(blocks: list[Block]) -> list[tuple[str, ...]]:
    rows = [
        (
            block.labels[0],
            _prose(block.attributes.get("description", "")),
            _code(block.attributes.get("type", "any")),
            _code(_pretty(block.attributes["default"])) if "default" in block.attributes else "n/a",
            "no" if "default" in block.attributes else "yes",
        )
        for block in blocks
        if block.type == "variable"
    ]
    return sorted(rows, key=lambda row: (row[4] == "no", row[0]))


def _outputs(blocks: list[Block]) -> list[tuple[str, ...]]:
    return sorted(
        (block.labels[0], _prose(block.attributes.get("description", ""))) for block in blocks if block.type == "output"
    )


def _prose(source: str) -> str:
    """Return a description as a cell: each line break is `<br/>`, and a `|` outside of code is escaped."""
    parts = _value(source).strip().split("`")
    parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
    return re.sub(r" *\n", "<br/>", "`".join(parts)) or "n/a"


def _code(text: str) -> str:
    """Return source text as a cell: several lines are a `pre`."""
    return f"<pre>{text.replace(chr(10), '<br/>')}</pre>" if "\n" in text else f"`{text}`"


def _pretty(source: str) -> str:
    """Return a default as JSON, which the literals of HCL in our files are, but for the keys of maps."""
    return json.dumps(json.loads(re.sub(r"(\w+)\s*=", r'"\1":', source)), indent=2, sort_keys=True, ensure_ascii=False)


def _value(source: str) -> str:
    """Return the text of a string literal or of a heredoc with `<<-`."""
    if not source.startswith("<<-"):
        value: Any = json.loads(source) if source else ""
        return str(value)
    _, _, body = source.partition("\n")
    return textwrap.dedent(body.rpartition("\n")[0])


def _parse(file: Path) -> Node:
    root = _PARSER.parse(file.read_bytes()).root_node
    if root.has_error:
        raise ValueError(f"{file} is not HCL that can be parsed")
    return root


def _blocks(node: Node) -> Iterator[Block]:
    """Yield the blocks below a file or a block."""
    for body in (child for child in node.children if child.type == "body"):
        for block in (child for child in body.children if child.type == "block"):
            words = [_text(child).strip('"') for child in block.children if child.type in ("identifier", "string_lit")]
            attributes = {
                _text(attribute.children[0]): _text(attribute.children[2])
                for inner in block.children
                if inner.type == "body"
                for attribute in inner.children
                if attribute.type == "attribute"
            }
            yield Block(words[0], tuple(words[1:]), attributes, tuple(_blocks(block)))


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def main() -> None:
    """Write the tables of all modules."""
    for module in MODULES:
        readme = module / "README.md"
        text = injected(module)
        if readme.read_text() != text:
            readme.write_text(text)
            print(f"{readme.relative_to(ROOT.parents[1])}: written")


if __name__ == "__main__":
    main()
