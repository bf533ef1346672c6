"""The entries that the fleet API writes into Cloud Audit Logs: who changed a membership, or tried to.

Fields: https://cloud.google.com/logging/docs/audit/understanding-audit-logs. Left out: the entry that ends an operation, which
names nobody.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local.google.wire import CODES

if TYPE_CHECKING:
    from local.google.wire import GoogleError

Json = dict[str, Any]

SERVICE = "gkehub.googleapis.com"
_VERBS = {"Create": "create", "Update": "update", "Delete": "delete"}


def entry(
    verb: str, version: str, name: str, caller: str, *, operation: str = "", error: GoogleError | None = None
) -> Json:
    """Return the entry of a call that changes a membership (full name): `verb` is Create, Update or Delete."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    _, project, _, location, *_ = name.split("/")
    method = f"google.cloud.gkehub.{version}.GkeHub.{verb}Membership"
    right: Json = {"permission": f"gkehub.memberships.{_VERBS[verb]}", "resource": name}
    found: Json = {
        "insertId": secrets.token_hex(7),
        "logName": f"projects/{project}/logs/cloudaudit.googleapis.com%2Factivity",
        "resource": {
            "type": "audited_resource",
            "labels": {"project_id": project, "service": SERVICE, "method": method},
        },
        "timestamp": now,
        "receiveTimestamp": now,
        "severity": "ERROR" if error else "NOTICE",
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": SERVICE,
            "methodName": method,
            "resourceName": name,
            "resourceLocation": {"currentLocations": [location]},
            "authenticationInfo": {"principalEmail": caller},
            "authorizationInfo": [right | ({} if error and error.code == 403 else {"granted": True})],
            "requestMetadata": {"callerIp": "127.0.0.1", "requestAttributes": {}, "destinationAttributes": {}},
        },
    }
    if error:
        found["protoPayload"]["status"] = {"code": CODES.get(error.status, 2), "message": error.message}
    if operation:
        found["operation"] = {"id": operation, "producer": SERVICE, "first": True}
    return found
