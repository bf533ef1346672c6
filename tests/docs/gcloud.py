"""What `gcloud meta lint-gcloud-commands` says about a command: groups, commands, flags and values, static and offline."""

from __future__ import annotations

import functools
import json
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.docs.faults import Code, Fault, fault_of
from tests.docs.runs import run_tool
from tests.docs.shell import OPEN, Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_verdicts: dict[str, dict[str, Any]] = {}


def gcloud_faults(commands: Sequence[Command]) -> list[Fault]:
    """The commands that gcloud refuses."""
    lint(commands)
    found = []
    for command in commands:
        verdict = _verdicts[_text(command)] if _is_checked(command) else None
        if (
            verdict
            and not verdict["success"]
            and not _forgiven(command, verdict["error_type"], verdict["error_message"])
        ):
            found.append(fault_of(Code.GCLOUD, command, verdict["error_message"].strip().partition("\n")[0]))
    return found


def lint(commands: Iterable[Command]) -> None:
    """Lint all commands that have no verdict yet, in one process: gcloud needs more than a second to start."""
    new = sorted({_text(command) for command in commands if _is_checked(command)} - set(_verdicts))
    if not new:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "commands.json")
        file.write_text(json.dumps([{"id": str(at), "command_string": text} for at, text in enumerate(new)]))
        ran = run_tool("gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}", "--serialize", home=folder)
    assert ran.returncode == 0, ran.stderr
    verdicts = json.loads(ran.stdout)
    _verdicts.update({text: verdicts[str(at)][0] for at, text in enumerate(new)})


def _is_checked(command: Command) -> bool:
    return command.name == "gcloud" and bool(command.words[1:] or command.whole)


def _text(command: Command) -> str:
    """The command as the linter reads it: it cuts at `#`, and moves flags behind names."""
    return shlex.join(word.replace("#", "_") for word in ("gcloud", *command.words[1:]))


def _forgiven(command: Command, kind: str, why: str) -> bool:
    """A mention may leave out what the command needs, or a value's form. gcloud's components may be missing here."""
    track = command.words[1] if command.words[1:] else ""
    if track in ("alpha", "beta") and track not in _components():
        return True
    left_out = ("must be specified", "name argument expected", "expected one argument", f"[{OPEN}]")
    return not command.whole and (kind == "RequiredError" or any(part in why for part in left_out))


@functools.cache
def _components() -> frozenset[str]:
    with tempfile.TemporaryDirectory() as folder:
        return frozenset(json.loads(run_tool("gcloud", "version", "--format=json", home=folder).stdout))
