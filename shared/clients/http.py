"""A GET of a Google API by google-auth's session: the answer's object, the API's 404, or a fault; and what is inside an answer.

Reading needs no more, and an official client's import costs a cold start (docs/decisions/0003).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError, fault

if TYPE_CHECKING:
    from google.auth.transport.requests import AuthorizedSession

T = TypeVar("T")

TIMEOUT_SECONDS = 20


def get(session: AuthorizedSession, url: str, what: str, *, missing_is_none: bool = False) -> dict[str, Any] | None:
    """Return the object that a URL answers with; None is the API's 404, where that is asked for.

    Only a 200 with an object is an answer: an empty body would pass for an empty list. Raises a fault for everything else.
    """
    try:
        response = session.get(url, timeout=TIMEOUT_SECONDS)
    except (RequestException, GoogleAuthError) as error:
        raise RetryableError(f"{what}: no answer from the API: {error}", ErrorCode.NO_ANSWER) from error
    if response.status_code == 404 and missing_is_none:
        return None
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    if response.status_code != 200:
        told = body.get("error") if isinstance(body, dict) else None
        told = told if isinstance(told, dict) else {}
        raise fault(response.status_code, str(told.get("status", "")), str(told.get("message", "")), what)
    if not isinstance(body, dict):
        raise RetryableError(
            f"{what}: no usable answer from the API (200 without an object)", ErrorCode.UNUSABLE_ANSWER
        )
    return body


def part(answer: dict[str, Any], key: str, what: str) -> dict[str, Any]:
    """Return an object inside an answer; an empty one where there is none. Raises RetryableError where it is none."""
    found = answer.get(key)
    if found is not None and not isinstance(found, dict):
        raise RetryableError(f"{what}: no usable answer from the API: {key} is no object", ErrorCode.UNUSABLE_ANSWER)
    return found or {}


def texts(answer: dict[str, Any], key: str, what: str) -> dict[str, str]:
    """Return a map of texts inside an answer, such as labels."""
    found = part(answer, key, what)
    if not all(isinstance(value, str) for value in found.values()):
        raise RetryableError(
            f"{what}: no usable answer from the API: {key} holds what is no text", ErrorCode.UNUSABLE_ANSWER
        )
    return found


def listed(answer: dict[str, Any], key: str, what: str, kind: type[T]) -> list[T]:
    """Return a list inside an answer, of objects (dict) or texts (str); proto JSON leaves an empty one out.

    Anything else proves nothing: it must not pass for an empty list.
    """
    found = answer.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, kind) for one in found):
        raise RetryableError(
            f"{what}: no usable answer from the API: {key} is no list of what it should be", ErrorCode.UNUSABLE_ANSWER
        )
    return found
