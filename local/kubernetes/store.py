"""The objects of one cluster and the log of their changes. Pure state: it knows neither users nor HTTP.

An object, once stored, is never changed in place, so events, snapshots and answers share it without copying.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.kubernetes.resources import STORED
from local.kubernetes.status import already_exists, expired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.kubernetes.resources import Resource

Object = dict[str, Any]
Key = tuple[str, str]  # namespace ("" for cluster-scoped kinds), name

KEPT_EVENTS = 10_000


@dataclass(frozen=True)
class Event:
    """One change: `before` is None for an ADDED object, `after` is the last state for a DELETED one."""

    version: int
    type: str
    resource: Resource
    key: Key
    before: Object | None
    after: Object


def key_of(item: Object) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


class Store:
    """One version counter for all kinds, as in etcd: a resourceVersion orders everything that happened in the cluster."""

    def __init__(self, kept_events: int = KEPT_EVENTS) -> None:
        self.version = 1
        self._objects: dict[Resource, dict[Key, Object]] = {resource: {} for resource in STORED}
        self._log: deque[Event] = deque()
        self._floor = 1  # events up to here are forgotten
        self._kept = kept_events
        self._listeners: list[Callable[[], None]] = []

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._objects[resource].get((namespace, name))

    def all(self, resource: Resource, namespace: str | None = None, at: int | None = None) -> list[Object]:
        """Return the objects in the order of their keys, now or as they were `at` a version (410 if forgotten)."""
        objects = self._objects[resource] if at is None or at == self.version else self._as_of(resource, at)
        return [objects[key] for key in sorted(objects) if namespace is None or key[0] == namespace]

    def create(self, resource: Resource, item: Object) -> Object:
        key = key_of(item)
        if key in self._objects[resource]:
            raise already_exists(resource, key[1])
        return self._record("ADDED", resource, key, None, item)

    def update(self, resource: Resource, item: Object) -> Object:
        """Replace an object; one that does not differ keeps its resourceVersion and makes no event."""
        key = key_of(item)
        before = self._objects[resource][key]
        if _stamped(item, before["metadata"]["resourceVersion"]) == before:
            return before
        return self._record("MODIFIED", resource, key, before, item)

    def delete(self, resource: Resource, namespace: str, name: str) -> Object:
        key = namespace, name
        before = self._objects[resource][key]
        return self._record("DELETED", resource, key, before, before)

    def since(self, version: int, resource: Resource) -> Iterator[Event]:
        """Return the events after `version`, oldest first, or refuse with 410 if some are forgotten."""
        if version < self._floor:
            raise expired(f"too old resource version: {version} ({self._floor})")
        return iter([event for event in self._newer(version) if event.resource is resource])

    def snapshot(self) -> dict[Resource, dict[Key, Object]]:
        """Return all objects as they are."""
        return {resource: dict(objects) for resource, objects in self._objects.items()}

    def restore(self, snapshot: dict[Resource, dict[Key, Object]]) -> None:
        """Restore all objects; watches see each difference as a change."""
        for resource, now in self._objects.items():
            before = snapshot[resource]
            for key in [key for key in now if key not in before]:
                self.delete(resource, *key)
            for key, item in before.items():
                if key not in now:
                    self.create(resource, item)
                elif now[key] != item:
                    self.update(resource, item)

    def forget_events(self) -> None:
        """Compact, as etcd does every five minutes: a watch from before then gets 410."""
        self._log.clear()
        self._floor = self.version

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _newer(self, version: int) -> list[Event]:
        newer = []
        for event in reversed(self._log):
            if event.version <= version:
                break
            newer.append(event)
        return newer[::-1]

    def _as_of(self, resource: Resource, version: int) -> dict[Key, Object]:
        if version < self._floor:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            )
        objects = dict(self._objects[resource])
        for event in reversed(self._newer(version)):
            if event.resource is resource:
                if event.before is None:
                    del objects[event.key]
                else:
                    objects[event.key] = event.before
        return objects

    def _record(self, type_: str, resource: Resource, key: Key, before: Object | None, after: Object) -> Object:
        self.version += 1
        after = _stamped(after, str(self.version))
        if type_ == "DELETED":
            del self._objects[resource][key]
        else:
            self._objects[resource][key] = after
        self._log.append(Event(self.version, type_, resource, key, before, after))
        if len(self._log) > self._kept:
            self._floor = self._log.popleft().version
        for listener in list(self._listeners):
            listener()
        return after


def _stamped(item: Object, version: str) -> Object:
    return item | {"metadata": item["metadata"] | {"resourceVersion": version}}
