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


def fault(code: int, status: str, message: str, what: str) -> FaultError:
    """Translate an API's refusal: `code` is the HTTP status (0: no answer), `status` Google's canonical code or ''.

    403 is retryable: fresh grants take minutes, and it never means that something is gone.
    """
    text = f"{what}: {code or 'no answer'} {status} {message}".replace("  ", " ").strip()[:900]
    # 400 alone is ambiguous: INVALID_ARGUMENT stays wrong, FAILED_PRECONDITION may pass (https://google.aip.dev/193).
    permanent = code == 422 or (code == 400 and status == "INVALID_ARGUMENT")
    return PermanentError(text) if permanent else RetryableError(text)
