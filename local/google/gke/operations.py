"""Operations on clusters: begun with an audit entry, finished later with another."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any

from local.google.gke.clusters import now
from local.google.gke.names import API, cluster_name, collection
from local.google.tasks import Tasks, pause
from local.google.wire import CODES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from local.google.audit import AuditedCall
    from local.google.platform import Projects

Json = dict[str, Any]


class Operations:
    """All operations by full name (`all`), and which clusters they keep busy: GKE runs one on a cluster at a time."""

    def __init__(self, projects: Projects, emit_audit: Callable[[Json], None]) -> None:
        self.all: dict[str, Json] = {}
        self.busy: dict[str, Json] = {}
        self.tasks = Tasks()
        self._ends: dict[str, asyncio.Event] = {}
        self._projects = projects
        self._emit_audit = emit_audit

    def new(self, call: AuditedCall, kind: str) -> Json:
        """Create an operation without an audit entry."""
        # Links carry the project's number where everything else has the id.
        base = f"{API}/projects/{self._projects.number(call.project)}/{collection(call.location)}/{call.location}"
        operation = {
            "name": f"operation-{int(time.time() * 1000)}-{uuid.uuid4()}",
            "zone": call.location,
            "location": call.location,
            "operationType": kind,
            "status": "RUNNING",
            "targetLink": f"{base}/clusters/{call.cluster}",
            "startTime": now(),
        }
        operation["selfLink"] = f"{base}/operations/{operation['name']}"
        self.all[f"projects/{call.project}/locations/{call.location}/operations/{operation['name']}"] = operation
        return operation

    def begin(self, call: AuditedCall, kind: str) -> Json:
        """Create an operation on a cluster, which is busy until it ends, and write its first entry."""
        operation = self.busy[cluster_name(call.project, call.location, call.cluster)] = self.new(call, kind)
        self._emit_audit(call.started(operation))
        return operation

    def finish_later(
        self, call: AuditedCall, operation: Json, seconds: float, finish: Callable[[], Awaitable[str | None]]
    ) -> None:
        """After `seconds`, or at a call of `end`, do the rest; what `finish` returns is the operation's error."""
        name = cluster_name(call.project, call.location, call.cluster)
        end = self._ends[name] = asyncio.Event()

        async def run() -> None:
            try:
                await pause(seconds, end)
            finally:
                self._ends.pop(name, None)
            message = await finish()
            if message is not None:
                operation["statusMessage"] = message
                operation["error"] = {"code": CODES["INTERNAL"], "message": message}
            operation.update(status="DONE", endTime=now())
            self.busy.pop(name, None)
            self._emit_audit(call.finished(operation))

        self.tasks.start(run())

    def end(self, cluster: str) -> None:
        """End the wait of the operation on a cluster. Raises ValueError where none waits."""
        if cluster not in self._ends:
            raise ValueError(f"no operation waits on {cluster}")
        self._ends[cluster].set()

    def at_once(self, call: AuditedCall, kind: str) -> None:
        """Write both entries of an operation that is already done."""
        operation = self.new(call, kind)
        self._emit_audit(call.started(operation))
        operation.update(status="DONE", endTime=now())
        self._emit_audit(call.finished(operation))
