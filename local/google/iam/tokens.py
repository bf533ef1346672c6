"""Tokens: access tokens are random strings that are known here, identity tokens are signed with a key that is made here."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from typing import Any


class Tokens:
    """All tokens of one cloud."""

    def __init__(self) -> None:
        self.access: dict[str, str] = {}
        self._key = secrets.token_bytes(32)

    def new(self, email: str) -> str:
        """Return a new access token of an identity."""
        token = f"local.{secrets.token_urlsafe(24)}"
        self.access[token] = email
        return token

    def new_identity_token(self, email: str, audience: str, lifetime: int = 3600) -> str:
        """Return a token of the shape of Google's OIDC tokens, signed by this cloud (HS256; Google signs with RS256)."""
        now = int(time.time())
        claims = {
            "aud": audience,
            "azp": email,
            "email": email,
            "email_verified": True,
            "exp": now + lifetime,
            "iat": now,
            "iss": "https://accounts.google.com",
            "sub": email,
        }
        header = {"alg": "HS256", "kid": "local", "typ": "JWT"}
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_base64(self._signature(signed))}"

    def claims(self, identity_token: str) -> dict[str, Any] | None:
        """Return what a valid identity token claims; None where it is none of ours, or over."""
        signed, _, signature = identity_token.rpartition(".")
        if not hmac.compare_digest(signature, _base64(self._signature(signed))):
            return None
        try:
            claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
        except (ValueError, binascii.Error):
            return None
        return claims if claims["exp"] > time.time() else None

    def _signature(self, signed: str) -> bytes:
        return hmac.new(self._key, signed.encode(), hashlib.sha256).digest()


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
