"""The kubeconfig of a running cloud: a context for every cluster, kept in it while gcloud writes to the same file.

gcloud reads the whole file, and writes the whole file later. So a cluster's context may be lost again after it was written,
and the file may be half written when it is read.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from local.environment import replace_file
from local.names import key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

Json = dict[str, Any]

LOOK_EVERY = 0.25  # seconds
HALF_WRITTEN = 20  # looks at an unreadable file until it counts as damaged


@dataclass(frozen=True)
class Context:
    """One cluster as kubectl reaches it: directly, as its administrator."""

    name: str
    server: str
    token: str


@dataclass
class Kubeconfig:
    """The kubeconfig at `path`. `clusters` returns (server, administrator's token) by full name.

    The context of the cluster `central` is always named `central`. What others write into the file stays, but for the
    clusters of earlier runs.
    """

    path: Path
    authority: Path
    central: str
    clusters: Callable[[], Mapping[str, tuple[str, str]]]
    _written: set[str] = field(default_factory=set)
    _seen: tuple[int, int] | None = None
    _unreadable: int = 0
    _due: asyncio.TimerHandle | None = None
    _watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Drop the clusters of earlier runs, write ours, and keep them in the file until `stop`."""
        self._replace(without_loopback(_read(self.path) or {}))
        self.write()
        self._watch = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """Write nothing more."""
        if self._due is not None:
            self._due.cancel()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])

    def write_soon(self) -> None:
        """Write in a moment: when hundreds of clusters come at once, once is enough."""
        if self._watch is None:
            return
        if self._due is not None:
            self._due.cancel()
        self._due = asyncio.get_running_loop().call_later(0.05, self.write)

    def write_due(self) -> None:
        """Write at once what `write_soon` would write in a moment."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
            self.write()

    def write(self) -> None:
        """Write one context per cluster, by its short name; clusters of one name go by their full keys."""
        before = _read(self.path)
        if before is None and self._unreadable < HALF_WRITTEN:
            self._seen = None  # somebody is writing it: the next look writes
            return
        contexts = self._contexts()
        after = merged(before or {}, str(self.authority), contexts, self._written)
        self._written = {context.name for context in contexts}
        if after != before:
            self._replace(after)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self._seen is None or self._stamp() != self._seen:
                self._unreadable = self._unreadable + 1 if _read(self.path) is None else 0
                self._seen = self._stamp()
                self.write()

    def _contexts(self) -> list[Context]:
        clusters = self.clusters()
        short = [name.rpartition("/")[2] for name in clusters]
        contexts = []
        for name, (server, token) in clusters.items():
            last = name.rpartition("/")[2]
            unique = name == self.central or (last != "central" and short.count(last) == 1)
            contexts.append(Context(last if unique else key(name), server, token))
        return contexts

    def _replace(self, config: Json) -> None:
        replace_file(self.path, json.dumps(config, indent=2))  # JSON is YAML
        self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int]:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_ino)


def merged(before: Json, authority: str, contexts: Iterable[Context], ours: set[str]) -> Json:
    """Return a kubeconfig with these contexts; `ours` are the names that we wrote before, and all others stay."""
    contexts = list(contexts)
    names = {context.name for context in contexts}

    def others(kind: str) -> list[Any]:
        return [entry for entry in before.get(kind) or [] if entry["name"] not in ours | names]

    current = before.get("current-context")
    clusters = [{"name": c.name, "cluster": {"server": c.server, "certificate-authority": authority}} for c in contexts]
    users = [{"name": c.name, "user": {"token": c.token}} for c in contexts]
    shown = [{"name": c.name, "context": {"cluster": c.name, "user": c.name, "namespace": "default"}} for c in contexts]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [*others("clusters"), *clusters],
        "users": [*others("users"), *users],
        "contexts": [*others("contexts"), *shown],
        "current-context": current if current and current not in ours - names else "central",
    }


def without_loopback(config: Json) -> Json:
    """Return a kubeconfig without the clusters of this machine, which an earlier run left, and what belongs to them."""

    def gone(entry: Json) -> bool:
        return urlsplit(entry.get("cluster", {}).get("server", "")).hostname in ("127.0.0.1", "localhost")

    clusters = {entry["name"] for entry in config.get("clusters") or [] if gone(entry)}
    contexts = [entry for entry in config.get("contexts") or [] if entry["context"].get("cluster") in clusters]
    names = {entry["name"] for entry in contexts}
    users = {entry["context"].get("user") for entry in contexts}
    dropped = {"clusters": clusters, "contexts": names, "users": users}
    kept = {kind: [entry for entry in config.get(kind) or [] if entry["name"] not in dropped[kind]] for kind in dropped}
    return {key: value for key, value in config.items() if key != "current-context" or value not in names} | kept


def _read(path: Path) -> Json | None:
    """Read the file; None while it cannot be read."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    try:
        found = json.loads(text)  # what we wrote ourselves, a hundred times faster than YAML
    except ValueError:
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError:
            return None
    return found if isinstance(found, dict) else None
