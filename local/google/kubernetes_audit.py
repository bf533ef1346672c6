"""The entries that a GKE cluster's Kubernetes API writes into Cloud Audit Logs: one for each write, done or refused.

Names follow recorded entries; fields: https://cloud.google.com/kubernetes-engine/docs/how-to/audit-logging. Left out: reads
(Data Access), request and response bodies, and reviews, events and leases.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local.google.wire import CODES, STATUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Json = dict[str, Any]

SERVICE = "k8s.io"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PATH = re.compile(
    r"(?:/api|/apis/(?P<group>[^/]+))/(?P<version>[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[^/]+))?"
)
_LEFT_OUT = {"authorization.k8s.io", "authentication.k8s.io", "coordination.k8s.io", "events.k8s.io"}
_NAME_BYTES = 65536  # of an answer, in which the name of a new object is looked for


@dataclass(frozen=True, slots=True)
class Write:
    """One write to a Kubernetes object. `group` is '' for the core group; `name` is '' for a collection."""

    verb: str
    group: str
    version: str
    namespace: str
    plural: str
    name: str
    subresource: str

    @property
    def method(self) -> str:
        """The method's name, such as io.k8s.authorization.rbac.v1.clusterrolebindings.create."""
        own = self.group.removesuffix(".k8s.io")
        reverse = ".".join(reversed((own or "core").split(".")))
        prefix = reverse if "." in own and own == self.group else f"io.k8s.{reverse}"
        parts = (prefix, self.version, self.plural, self.subresource, self.verb)
        return ".".join(part for part in parts if part)

    @property
    def resource(self) -> str:
        """The object's name, such as core/v1/namespaces/default/secrets/mine."""
        place = f"namespaces/{self.namespace}" if self.namespace else ""
        parts = (self.group or "core", self.version, place, self.plural, self.name, self.subresource)
        return "/".join(part for part in parts if part)


def parse(method: str, path: str) -> Write | None:
    """Return the write of a request; None for a read, and for a resource that is not audited."""
    found = _PATH.fullmatch(path)
    if method not in _VERBS or found is None:
        return None
    parts = {key: value or "" for key, value in found.groupdict().items()}
    if parts["group"] in _LEFT_OUT or (parts["plural"] == "events" and not parts["group"]):
        return None
    verb = "deletecollection" if method == "DELETE" and not parts["name"] else _VERBS[method]
    return Write(verb, **parts)


def entry(write: Write, cluster: str, user: str, status: int, agent: str = "") -> Json:
    """Return the entry about a write to a cluster (full name) that was answered with this HTTP status."""
    _, project, _, location, _, short = cluster.split("/")
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    id_ = str(uuid.uuid4())
    code = CODES.get(STATUS.get(status, "UNKNOWN"), 2) if status >= 400 else 0
    right = {"permission": write.method, "resource": write.resource} | ({} if status == 403 else {"granted": True})
    return {
        "insertId": id_,
        "logName": f"projects/{project}/logs/cloudaudit.googleapis.com%2Factivity",
        "operation": {"id": id_, "producer": SERVICE, "first": True, "last": True},
        "resource": {
            "type": "k8s_cluster",
            "labels": {"cluster_name": short, "location": location, "project_id": project},
        },
        "timestamp": now,
        "receiveTimestamp": now,
        "labels": {"authorization.k8s.io/decision": "forbid" if status == 403 else "allow"},
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": SERVICE,
            "methodName": write.method,
            "resourceName": write.resource,
            "authenticationInfo": {"principalEmail": user},
            "authorizationInfo": [right],
            "requestMetadata": {"callerIp": "127.0.0.1", "callerSuppliedUserAgent": agent},
            "status": {"code": code, "message": f"HTTP {status}"} if code else {},
        },
    }


def audited(
    app: ASGIApp, cluster: str, prefix: str, user_of: Callable[[Scope], str], keep: Callable[[Json], None]
) -> ASGIApp:
    """Wrap the Kubernetes API of a cluster, served below a prefix: each write becomes an entry when it is answered."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        write = parse(scope["method"], scope["path"].removeprefix(prefix)) if scope["type"] == "http" else None
        if write is None:
            await app(scope, receive, send)
            return
        status, answer = 0, bytearray()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif len(answer) < _NAME_BYTES:
                answer.extend(message.get("body", b""))
            await send(message)

        try:
            await app(scope, receive, noted)
        finally:
            if status and status != 401:  # who calls is not known then
                named = replace(write, name=write.name or _name(write, bytes(answer)))
                agents = [value.decode("latin-1") for key, value in scope["headers"] if key == b"user-agent"]
                keep(entry(named, cluster, user_of(scope), status, *agents[:1]))

    return wrapped


def _name(write: Write, answer: bytes) -> str:
    """Return the name of a new object, as the answer has it; '' where it has none."""
    if write.verb != "create":
        return ""
    try:
        found = json.loads(answer)
    except ValueError:
        return ""
    place = found.get("details" if found.get("kind") == "Status" else "metadata") if isinstance(found, dict) else None
    return str(place.get("name", "")) if isinstance(place, dict) else ""
