"""Long-running operations of the fleet API (google.longrunning.Operation)."""

from __future__ import annotations

import time
import uuid
from copy import deepcopy
from typing import Any

from local.google.fleet.memberships import timestamp

Json = dict[str, Any]


class Operations:
    """All operations by full name (`all`). A request with a repeated ID gets the operation of the first."""

    def __init__(self) -> None:
        self.all: dict[str, Json] = {}
        self._requests: dict[tuple[str, str], Json] = {}

    def of_request(self, target: str, request_id: str) -> Json | None:
        """Return the operation that an earlier request of this id began."""
        return self._requests.get((target, request_id)) if request_id else None

    def begin(self, target: str, verb: str, version: str, request_id: str = "") -> Json:
        """Create an operation on a resource (full name)."""
        parent = target.partition("/memberships/")[0]
        name = f"{parent}/operations/operation-{int(time.time() * 1000)}-{uuid.uuid4()}"
        metadata = {
            "@type": f"type.googleapis.com/google.cloud.gkehub.{version}.OperationMetadata",
            "createTime": timestamp(),
            "target": target,
            "verb": verb,
            "cancelRequested": False,
            "apiVersion": version,
        }
        operation = self.all[name] = {"name": name, "metadata": metadata, "done": False}
        if request_id:
            self._requests[target, request_id] = operation
        return operation

    def end(
        self,
        operation: Json,
        *,
        response: Json | None = None,
        error: tuple[int, str] | None = None,
        kind: str = "Membership",
    ) -> None:
        """End an operation with an error (code, message), with a resource of that kind, or with nothing."""
        version = operation["metadata"]["apiVersion"]
        operation["metadata"]["endTime"] = timestamp()
        operation["done"] = True
        if error is not None:
            operation["error"] = {"code": error[0], "message": error[1]}
        elif response is not None:
            type_ = f"type.googleapis.com/google.cloud.gkehub.{version}.{kind}"
            operation["response"] = {"@type": type_} | deepcopy(response)
        else:
            operation["response"] = {"@type": "type.googleapis.com/google.protobuf.Empty"}
