"""The files of a running cloud's directory: a file to source, certificates, and its address."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import ssl
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOUND_BY = "instance.json"
LOCK = "lock"


def write_env(path: Path, variables: Mapping[str, str], others: Iterable[str] = ()) -> None:
    """Write a file for `source`. It holds a token, so it is its owner's alone.

    It unsets those `others` that it does not set: they may be those of another cloud.
    """
    unset = [name for name in others if name not in variables]
    lines = [f"unset {' '.join(unset)}"] if unset else []
    lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    replace_file(path, "\n".join(["# Written by `python -m local up`; good until it stops.", *lines, ""]))


def write_bundle(path: Path, authority: bytes) -> None:
    """Write a bundle of the machine's certificates and ours, so that a shell reaches Google Cloud and the local cloud."""
    paths = ssl.get_default_verify_paths()
    trusted = next((Path(p) for p in (paths.cafile, paths.openssl_cafile) if p and Path(p).is_file()), None)
    path.write_bytes((trusted.read_bytes() + b"\n" if trusted else b"") + authority)


def write_instance(directory: Path, control: str, token: str) -> None:
    """Write where the running cloud is called, and the token of its control API; readable for the owner alone."""
    replace_file(directory / FOUND_BY, json.dumps({"pid": os.getpid(), "control": control, "token": token}))


def find_instance(directory: Path) -> tuple[str, str]:
    """Return the URL and the token of the control API of the cloud that runs in `directory`."""
    try:
        written = (directory / FOUND_BY).read_bytes()
    except FileNotFoundError:
        state = (
            f"the cloud in {directory} is stopped" if (directory / "env").exists() else f"no cloud runs in {directory}"
        )
        raise NotRunningError(f"{state}: start one with `python -m local up`") from None
    with (directory / LOCK).open("a") as lock:
        if taken(lock):
            raise NotRunningError(f"the cloud in {directory} was killed: start one with `python -m local up`")
    try:
        found = json.loads(written)
        return found["control"], found["token"]
    except (ValueError, KeyError, TypeError):
        raise NotRunningError(
            f"{directory / FOUND_BY} is damaged: stop the cloud, and start it again with `python -m local up`"
        ) from None


def taken(lock: IO[Any]) -> bool:
    """Take the lock of a directory, if nobody has it; it is held until the file is closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class NotRunningError(RuntimeError):
    """There is nothing to talk to; the message says what to do."""


def replace_file(path: Path, text: str) -> None:
    """Replace a file in one go, readable for its owner alone: it may be read at any time."""
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
