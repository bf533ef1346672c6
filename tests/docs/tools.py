"""What each tool says of a command without running it. Only the tool itself knows its commands and options.

A check takes the commands of its tool and returns the faults. It skips nothing in silence: `missing` names what the machine lacks.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import tempfile
from typing import TYPE_CHECKING

from tests.docs import paths
from tests.docs.faults import Code, Fault, fault_of
from tests.docs.gcloud import gcloud_faults
from tests.docs.kubectl import kubectl_faults
from tests.docs.local_tools import PYTHONS, make_faults, python_faults
from tests.docs.reading import ROOT
from tests.docs.runs import ask_tool, run_tool
from tests.docs.shell import OPEN, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Check = Callable[[Sequence[Command]], list["Fault"]]


# Commands that no tool here can check, each with the reason. File names in them are checked all the same.
SHELL = frozenset(
    {"cat", "cd", "cp", "curl", "diff", "echo", "eval", "export", "grep", "kill", "ls", "mkdir", "mv", "printf", "rm"}
)
UNCHECKED = {
    "functions-framework": "it serves until it is stopped, so the checks do not start it",
    "argocd": "Argo CD's command line is not among the tools that the checks need",
} | dict.fromkeys(SHELL, "a program or builtin of every machine, whose options are in its own manual")


def faults(commands: Iterable[Command]) -> list[Fault]:
    """The faults of commands, by the tools that this machine has."""
    by_tool: dict[str, list[Command]] = {}
    found: list[Fault] = []
    for command in [one for each in commands for one in _unwrapped(each)]:
        tool = tool_of(command)
        found += _file_faults(command)
        if not tool:
            found.append(
                fault_of(Code.UNKNOWN, command, f"no check knows {command.name!r}: add one, or a reason to UNCHECKED")
            )
        by_tool.setdefault(tool, []).append(command)
    for tool, theirs in by_tool.items():
        if tool in CHECKS and tool not in missing():
            found += CHECKS[tool](theirs)
    return found


def tool_of(command: Command) -> str:
    """The name of the check for a command; empty if there is none."""
    if command.name in PYTHONS:
        return "python"
    if command.name in CHECKS or command.name in UNCHECKED or command.name in ("source", "xargs", ".", "true"):
        return command.name
    return ""


@functools.cache
def missing() -> frozenset[str]:
    """The tools that have a check and that this machine lacks."""
    return frozenset(name for name in CHECKS if name != "python" and not shutil.which(name))


def _unwrapped(command: Command) -> list[Command]:
    """The command itself and the one that it starts."""
    if command.name == "xargs":
        rest = list(command.words[1:])
        while rest and rest[0].startswith("-"):
            rest.pop(0)
        return [command, Command(command.where, command.text, (*rest, OPEN), command.whole)] if rest else [command]
    return [command]


def _file_faults(command: Command) -> list[Fault]:
    names = [name for word in command.words[1:] for name in paths.references(word.replace("=", " "))]
    return [fault_of(Code.FILE, command, f"there is no {name}") for name in names if not paths.exists(name)]


def terraform_faults(commands: Sequence[Command]) -> list[Fault]:
    """Commands and flags by terraform itself in an empty directory, where nothing can be changed; outputs by outputs.tf."""
    found = []
    for command in commands:
        words = tuple(word for word in command.words[1:] if not word.startswith("-chdir"))
        why = _terraform_says(words) if words else ""
        names = [word for word in words[1:] if not word.startswith("-")]
        if words[:1] == ("output",) and names and names[0] not in _outputs():
            why = why or f"there is no output {names[0]}"
        if why:
            found.append(fault_of(Code.TERRAFORM, command, why))
    return found


@functools.cache
def _terraform_says(words: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
        ran = run_tool("terraform", f"-chdir={folder}", *words, home=folder, more=quiet)
    printed = re.sub(r"\x1b\[[0-9;]*m|[│╷╵]", "", ran.stdout + ran.stderr)
    wrong = re.search(r"flag provided but not defined.*|has no command named.*|<subcommand>.*", printed)
    return wrong[0] if wrong else ""


@functools.cache
def _outputs() -> frozenset[str]:
    text = "".join(file.read_text() for file in (ROOT / "infra/terraform").glob("*.tf"))
    return frozenset(re.findall(r'^output "(\w+)"', text, re.MULTILINE))


def git_faults(commands: Sequence[Command]) -> list[Fault]:
    """Subcommands by git itself. Options are not checked."""
    known = ask_tool("git", "--list-cmds=main,nohelpers").stdout.split()
    wrong = [command for command in commands if command.words[1:] and command.words[1] not in known]
    return [fault_of(Code.GIT, command, f"git has no command {command.words[1]!r}") for command in wrong]


def jq_faults(commands: Sequence[Command]) -> list[Fault]:
    """Filters by jq itself, on an empty input."""
    found = []
    for command in commands:
        ran = ask_tool("jq", *command.words[1:])
        if ran.returncode in (2, 3):
            found.append(fault_of(Code.JQ, command, ran.stderr.strip()))
    return found


CHECKS: dict[str, Check] = {
    "make": make_faults,
    "python": python_faults,
    "gcloud": gcloud_faults,
    "kubectl": kubectl_faults,
    "terraform": terraform_faults,
    "git": git_faults,
    "jq": jq_faults,
}
