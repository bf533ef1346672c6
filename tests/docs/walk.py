"""A reader at a terminal: the commands of a document, in order, in a fresh copy of the repository, on the local cloud."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING

from local.control import LocalCloud
from local.reserved_port import ReservedPort
from ops.terminal import UNREAD
from tests import forked_gcloud, forked_ops, forking
from tests.docs import paths, shell, sources
from tests.docs.reading import ROOT, Document
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

# The documents' example names, and what the local cloud calls the same thing.
NAMES = {"my-fleet": "demo-fleet", "team-a-prod": "demo-apps", "team-a": "demo-apps"}
VARIABLES = {"PROJECT": "demo-fleet", "CENTRAL": "demo-fleet", "REGION": "europe-west1"}
# What a reader of the document has done before.
GIVEN = {
    "docs/operate.md": [
        "gcloud container clusters create blue --project team-a --region europe-west1",
        "kubectl config use-context central",
    ],
    "infra/argocd/README.md": [".venv/bin/python -m local attach edge"],
}
# Commands whose exit code 2 is an answer, as their `--help` says.
ANSWERS = re.compile(r"-m ops (plan|explain|doctor)\b")
UP = ".venv/bin/python -m local up"
# What kubectl says, with exit code 0, to somebody who looks into the wrong cluster.
NOTHING = "No resources found"
MARK = "the-command-ended"
WATCHED = 3.0  # seconds until the reader stops a `--watch`


@dataclass
class Reader:
    """Somebody with one terminal, and another in which the local cloud runs."""

    home: Path
    port: int  # in place of the documents' 8080, which others of this machine may have
    left_out: list[str] = field(default_factory=list)
    printed: list[sources.Text] = field(default_factory=list)
    cloud: LocalCloud | None = None
    _terminal: subprocess.Popen[str] | None = None
    _up: subprocess.Popen[str] | None = None

    def read(self, document: Document) -> None:
        """Run every block of a document that runs locally; the cloud is started first if the document does not start it."""
        _copy_product(self.home / "fleet-registrar")
        statements = [text for block in document.blocks if block.runs_locally for text in shell.statements(block.text)]
        if not any(" -m local up" in text for text in statements):
            given = GIVEN.get(document.path.as_posix(), [])
            statements = [UP, "source .local/env", *given, *statements]
        for statement in statements:
            self.run(statement)

    def run(self, statement: str) -> str:
        """Run one statement as it is typed and return its output; a failure is an error."""
        for name, ours in {**NAMES, "8080": str(self.port)}.items():
            statement = re.sub(rf"(?<![\w-]){name}(?![\w-])", ours, statement)
        tool = statement.split()[0]
        # What follows a command of gcloud may need what it made; kubectl mostly looks.
        waits = self.left_out and not shutil.which("gcloud")
        if waits or (tool in ("gcloud", "kubectl") and not shutil.which(tool)):
            self.left_out.append(statement)
            return ""
        if " -m local up" in statement:
            self._start(statement)
            return ""
        typed = f"timeout --signal=INT {WATCHED} {statement}" if "--watch" in statement else statement
        code, output = self._typed(typed)
        for _ in range(3):  # "incomplete: try again", says a command that could not read everything in time
            if code == UNREAD and ANSWERS.search(statement):
                code, output = self._typed(typed)
        fine = {0, 2} if ANSWERS.search(statement) else {0, 124} if "--watch" in statement else {0}
        assert code in fine, f"exit code {code}: {statement}\n{output}"
        assert NOTHING not in output, f"{statement}: {output}"
        if " -m ops " in statement:
            self.printed += [sources.Text(f"{statement}:0", line, printed=True) for line in output.splitlines()]
        self._wait_for_what_was_asked(statement)
        return output

    def close(self) -> None:
        """Leave the terminal and stop the cloud with Ctrl-C, which must end it cleanly."""
        if self._terminal is not None:
            self._terminal.communicate("kill $(jobs -p) 2>/dev/null; exit\n", timeout=120)
        if self._up is not None:
            os.killpg(self._up.pid, signal.SIGINT)
            lines, _ = self._up.communicate(timeout=120)
            assert self._up.returncode == 0, lines

    def _environment(self) -> dict[str, str]:
        """A shell of a person who has nothing set up: no variable of ours, an empty home."""
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        return kept | VARIABLES | {"HOME": str(self.home), "PATH": forked_gcloud.path()}

    def _start(self, statement: str) -> None:
        self._up = subprocess.Popen(
            ["bash", "-c", f"exec {statement} --free-ports"],  # others of this machine may have the fixed ones
            cwd=self.home / "fleet-registrar",
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self._up.stdout is not None
        lines = []
        for line in self._up.stdout:
            lines.append(line)
            if line.startswith("ready:"):
                break
        assert "ready:" in "".join(lines[-1:]), "".join(lines)
        self.cloud = LocalCloud.from_env(self.home / "fleet-registrar" / ".local")

    def _typed(self, statement: str) -> tuple[int, str]:
        """Run a statement in the terminal, whose variables stay from one to the next."""
        if self._terminal is None:
            self._terminal = subprocess.Popen(
                ["bash", "--norc", "--noprofile"],
                cwd=self.home / "fleet-registrar",
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        terminal = self._terminal
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        terminal.stdin.write(f"{{ {statement}\n}} </dev/null\nprintf '\\n%s %s\\n' {MARK} $?\n")
        terminal.stdin.flush()
        lines: list[str] = []
        for line in terminal.stdout:
            if line.startswith(f"{MARK} "):
                return int(line.split()[1]), "".join(lines)
            lines.append(line)
        raise AssertionError(f"the terminal ended: {statement}\n{''.join(lines)}")

    def _wait_for_what_was_asked(self, statement: str) -> None:
        """What the reader waits for before the next command: Argo CD's list follows the clusters."""
        asked = re.match(r"gcloud container clusters (create|create-auto|update|delete) (\S+)", statement)
        if not asked or self.cloud is None:
            return
        verb, name = asked.groups()
        label = re.search(r"labels[= ](\w+)=(\w+)", statement)

        def followed() -> bool:
            assert self.cloud is not None
            found = [one for one in self.cloud.secrets() if one["name"].endswith(f".{name}")]
            if verb == "delete":
                return not found
            return bool(found) and (not label or found[0]["labels"].get(label[1]) == label[2])

        self.cloud.wait_for(followed, PATIENCE, f"Argo CD's list after: {statement}")


def _copy_product(directory: Path) -> None:
    """Copy the files of the working tree but the tests, which no document runs on the local cloud."""
    names = [name for name in paths.files() if not name.startswith("tests/")]
    # What Python has compiled of them, too: each walk would compile it again. It is used where the source's time fits.
    compiled = [Path(cache_from_source(name)).as_posix() for name in names if name.endswith(".py")]
    for name in [*names, *(name for name in compiled if (ROOT / name).exists())]:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, directory / name, follow_symlinks=False)


def _make_environment(folder: Path) -> None:
    """Make a virtual environment with the packages of this one, whose Python forks the operator's commands."""
    (folder / "bin").mkdir(parents=True)
    prefix = Path(sys.prefix)
    for name in [*prefix.iterdir(), *(prefix / "bin").iterdir()]:
        link = folder / name.relative_to(prefix)
        if not link.exists():
            link.symlink_to(name)
    (folder / "bin" / "python").unlink()
    forked_ops.server().write_command(folder / "bin" / "python", str(prefix / "bin" / "python"), "-m", "ops")


@contextmanager
def reader(home: Path, *, forks: bool = False) -> Iterator[Reader]:
    """A reader whose documents are in a fresh copy of the working tree, with the packages of this environment.

    `forks`: the operator's commands are forked from a process that has imported their packages.
    """
    copy = home / "fleet-registrar"
    copy.mkdir()
    if forks and forking.POSSIBLE:
        _make_environment(copy / ".venv")
    else:
        (copy / ".venv").symlink_to(sys.prefix)
    port = ReservedPort()
    one = Reader(home, port.number)
    try:
        yield one
    finally:
        one.close()
        port.release()
