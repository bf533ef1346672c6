"""Signs and verifies the proof of a grant: an ID token that Google signs for `grant-rbac`'s own identity.

The metadata server issues it for an audience that names one grant (shared/decisions/rbac.py `grant_audience`); no service has
that audience, so the token opens nothing. Neither call is a call of a quota-limited API: Google's certificates are kept.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from shared.clients import answers
from shared.clients.answers import Refusal
from shared.clients.transport import CONNECT_SECONDS, token_request

if TYPE_CHECKING:
    from google.auth.transport.requests import Request

GOOGLE: Final = "https://www.googleapis.com/"
CERTIFICATES: Final = "oauth2/v1/certs"
ISSUERS: Final = ("accounts.google.com", "https://accounts.google.com")
CLOCK_SKEW_SECONDS: Final = 30
# Google publishes a key a day before it signs with it. A token with an unknown key is forged, or the copy is old.
REFETCH_AFTER_SECONDS: Final = 300.0
MAX_BYTES: Final = 2**20
MAX_TOKEN_LENGTH: Final = 8192

_LOADING: Final = threading.Lock()


class GrantSigner:
    """Google's ID tokens. `account` is the e-mail address of `grant-rbac`, the only identity whose proof counts."""

    def __init__(self, account: str, endpoint: str = "") -> None:
        self._account = account
        self._url = (endpoint or GOOGLE).rstrip("/") + f"/{CERTIFICATES}"
        self._certificates: dict[str, str] = {}
        self._fetched = float("-inf")

    def sign_grant(self, audience: str) -> str:
        """Return an ID token of this function's own identity, from the metadata server. Lives for an hour."""
        from google.auth.compute_engine import IDTokenCredentials

        _load_jwt()
        with answers.translated("signing the proof of the grant"):
            # Without a request at first: google-auth would ask for the e-mail, which the token has anyway.
            credentials = IDTokenCredentials(None, audience, use_metadata_identity_endpoint=True)
            credentials.refresh(token_request())
        return str(credentials.token)

    def verify_grant(self, token: str, audience: str) -> datetime | None:
        """Return when the proof was signed; None if it does not prove this grant, whatever the reason.

        Raises RetryableError if Google's certificates cannot be read: that says nothing about the proof.
        """
        if not token or len(token) > MAX_TOKEN_LENGTH:
            return None
        jwt = _load_jwt()
        try:
            key = jwt.decode_header(token).get("kid")
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None
        if key not in self._certificates and time.monotonic() - self._fetched > REFETCH_AFTER_SECONDS:
            self._certificates = self._fetch(token_request())
            self._fetched = time.monotonic()
        if not isinstance(key, str) or key not in self._certificates:
            return None
        try:
            claims: Any = jwt.decode(
                token, self._certificates, audience=audience, clock_skew_in_seconds=CLOCK_SKEW_SECONDS
            )
            if (
                claims.get("iss") not in ISSUERS
                or claims.get("email") != self._account
                or claims.get("email_verified") is not True
            ):
                return None
            return datetime.fromtimestamp(claims["iat"], UTC)
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError):
            return None

    def _fetch(self, request: Request) -> dict[str, str]:
        """Read Google's certificates: key ID → PEM."""
        what = f"reading {self._url}"
        with answers.translated(what):
            response = request(self._url, timeout=CONNECT_SECONDS)
        if response.status != 200:
            raise Refusal.read(response.status, response.data).error(what)
        found = answers.parsed(response.data, MAX_BYTES, what)
        if not found or not all(isinstance(pem, str) for pem in found.values()):
            raise answers.unusable(what, "it is not a set of certificates")
        return found


def _load_jwt() -> Any:
    """Load google-auth's module, and cryptography with it: only a grant needs them (docs/decisions/0007).

    One thread at a time: until Python 3.11.9, a module that loads itself when touched looks empty to other threads meanwhile.
    """
    with _LOADING:
        from google.auth import jwt

        getattr(jwt, "decode")  # noqa: B009  touching it loads it
        return jwt
