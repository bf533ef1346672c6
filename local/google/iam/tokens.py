"""Tokens: access tokens are random strings that are known here, identity tokens are signed with a key that is made here."""

from __future__ import annotations

import functools
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

ISSUER = "https://accounts.google.com"
REUSED_SECONDS = 60  # an identity token is reused for this time, as Pub/Sub and the metadata server do
KEPT = 1000  # identity tokens


@functools.cache
def signing_key() -> rsa.RSAPrivateKey:
    """Return the key of the identity tokens. This process makes it at the first call, and does not rotate it."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Tokens:
    """All tokens of one cloud."""

    def __init__(self) -> None:
        self.access: dict[str, str] = {}
        # The last identity token of each kind, and when it was signed.
        self._signed: dict[tuple[str, str, int], tuple[int, str]] = {}

    @functools.cached_property
    def _signer(self) -> crypt.RSASigner:
        return crypt.RSASigner(signing_key(), secrets.token_hex(20))

    @functools.cached_property
    def certificates(self) -> dict[str, str]:
        """What verifies the identity tokens: key ID → PEM."""
        return {self._signer.key_id: _certificate(signing_key())}

    def new(self, email: str) -> str:
        """Return a new access token of an identity."""
        token = f"local.{secrets.token_urlsafe(24)}"
        self.access[token] = email
        return token

    def new_identity_token(self, email: str, audience: str, lifetime: int = 3600) -> str:
        """Return an OIDC token as Google signs it (RS256), or the last one for the same, if that is new enough."""
        now, kind = int(time.time()), (email, audience, lifetime)
        signed_at, token = self._signed.get(kind, (0, ""))
        if signed_at <= now < signed_at + min(REUSED_SECONDS, lifetime // 10):
            return token
        claims = {
            "aud": audience,
            "azp": email,
            "email": email,
            "email_verified": True,
            "exp": now + lifetime,
            "iat": now,
            "iss": ISSUER,
            "sub": email,
        }
        token = str(jwt.encode(self._signer, claims).decode())
        if len(self._signed) >= KEPT:
            self._signed.clear()
        self._signed[kind] = now, token
        return token

    def claims(self, identity_token: str) -> dict[str, Any] | None:
        """Return the claims of a valid identity token; None if it is not from here, or expired."""
        try:
            return dict(jwt.decode(identity_token, self.certificates))
        except (ValueError, TypeError, AttributeError):
            return None


def certificates_app(tokens: Tokens) -> Starlette:
    """Return the application that answers for www.googleapis.com/oauth2/v1/certs."""

    async def certificates(_request: Request) -> JSONResponse:
        return JSONResponse(tokens.certificates, headers={"Cache-Control": "public, max-age=20000"})

    return Starlette(routes=[Route("/oauth2/v1/certs", certificates)])


def _certificate(key: rsa.RSAPrivateKey) -> str:
    """The key's certificate, self-signed like Google's."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "federated-signon.system.gserviceaccount.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
