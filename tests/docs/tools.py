"""What each tool says of a command without running it. Only the tool itself knows its commands and options.

A check takes the commands of its tool and returns the faults. It skips nothing in silence: `missing` names what the machine lacks.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import importlib
import importlib.util
import io
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local.kubernetes.resources import RESOURCES
from tests.docs import paths
from tests.docs.reading import ROOT
from tests.docs.shell import OPEN, Command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    Check = Callable[[Sequence[Command]], list["Fault"]]


class Code(enum.StrEnum):
    """What is wrong with a piece of documentation."""

    SYNTAX = enum.auto()
    LANGUAGE = enum.auto()
    UNKNOWN = enum.auto()
    VARIABLE = enum.auto()
    MAKE = enum.auto()
    OPTION = enum.auto()
    GCLOUD = enum.auto()
    KUBECTL = enum.auto()
    TERRAFORM = enum.auto()
    GIT = enum.auto()
    JQ = enum.auto()
    FILE = enum.auto()
    LINK = enum.auto()
    HEADING = enum.auto()


@dataclass(frozen=True, slots=True)
class Fault:
    """One piece of documentation that is wrong: where, what it says and why it is wrong."""

    code: Code
    where: str
    text: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}\n    {self.code}: {self.why}"


# Commands that no tool here can check, each with the reason. File names in them are checked all the same.
SHELL = frozenset(
    {"cat", "cd", "cp", "curl", "diff", "echo", "eval", "export", "grep", "ls", "mkdir", "mv", "printf", "rm"}
)
UNCHECKED = {
    "argocd": "Argo CD's command line is not among the tools that the checks need",
} | dict.fromkeys(SHELL, "a program or builtin of every machine, whose options are in its own manual")
PYTHONS = ("python", "python3")


def faults(commands: Iterable[Command]) -> list[Fault]:
    """The faults of commands, by the tools that this machine has."""
    by_tool: dict[str, list[Command]] = {}
    found: list[Fault] = []
    for command in [one for each in commands for one in _unwrapped(each)]:
        tool = tool_of(command)
        found += _file_faults(command)
        if not tool:
            found.append(
                _fault(Code.UNKNOWN, command, f"no check knows {command.name!r}: add one, or a reason to UNCHECKED")
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


def _fault(code: Code, command: Command, why: str) -> Fault:
    return Fault(code, command.where, " ".join(command.text.split()), why)


def _file_faults(command: Command) -> list[Fault]:
    names = [name for word in command.words[1:] for name in paths.references(word.replace("=", " "))]
    return [_fault(Code.FILE, command, f"there is no {name}") for name in names if not paths.exists(name)]


# make


def make_faults(commands: Sequence[Command]) -> list[Fault]:
    """Targets by `make -n` in the root, variables by the makefiles that read them."""
    found = []
    for command in commands:
        words = command.words[1:]
        unread = [
            name
            for name, equals, _ in (word.partition("=") for word in words)
            if equals and name not in _read_by_make()
        ]
        if unread:
            found.append(_fault(Code.MAKE, command, f"no makefile reads {', '.join(unread)}"))
            continue
        if not command.whole and not words:
            continue
        ran = _run("make", "-n", *words)
        if ran.returncode and (command.whole or "No rule to make target" in ran.stderr):
            found.append(_fault(Code.MAKE, command, ran.stderr.strip()))
    return found


@functools.cache
def _read_by_make() -> frozenset[str]:
    text = "".join((ROOT / name).read_text() for name in paths.files() if name == "Makefile" or name.endswith(".mk"))
    return frozenset(re.findall(r"\$\((?:\w+ )?(\w+)", text)) | frozenset(re.findall(r"\(filter \w+,\$\((\w+)", text))


# python -m …

# Each module of ours that is run has `command_line()`, which returns its parser.


def python_faults(commands: Sequence[Command]) -> list[Fault]:
    """`python -m` by the module's own parser, without running it."""
    return [fault for command in commands for fault in _python_faults(command)]


def _python_faults(command: Command) -> list[Fault]:
    if command.words[1:2] == ("-m",) and len(command.words) > 2:
        module, arguments = command.words[2], list(command.words[3:])
    elif not command.whole and command.words[1:] in ((), ("-m",)):
        return []
    else:
        return [_fault(Code.UNKNOWN, command, "only `python -m MODULE` can be checked")]
    if module == "pytest":
        return []  # its arguments are files, which are checked for every command
    if not _is_there(module):
        return [_fault(Code.OPTION, command, f"there is no module {module}")]
    if not (ROOT / module.partition(".")[0]).is_dir() and not command.whole:
        return []  # another project's module
    if not command.whole:  # a word in capitals stands for a value
        arguments = [OPEN if re.fullmatch(r"[A-Z_]{2,}", word) else word for word in arguments]
    parser = _parser_of(module)
    if parser is None:
        return (
            [_fault(Code.UNKNOWN, command, f"{module} has no command_line() to check options by")] if arguments else []
        )
    why = _parse(parser, arguments)
    if not command.whole and ("required" in why or f"invalid choice: '{OPEN}'" in why):
        return []
    return [_fault(Code.OPTION, command, why)] if why else []


@functools.cache
def _parser_of(module: str) -> Callable[[], argparse.ArgumentParser] | None:
    package = importlib.util.find_spec(f"{module}.__main__") if _is_package(module) else None
    loaded = importlib.import_module(f"{module}.__main__" if package else module)
    found: Callable[[], argparse.ArgumentParser] | None = getattr(loaded, "command_line", None)
    return found


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _is_package(module: str) -> bool:
    return (ROOT / module.replace(".", "/")).is_dir()


def _parse(make_parser: Callable[[], argparse.ArgumentParser], arguments: list[str]) -> str:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            make_parser().parse_args(arguments)
    except SystemExit as ended:
        return said.getvalue().strip() or f"exit code {ended.code}" if ended.code else ""
    return ""


# gcloud


def gcloud_faults(commands: Sequence[Command]) -> list[Fault]:
    """Groups, commands, flags and values by `gcloud meta lint-gcloud-commands`: static and offline."""
    asked = {str(number): command for number, command in enumerate(commands, 1) if command.words[1:] or command.whole}
    # The linter cuts at `#`, and moves flags behind names.
    lines = [
        {"id": number, "command_string": shlex.join(word.replace("#", "_") for word in ("gcloud", *command.words[1:]))}
        for number, command in asked.items()
    ]
    # Equal commands share one answer.
    first = {line["command_string"]: line["id"] for line in reversed(lines)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "commands.json")
        file.write_text(json.dumps([{"id": number, "command_string": text} for text, number in first.items()]))
        ran = _run("gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}", "--serialize", home=folder)
    assert ran.returncode == 0, ran.stderr
    answers = json.loads(ran.stdout)
    found = []
    for line in lines:
        answer = answers[first[line["command_string"]]][0]
        command = asked[line["id"]]
        if not answer["success"] and not _forgiven(command, answer["error_type"], answer["error_message"]):
            found.append(_fault(Code.GCLOUD, command, answer["error_message"].strip().partition("\n")[0]))
    return found


def _forgiven(command: Command, kind: str, why: str) -> bool:
    """A mention may leave out what the command needs, or a value's form. gcloud's components may be missing here."""
    track = command.words[1] if command.words[1:] else ""
    if track in ("alpha", "beta") and track not in _gcloud_components():
        return True
    left_out = ("must be specified", "name argument expected", "expected one argument", f"[{OPEN}]")
    return not command.whole and (kind == "RequiredError" or any(part in why for part in left_out))


@functools.cache
def _gcloud_components() -> frozenset[str]:
    with tempfile.TemporaryDirectory() as folder:
        return frozenset(json.loads(_run("gcloud", "version", "--format=json", home=folder).stdout))


# kubectl


def kubectl_faults(commands: Sequence[Command]) -> list[Fault]:
    """Commands and flags by kubectl itself, asked for its help: it parses all flags first and then runs nothing."""
    found = []
    for command in commands:
        words = list(command.words[1:])
        at = words.index("--") if "--" in words else len(words)
        # Twice: a flag that lacks its value takes the first as such.
        ran = _run("kubectl", *words[:at], "--help", "--help", *words[at:])
        why = ran.stderr.strip().partition("\n")[0] if ran.returncode else _subcommand_fault(words, ran.stdout)
        if why := why or _kind_fault(words):
            found.append(_fault(Code.KUBECTL, command, why))
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


# terraform


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
            found.append(_fault(Code.TERRAFORM, command, why))
    return found


@functools.cache
def _terraform_says(words: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
        ran = _run("terraform", f"-chdir={folder}", *words, home=folder, more=quiet)
    said = re.sub(r"\x1b\[[0-9;]*m|[│╷╵]", "", ran.stdout + ran.stderr)
    wrong = re.search(r"flag provided but not defined.*|has no command named.*|<subcommand>.*", said)
    return wrong[0] if wrong else ""


@functools.cache
def _outputs() -> frozenset[str]:
    text = "".join(file.read_text() for file in (ROOT / "infra/terraform").glob("*.tf"))
    return frozenset(re.findall(r'^output "(\w+)"', text, re.MULTILINE))


# git and jq


def git_faults(commands: Sequence[Command]) -> list[Fault]:
    """Subcommands by git itself. Options are not checked."""
    known = _run("git", "--list-cmds=main,nohelpers").stdout.split()
    wrong = [command for command in commands if command.words[1:] and command.words[1] not in known]
    return [_fault(Code.GIT, command, f"git has no command {command.words[1]!r}") for command in wrong]


def jq_faults(commands: Sequence[Command]) -> list[Fault]:
    """Filters by jq itself, on an empty input."""
    found = []
    for command in commands:
        ran = _run("jq", *command.words[1:])
        if ran.returncode in (2, 3):
            found.append(_fault(Code.JQ, command, ran.stderr.strip()))
    return found


def _run(*words: str, home: str = "", more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool in the root without input, with nothing of the person's own configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDSDK_", "TF_", "MAKE"))}
    own = {"HOME": home, "CLOUDSDK_CONFIG": home, "KUBECONFIG": os.devnull} if home else {"KUBECONFIG": os.devnull}
    still = {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1"}
    return subprocess.run(
        words, cwd=ROOT, env=kept | own | still | (more or {}), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


CHECKS: dict[str, Check] = {
    "make": make_faults,
    "python": python_faults,
    "gcloud": gcloud_faults,
    "kubectl": kubectl_faults,
    "terraform": terraform_faults,
    "git": git_faults,
    "jq": jq_faults,
}
