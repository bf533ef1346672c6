"""All that a document says that can be checked: its blocks, inline code, links and file names."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING

import yaml

from tests.docs import paths, shell
from tests.docs.faults import Code, Fault
from tests.docs.reading import LANGUAGES, SHELL, Document
from tests.docs.tools import CHECKS

if TYPE_CHECKING:
    from tests.docs.reading import Block

# What a shell has without anybody setting it.
SHELL_VARIABLES = ("HOME", "PATH", "PWD", "USER")
# Inline code that begins with one of these is a command, or a part of one.
_NAMES = "|".join((*CHECKS, "ops", "local", "python3", "argocd", "helm"))
COMMAND = re.compile(rf"(?:\S*/)?(?:{_NAMES}) [^\s(].*")


def commands(document: Document) -> list[shell.Command]:
    """Every command of a document: whole ones from its blocks, mentions from its inline code."""
    variables = shell.Variables(dict.fromkeys(SHELL_VARIABLES, shell.OPEN))
    found = [
        command
        for block in document.blocks
        if block.language == SHELL
        for command in shell.commands(block.text, block.where, block.line + 1, variables)
    ]
    for span in document.spans:
        if COMMAND.fullmatch(span.text):
            found += shell.commands(shell.spelled_out(span.text), span.where, span.line, shell.Variables(), whole=False)
    return found


def block_faults(document: Document) -> list[Fault]:
    """Blocks without a known language, or with wrong syntax, or with a variable that nothing set."""
    variables = shell.Variables(dict.fromkeys(SHELL_VARIABLES, shell.OPEN))
    found = []
    for block in document.blocks:
        where, first = f"{block.where}:{block.line}", block.text.partition("\n")[0]
        if block.language not in LANGUAGES:
            why = f"a block needs one of the languages {', '.join(sorted(LANGUAGES))}"
            found.append(Fault(Code.LANGUAGE, where, first, why))
        elif why := _syntax_fault(block):
            found.append(Fault(Code.SYNTAX, where, first, why))
        elif block.language == SHELL:
            before = len(variables.unset)
            shell.commands(block.text, block.where, block.line, variables)
            found += [
                Fault(Code.VARIABLE, where, f"${name}", "no block above sets this variable")
                for name in dict.fromkeys(variables.unset[before:])
            ]
    return found


def _syntax_fault(block: Block) -> str:
    try:
        match block.language:
            case "sh":
                return shell.syntax_error(block.text) or _pasted_fault(block.text)
            case "python":
                ast.parse(block.text)
            case "yaml":
                list(yaml.safe_load_all(block.text))
            case "json":
                json.loads(block.text)
    except (SyntaxError, yaml.YAMLError, ValueError) as error:
        return str(error)
    return ""


def _pasted_fault(text: str) -> str:
    """A block of commands is for pasting: no prompt, no brackets around options, no `…` for words that are left out."""
    wrong = re.search(r"^\s*\$ .*|(?<=\s)\[-[^]]*\]|^[^#\n'\"]* …(?= |$)", text, re.MULTILINE)
    return f"cannot be pasted: {wrong[0].strip()}" if wrong else ""


def link_faults(document: Document) -> list[Fault]:
    """Links and images that lead nowhere."""
    found = []
    for link in document.links:
        why = paths.link_fault(document, link.text)
        if why:
            code = Code.HEADING if why.startswith("no heading") else Code.LINK
            found.append(Fault(code, f"{link.where}:{link.line}", link.text, why))
    return found


def name_faults(document: Document) -> list[Fault]:
    """Inline code that names a file or directory which is not there."""
    found = []
    for span in document.spans:
        if not paths.looks_like_path(span.text):
            continue
        if not (paths.exists(span.text, document.path.parent) or paths.is_tail(span.text)):
            found.append(Fault(Code.FILE, f"{span.where}:{span.line}", span.text, "there is no such file or directory"))
    return found
