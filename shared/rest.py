"""A GET of a Google API by google-auth's session: the answer's object, the API's 404, or a fault.

Reading needs no more: an official client's import alone costs more than all the reads of a step (docs/decisions/0003).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

from shared.errors import RetryableError, fault

if TYPE_CHECKING:
    from google.auth.transport.requests import AuthorizedSession

TIMEOUT_SECONDS = 20


def get(session: AuthorizedSession, url: str, what: str, *, missing_is_none: bool = False) -> dict[str, Any] | None:
    """Return the object that a URL answers with; None is the API's 404, where that is asked for.

    Only a 200 with an object is an answer: an empty body would pass for an empty list. Raises a fault for everything else.
    """
    try:
        response = session.get(url, timeout=TIMEOUT_SECONDS)
    except (RequestException, GoogleAuthError) as error:
        raise RetryableError(f"{what}: no answer from the API: {error}") from error
    if response.status_code == 404 and missing_is_none:
        return None
    try:
        body = response.json()
    except ValueError:
        body = None
    if not response.ok:
        told = body.get("error") if isinstance(body, dict) else None
        told = told if isinstance(told, dict) else {}
        raise fault(response.status_code, str(told.get("status", "")), str(told.get("message", "")), what)
    if not isinstance(body, dict):
        raise RetryableError(f"{what}: no usable answer from the API ({response.status_code} without an object)")
    return body
