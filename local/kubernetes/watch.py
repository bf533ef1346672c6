"""Watches: an answer lasts until its timeout, its client disconnects, or the server stops."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from local.kubernetes.requests import integer, table_wanted
from local.kubernetes.selectors import selector
from local.kubernetes.status import StatusError
from local.kubernetes.tables import table

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Send

    from local.kubernetes.requests import Asked
    from local.kubernetes.resources import Resource
    from local.kubernetes.store import Event, Object, Store

WATCH_SECONDS = 1800.0


class Watches:
    """All watches of one cluster."""

    def __init__(self, store: Store, now: Callable[[], dt.datetime]) -> None:
        self._store = store
        self._now = now
        self._watches: set[asyncio.Event] = set()
        self._closed = False

    def close(self) -> None:
        """End all watches, and refuse new ones. Call it on the loop that serves them, before the server stops."""
        self._closed = True
        for wake in self._watches:
            wake.set()

    async def serve(self, request: Request, send: Send, resource: Resource, asked: Asked) -> None:
        matches = selector(resource, asked.query.get("labelSelector", ""), asked.query.get("fieldSelector", ""))
        wanted = table_wanted(request)
        seconds = float(integer(asked.query, "timeoutSeconds") or WATCH_SECONDS)
        since = integer(asked.query, "resourceVersion")
        header = True

        async def emit(type_: str, item: Object) -> None:
            nonlocal header
            if wanted and type_ in {"ADDED", "MODIFIED", "DELETED"}:
                metadata = {"resourceVersion": item["metadata"]["resourceVersion"]}
                item = table(resource, [item], self._now(), wanted, metadata, header=header)
                header = False
            line = json.dumps({"type": type_, "object": item}, separators=(",", ":")).encode() + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})

        wake = asyncio.Event()
        stop_listening = self._store.listen(wake.set)
        gone = asyncio.create_task(_disconnected(request))
        self._watches.add(wake)
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-cache, private")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            initial = asked.query.get("sendInitialEvents") == "true"
            if initial or since == 0:
                since = self._store.version
                for item in self._store.all(resource, asked.namespace or None):
                    if matches(item):
                        await emit("ADDED", item)
                if initial:
                    await emit("BOOKMARK", _bookmark(resource, since))
            while not self._closed and not gone.done():
                wake.clear()
                for event in self._store.since(since, resource):
                    since = event.version
                    seen = _seen(event, asked.namespace, matches)
                    if seen is not None:
                        await emit(*seen)
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or not await _woken(wake, gone, left):
                    break
        except StatusError as error:  # 410: within a watch even the refusal is an event
            await emit("ERROR", error.body)
        finally:
            self._watches.discard(wake)
            stop_listening()
            disconnected = gone.done()
            gone.cancel()
        if not disconnected:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _bookmark(resource: Resource, version: int) -> Object:
    """The end of the initial events of a streaming list (KEP-3157)."""
    metadata = {"resourceVersion": str(version), "annotations": {"k8s.io/initial-events-end": "true"}}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}


def _seen(event: Event, namespace: str, matches: Callable[[Object], bool]) -> tuple[str, Object] | None:
    """Return the event as a watch with this selector sees it: what starts or stops matching is added or deleted."""
    if namespace and event.key[0] != namespace:
        return None
    before = event.before is not None and matches(event.before)
    after = event.type != "DELETED" and matches(event.after)
    if not before and not after:
        return None
    if before and not after and event.before is not None:
        version = {"resourceVersion": event.after["metadata"]["resourceVersion"]}
        return "DELETED", event.before | {"metadata": event.before["metadata"] | version}
    return ("MODIFIED" if before else "ADDED"), event.after


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _woken(wake: asyncio.Event, gone: asyncio.Task[None], seconds: float) -> bool:
    """Wait for a change; return False when the client has disconnected or the time is over."""
    waiting = asyncio.create_task(wake.wait())
    try:
        done, _ = await asyncio.wait({waiting, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return waiting in done and gone not in done
    finally:
        waiting.cancel()
