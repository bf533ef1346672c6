"""Refusals as Kubernetes words them: a `Status` with code, reason, message and details.

Reasons and messages follow apimachinery's `pkg/api/errors`; clients decide by `reason` and `code`, people read `message`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.kubernetes.resources import Resource


@dataclass(frozen=True)
class Cause:
    """One fault of one field: `reason` is a `FieldValue…` name, `message` starts with its kind ("Invalid value: …")."""

    reason: str
    message: str
    field: str


class StatusError(Exception):
    """A refusal; `body` is the Status object."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return body | {"code": self.code}


def details(resource: Resource, name: str = "", kind: str = "", **more: object) -> dict[str, Any]:
    """Details name the plural in most refusals, and the kind in those about a body."""
    named = {"name": name, "group": resource.group, "kind": kind or resource.plural, **more}
    return {key: value for key, value in named.items() if value}


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def not_found(resource: Resource, name: str) -> StatusError:
    return StatusError(404, "NotFound", f'{resource.qualified} "{name}" not found', details(resource, name))


def no_such_path() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: Resource, name: str) -> StatusError:
    message = f'{resource.qualified} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, details(resource, name))


def conflict(resource: Resource, name: str, why: str, kind: str = "") -> StatusError:
    message = f'Operation cannot be fulfilled on {kind or resource.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, details(resource, name, kind))


def modified(resource: Resource, name: str) -> StatusError:
    """The refusal of a stale resourceVersion."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, why)


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> StatusError:
    lines = [f"{cause.field}: {cause.message}" for cause in causes]
    causes_text = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    message = f'{resource.qualified_kind} "{name}" is invalid: {causes_text}'
    return StatusError(422, "Invalid", message, details(resource, name, resource.kind, causes=listed))


def forbidden(resource: Resource, name: str, why: str) -> StatusError:
    named = f'{resource.qualified} "{name}"' if name else resource.qualified
    return StatusError(403, "Forbidden", f"{named} is forbidden: {why}", details(resource, name))


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def method_not_allowed() -> StatusError:
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media_type(content_type: str, accepted: str) -> StatusError:
    message = (
        f"the body of the request was in an unknown format ({content_type}) - accepted media types include: {accepted}"
    )
    return StatusError(415, "UnsupportedMediaType", message)
