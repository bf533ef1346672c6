"""A GET of a Google API by google-auth's session: the answer's object, or None for the API's own 404.

Reading needs no more, and an official client's import costs a cold start (docs/decisions/0003).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.clients import answers, deadline
from shared.clients.answers import Refusal
from shared.clients.transport import CONNECT_SECONDS, MAX_BYTES, answer_seconds
from shared.values.objects import Object

if TYPE_CHECKING:
    from google.auth.transport.requests import AuthorizedSession


def get(session: AuthorizedSession, url: str, what: str, *, allow_missing: bool = False) -> Object | None:
    """Return the object at a URL; None for the API's 404, if the caller asks for that.

    Only a 200 with an object is an answer. Raises ReconcileError for everything else.
    """
    with answers.translated(what):
        timeout = (CONNECT_SECONDS, answer_seconds())
        with session.get(url, timeout=timeout, stream=True, allow_redirects=False) as response:
            raw = response.raw.read(MAX_BYTES + 1, decode_content=True)
            status = response.status_code
    deadline.note_read()
    if status != 200:
        refusal = Refusal.read(status, raw)
        if allow_missing and status == 404 and refusal.reason == "NOT_FOUND":
            return None
        raise refusal.error(what)
    body = answers.parsed(raw, MAX_BYTES, what)
    if "error" in body:
        raise answers.unusable(what, "it is a 200 with an error")
    return body
