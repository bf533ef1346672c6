"""The functions as processes, each under functions-framework with its own environment, as on Cloud Run.

A function sees the settings, the endpoints of `local/`, a metadata server that says who it is, and nothing of the machine
it runs on. A function's first call starts it, for Cloud Run scales from zero. Left out: more than one process each (it has
gunicorn's threads), scaling to zero again, and the cutting of requests after a time.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from local.processes import WITH_PARENT, Child
from local.reserved_port import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from local.parent import Parent
    from local.processes import Process

TARGETS = (
    "route_event",
    "register_membership",
    "grant_rbac",
    "write_secret",
    "remove_secret",
    "revoke_rbac",
    "unregister_membership",
    "sweep",
)
# `make coverage` measures the functions' processes too: coverage says by this variable what to measure.
MEASURED = {name: os.environ[name] for name in ("COVERAGE_PROCESS_CONFIG",) if name in os.environ}
PAGES = ("status",)  # people call these; messages wake all others


def offered(source: Path) -> list[str]:
    """Return the targets that `source` (a main.py) offers among the known ones, without running it."""
    names = set()
    for node in ast.parse(source.read_text()).body:
        match node:
            case ast.FunctionDef(name=name):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update(alias.asname or alias.name for alias in aliases)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
            case _:
                pass
    return [target for target in (*TARGETS, *PAGES) if target in names]


# Prints the errors of the settings. Another main.py than this project's may have no such package: nothing is checked then.
_CHECK = """
try:
    from shared.values.errors import ReconcileError
    from shared.values.settings import load
except ImportError:
    raise SystemExit
try:
    load()
except ReconcileError as error:
    print(error)
"""


def settings_errors(source: Path, settings: Mapping[str, str]) -> str:
    """Return why the functions of `source` would refuse these settings; '' if they accept them.

    Another process reads them, because the local cloud imports nothing of the product.
    """
    environment = {**settings, "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", _CHECK]
    done = subprocess.run(command, cwd=source.parent, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Function(Child):
    """One function of `source`, under functions-framework with gunicorn. `parent` forks it: see `local/parent.py`."""

    def __init__(
        self,
        target: str,
        source: Path,
        log: Path,
        environment: Mapping[str, str],
        parent: Parent | None = None,
    ) -> None:
        super().__init__(target.replace("_", "-"), log)
        self.target = target
        self.signature = "http" if target in PAGES else "cloudevent"
        self.variables = dict(environment)
        self.is_asleep = True  # until somebody starts or stops it: its first call starts it
        self.deployed: set[str] = set()  # names of variables that a later deployment gave it
        self._source = source
        self._parent = parent

    async def start(self, directory: Path, within: float = 120.0) -> None:
        """Start, and return when its port is open."""
        await super().start(directory, within)
        self.is_asleep = False

    async def stop(self, within: float = 10.0) -> None:
        """Send SIGTERM, so that requests in flight finish, then kill its group. No call starts it again."""
        self.is_asleep = False
        await super().stop(within)

    async def kill(self) -> None:
        """End it and its workers at once, as a crash would. No call starts it again."""
        self.is_asleep = False
        await super().kill()

    async def spawn(self, directory: Path) -> Process:
        """Fork it from the parent; without a parent, start it like the command."""
        if self._parent is None:
            return await super().spawn(directory)
        return await self._parent.fork(self._arguments(), self.environment(), self.log)

    def command(self) -> list[str]:
        """The program, which ends when its parent does."""
        return [sys.executable, "-S", "-E", "-c", WITH_PARENT, *self.program()]

    def program(self) -> list[str]:
        """`python -m functions_framework …`: with `-m`, Python finds the packages beside main.py."""
        return [sys.executable, "-m", "functions_framework", *self._arguments()]

    def _arguments(self) -> list[str]:
        function = ["--source", str(self._source), "--target", self.target, "--signature-type", self.signature]
        return [*function, "--host", HOST, "--port", str(self.port)]

    def environment(self) -> Mapping[str, str]:
        """Cloud Run's variables, the given ones, and the system's default PATH."""
        cloud_run = {
            "K_SERVICE": self.name,
            "K_CONFIGURATION": self.name,
            "K_REVISION": f"{self.name}-00001-local",
            "PORT": str(self.port),
            "FUNCTION_TARGET": self.target,
            "FUNCTION_SIGNATURE_TYPE": self.signature,
        }
        return {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            **MEASURED,
            **cloud_run,
            **self.variables,
        }
