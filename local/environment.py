"""What a running cloud leaves in its directory for people: a file to source, a kubeconfig, and where to find it again."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOUND_BY = "instance.json"
LOCK = "lock"


@dataclass(frozen=True)
class Context:
    """One cluster as kubectl reaches it: directly, as its administrator."""

    name: str
    server: str
    token: str
    namespace: str = "default"


def write_env(path: Path, variables: Mapping[str, str]) -> None:
    """Write a file for `source`. It holds a token, so it is its owner's alone."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    _write(path, "\n".join(["# Written by `python -m local up`; good until it stops.", *lines, ""]))


def write_bundle(path: Path, authority: bytes) -> None:
    """Write the certificates that the machine trusts, and ours: what a person's shell needs to reach both worlds."""
    paths = ssl.get_default_verify_paths()
    trusted = next((Path(p) for p in (paths.cafile, paths.openssl_cafile) if p and Path(p).is_file()), None)
    path.write_bytes((trusted.read_bytes() + b"\n" if trusted else b"") + authority)


def write_kubeconfig(path: Path, authority: Path, contexts: Iterable[Context], ours: set[str]) -> set[str]:
    """Write the contexts and return their names; `ours` are those written before.

    What others have written into the file (`gcloud container clusters get-credentials` does) stays.
    """
    contexts = list(contexts)
    names = {context.name for context in contexts}
    before = _read(path)

    def others(kind: str) -> list[Any]:
        return [entry for entry in before.get(kind) or [] if entry["name"] not in ours | names]

    current = before.get("current-context")
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [
            *others("clusters"),
            *(
                {"name": c.name, "cluster": {"server": c.server, "certificate-authority": str(authority)}}
                for c in contexts
            ),
        ],
        "users": [*others("users"), *({"name": c.name, "user": {"token": c.token}} for c in contexts)],
        "contexts": [
            *others("contexts"),
            *(
                {"name": c.name, "context": {"cluster": c.name, "user": c.name, "namespace": c.namespace}}
                for c in contexts
            ),
        ],
        "current-context": current if current and current not in ours - names else "central",
    }
    _write(path, json.dumps(config, indent=2))  # JSON is YAML
    return names


def _read(path: Path) -> dict[str, Any]:
    text = path.read_text() if path.exists() else ""
    try:
        found: dict[str, Any] = json.loads(text or "{}")  # our own writing, and a hundred times faster than YAML
    except ValueError:
        found = yaml.safe_load(text) or {}
    return found


def write_instance(directory: Path, control: str, token: str) -> None:
    """Write where the running cloud is called, and the token of its control API; readable for the owner alone."""
    _write(directory / FOUND_BY, json.dumps({"pid": os.getpid(), "control": control, "token": token}))


def find_instance(directory: Path) -> tuple[str, str]:
    """Return the URL and the token of the control API of the cloud that runs in `directory`."""
    try:
        found = json.loads((directory / FOUND_BY).read_text())
    except FileNotFoundError:
        raise NotRunningError(f"no cloud runs in {directory}: start one with `python -m local up`") from None
    with (directory / LOCK).open("a") as lock:
        if taken(lock):
            raise NotRunningError(f"the cloud in {directory} was killed: start one with `python -m local up`")
    return found["control"], found["token"]


def taken(lock: IO[Any]) -> bool:
    """Take the lock of a directory, if nobody has it; it is held until the file is closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class NotRunningError(RuntimeError):
    """There is nothing to talk to; the message says what to do."""


def _write(path: Path, text: str) -> None:
    """Replace a file in one go, readable for its owner alone: it may be read at any time."""
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
