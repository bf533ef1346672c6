"""What kubectl says about a command, and the kinds that the command names."""

from __future__ import annotations

import functools
import itertools
import re
from typing import TYPE_CHECKING

from local.kubernetes.resources import RESOURCES
from tests.docs.faults import Code, Fault, fault_of
from tests.docs.runs import ask_tool
from tests.docs.shell import OPEN, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Check = Callable[[Sequence[Command]], list["Fault"]]


def kubectl_faults(commands: Sequence[Command]) -> list[Fault]:
    """Commands and flags by kubectl itself, asked for its help: it parses all flags first and then runs nothing."""
    found = []
    for command in commands:
        words = list(command.words[1:])
        at = words.index("--") if "--" in words else len(words)
        # Twice: a flag that lacks its value takes the first as such.
        ran = ask_tool("kubectl", *words[:at], "--help", "--help", *words[at:])
        why = ran.stderr.strip().partition("\n")[0] if ran.returncode else _subcommand_fault(words, ran.stdout)
        if why := why or _kind_fault(words):
            found.append(fault_of(Code.KUBECTL, command, why))
    return found


# Where kubectl expects kinds, and the flags whose value is the next word.
_BEFORE_KINDS = (
    "get",
    "describe",
    "delete",
    "label",
    "annotate",
    "patch",
    "edit",
    "wait",
    "status",
    "restart",
    "can-i",
)
_WITH_VALUE = {
    "-n",
    "-l",
    "-o",
    "-f",
    "-k",
    "-p",
    "--namespace",
    "--context",
    "--selector",
    "--output",
    "--as",
    "--for",
    "--type",
    "--patch-file",
}
# Kinds that the embedded Kubernetes API does not serve.
_MORE_KINDS = ("pod", "deployment", "statefulset", "service", "node", "application", "applicationset", "appproject")


def _kind_fault(words: list[str]) -> str:
    """The first kind in a command that neither Kubernetes nor Argo CD has; only a server could tell kubectl."""
    if {"-f", "-k", "--filename", "--kustomize"} & {*words}:
        return ""  # the files say which kinds
    names = [word for before, word in itertools.pairwise(["", *words]) if word[:1] != "-" and before not in _WITH_VALUE]
    at = next((number for number, word in enumerate(names, 1) if word in _BEFORE_KINDS), None)
    asked = names[at + (names[at - 1] == "can-i") :][:1] if at else []
    kinds = [kind for word in asked for kind in word.partition("/")[0].partition(".")[0].split(",") if kind != OPEN]
    return next((f"there is no kind {kind!r}" for kind in kinds if kind.lower() not in _kinds()), "")


@functools.cache
def _kinds() -> frozenset[str]:
    served = {name for one in RESOURCES for name in (one.plural, one.kind.lower(), *one.short)}
    return frozenset(served | {name + ending for name in _MORE_KINDS for ending in ("", "s")})


def _subcommand_fault(words: list[str], manual: str) -> str:
    """kubectl prints the help of a group for a command that the group does not have."""
    listed = re.search(r"^Available Commands:\n((?:  .*\n)+)", manual, re.MULTILINE)
    usage = re.search(r"^Usage:\n  kubectl ([a-z -]+?)(?: \[| \(| -| [A-Z]|$)", manual, re.MULTILINE)
    if not listed or not usage:
        return ""
    group = usage[1].split()[-1]
    after = words[words.index(group) + 1 :] if group in words else []
    known = re.findall(r"^  ([a-z-]+)", listed[1], re.MULTILINE)
    if after and not after[0].startswith("-") and after[0] not in known:
        return f"kubectl {usage[1]} has no command {after[0]!r}"
    return ""
