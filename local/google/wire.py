"""What Google's REST APIs have in common on the wire: the error body, the check of a permission, the reading of a body."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from starlette.applications import Starlette
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute

# https://cloud.google.com/apis/design/errors: canonical codes by HTTP status (400 and 409 have more than one).
STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# google/rpc/code.proto
CODES = {
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
}


class GoogleError(Exception):
    """An API's refusal: `code` is the HTTP status, `status` the canonical code (by default the usual one)."""

    def __init__(self, code: int, message: str, status: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or STATUS.get(code, "UNKNOWN")


def google_error(code: int, message: str, status: str | None = None) -> JSONResponse:
    """Return Google's error body, which is not a Kubernetes `Status`: the gateway's own refusals look like this."""
    body = {"error": {"code": code, "message": message, "status": status or STATUS.get(code, "UNKNOWN")}}
    return JSONResponse(body, status_code=code)


def google_api(routes: Sequence[BaseRoute]) -> Starlette:
    """Return an application whose `GoogleError`s, unknown paths and crashes become Google's error bodies."""

    async def refused(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, GoogleError):
            raise error
        return google_error(error.code, error.message, error.status)

    async def unknown(request: Request, _error: Exception) -> JSONResponse:
        return google_error(404, f"no such method: {request.method} {request.url.path}")

    return Starlette(routes=list(routes), exception_handlers={GoogleError: refused, 404: unknown, 405: unknown})


class Allows(Protocol):
    """What knows the permissions of identities: IAM."""

    def allows(self, email: str | None, permission: str, project: str) -> bool: ...


def require(request: Request, iam: Allows, permission: str, project: str) -> str:
    """Return who is calling, or refuse with 401 or 403 as Google does. `project` is an id."""
    caller: str | None = request.scope.get("identity")
    if caller is None:
        raise GoogleError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")
    if not iam.allows(caller, permission, project):
        raise GoogleError(403, f"Permission '{permission}' denied on resource 'projects/{project}' for '{caller}'.")
    return caller


async def json_body(request: Request) -> dict[str, Any]:
    """Read a JSON object, or refuse with 400."""
    raw = await request.body()
    try:
        body = json.loads(raw or b"{}")
    except ValueError as error:
        raise GoogleError(400, f"Invalid JSON payload received: {error}") from error
    if not isinstance(body, dict):
        raise GoogleError(400, "Invalid JSON payload received: expected an object.")
    return body
