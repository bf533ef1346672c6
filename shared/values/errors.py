"""Retryable and permanent errors, and the mapping from API errors to them.

*Retryable* faults are raised, so that Pub/Sub delivers again and after its attempts dead-letters. *Permanent* faults
are published to `dead-letters` with their reason and acknowledged. What is not known to be permanent is retryable.
"""

from __future__ import annotations

from shared.values.codes import ErrorCode


class ReconcileError(Exception):
    """A step cannot be done. The message says what happened, to which object, and what to do.

    `code` is for programs; `status` is the HTTP status of the answer that it came from, 0 where it came from none, and
    `reason` that answer's canonical code or Kubernetes reason.
    """

    default = ErrorCode.FAILED

    def __init__(self, message: str, code: ErrorCode | None = None, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.code = code or self.default
        self.status = status
        self.reason = reason


class RetryableError(ReconcileError):
    """Trying again may help: the message is delivered again."""


class PermanentError(ReconcileError):
    """Trying again cannot help: the message goes to `dead-letters`."""


class TakenError(RetryableError):
    """A membership of that ID exists already: read it."""

    default = ErrorCode.ID_TAKEN


class ConflictError(RetryableError):
    """409: another writer was faster, or the object exists already. Read it."""

    default = ErrorCode.CONFLICT


class RefusedError(RetryableError):
    """The cluster itself (not the gateway) refuses our identity: a 403 that is a Kubernetes `Status`."""

    default = ErrorCode.CLUSTER_DENIED


_CODES = {
    0: ErrorCode.NO_ANSWER,
    400: ErrorCode.INVALID_REQUEST,
    403: ErrorCode.DENIED,
    404: ErrorCode.NOT_FOUND,
    409: ErrorCode.CONFLICT,
    422: ErrorCode.INVALID_REQUEST,
    429: ErrorCode.RATE_LIMITED,
}


def fault(code: int, status: str, message: str, what: str, *, by_cluster: bool = False) -> ReconcileError:
    """Translate a refusal: `code` is the HTTP status (0: no answer), `status` the canonical code or Kubernetes reason.

    403 is retryable: fresh grants take minutes, and it never means that something is gone.
    """
    text = f"{what}: {code or 'no answer'} {status} {message}".replace("  ", " ").strip()[:900]
    # 400 alone is ambiguous: INVALID_ARGUMENT stays wrong, FAILED_PRECONDITION may pass (https://google.aip.dev/193).
    # Only Google's own APIs give a canonical code, and only a Kubernetes API says 422: a proxy's is believed by nobody.
    permanent = (code == 422 and by_cluster) or (code == 400 and status == "INVALID_ARGUMENT" and not by_cluster)
    kind = ConflictError if code == 409 else PermanentError if permanent else RetryableError
    return kind(text, _CODES.get(code, ErrorCode.UNAVAILABLE if code >= 500 else ErrorCode.API_ERROR), code, status)
