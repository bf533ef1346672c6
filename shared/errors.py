"""The two kinds of fault, and the one place that tells them apart.

*Retryable* faults are raised, so that Pub/Sub delivers again and after its attempts dead-letters. *Permanent* faults
are published to `dead-letters` with their reason and acknowledged. What is not known to be permanent is retryable.
"""

from __future__ import annotations


class FaultError(Exception):
    """A step cannot be done. The message says what happened, to which object, and what to do."""


class RetryableError(FaultError):
    """Trying again may help: the message is delivered again."""


class PermanentError(FaultError):
    """Trying again cannot help: the message goes to `dead-letters`."""


class TakenError(RetryableError):
    """A membership of that id is there already: look again."""


class ConflictError(RetryableError):
    """409: something else has written meanwhile, or an object of that name is there. Look again."""


class RefusedError(RetryableError):
    """The cluster itself (not the gateway) refuses our identity: a 403 that is a Kubernetes `Status`."""


def fault(code: int, status: str, message: str, what: str) -> FaultError:
    """Translate an API's refusal: `code` is the HTTP status (0: no answer), `status` Google's canonical code or ''.

    403 is retryable: fresh grants take minutes, and it never means that something is gone.
    """
    text = f"{what}: {code or 'no answer'} {status} {message}".replace("  ", " ").strip()[:900]
    # 400 alone is ambiguous: INVALID_ARGUMENT stays wrong, FAILED_PRECONDITION may pass (https://google.aip.dev/193).
    permanent = code == 422 or (code == 400 and status == "INVALID_ARGUMENT")
    return PermanentError(text) if permanent else RetryableError(text)
