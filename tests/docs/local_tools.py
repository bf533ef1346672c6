"""What make and Python say about the commands of this repository."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import re
from typing import TYPE_CHECKING

from tests.docs import paths
from tests.docs.faults import Code, Fault, fault_of
from tests.docs.reading import ROOT
from tests.docs.runs import ask_tool
from tests.docs.shell import OPEN, Command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    Check = Callable[[Sequence[Command]], list["Fault"]]


PYTHONS = ("python", "python3")


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
            found.append(fault_of(Code.MAKE, command, f"no makefile reads {', '.join(unread)}"))
            continue
        if not command.whole and not words:
            continue
        ran = ask_tool("make", "-n", *words)
        if ran.returncode and (command.whole or "No rule to make target" in ran.stderr):
            found.append(fault_of(Code.MAKE, command, ran.stderr.strip()))
    return found


@functools.cache
def _read_by_make() -> frozenset[str]:
    text = "".join((ROOT / name).read_text() for name in paths.files() if name == "Makefile" or name.endswith(".mk"))
    return frozenset(re.findall(r"\$\((?:\w+ )?(\w+)", text)) | frozenset(re.findall(r"\(filter \w+,\$\((\w+)", text))


def python_faults(commands: Sequence[Command]) -> list[Fault]:
    """`python -m` by the module's own parser, without running it."""
    return [fault for command in commands for fault in _python_faults(command)]


def _python_faults(command: Command) -> list[Fault]:
    if command.words[1:2] == ("-m",) and len(command.words) > 2:
        module, arguments = command.words[2], list(command.words[3:])
    elif not command.whole and command.words[1:] in ((), ("-m",)):
        return []
    else:
        return [fault_of(Code.UNKNOWN, command, "only `python -m MODULE` can be checked")]
    if module == "pytest":
        return []  # its arguments are files, which are checked for every command
    if not _is_there(module):
        return [fault_of(Code.OPTION, command, f"there is no module {module}")]
    if not (ROOT / module.partition(".")[0]).is_dir() and not command.whole:
        return []  # another project's module
    if not command.whole:  # a word in capitals stands for a value
        arguments = [OPEN if re.fullmatch(r"[A-Z_]{2,}", word) else word for word in arguments]
    parser = _parser_of(module)
    if parser is None:
        return (
            [fault_of(Code.UNKNOWN, command, f"{module} has no command_line() to check options by")]
            if arguments
            else []
        )
    why = _parse(parser, arguments)
    if not command.whole and ("required" in why or f"invalid choice: '{OPEN}'" in why):
        return []
    return [fault_of(Code.OPTION, command, why)] if why else []


@functools.cache
def _parser_of(module: str) -> Callable[[], argparse.ArgumentParser] | None:
    inside = [f"{module}.command_line", f"{module}.__main__"] if _is_package(module) else []
    loaded = importlib.import_module(next(filter(importlib.util.find_spec, inside), module))
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
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
            _made(make_parser).parse_args(arguments)
    except SystemExit as ended:
        return stderr.getvalue().strip() or f"exit code {ended.code}" if ended.code else ""
    return ""


@functools.cache
def _made(make_parser: Callable[[], argparse.ArgumentParser]) -> argparse.ArgumentParser:
    return make_parser()
