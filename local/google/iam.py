"""Identities and what they may do: the stand-in for Google's IAM.

A token is a random string that the metadata server hands out; it says who is calling.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field


@dataclass
class Iam:
    """Who is who, and who may do what, where.

    `grants` maps an e-mail to {project id: permissions}; `owners` may do everything (the person whose machine this is).
    """

    tokens: dict[str, str] = field(default_factory=dict)
    grants: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    owners: set[str] = field(default_factory=set)

    def token_for(self, email: str) -> str:
        """Return a new bearer token that says `email`."""
        token = f"local.{secrets.token_urlsafe(24)}"
        self.tokens[token] = email
        return token

    def identity(self, authorization: str | None) -> str | None:
        """Return the e-mail behind an `Authorization: Bearer …` header, or None."""
        kind, _, token = (authorization or "").partition(" ")
        return self.tokens.get(token.strip()) if kind.lower() == "bearer" else None

    def grant(self, email: str, project: str, *permissions: str) -> None:
        """Give `email` the permissions in `project` (an id)."""
        self.grants.setdefault(email, {}).setdefault(project, set()).update(permissions)

    def revoke(self, email: str, project: str, *permissions: str) -> None:
        """Take the permissions away again: tests show that one less is not enough."""
        self.grants.get(email, {}).get(project, set()).difference_update(permissions)

    def allows(self, email: str | None, permission: str, project: str) -> bool:
        """Whether IAM lets `email` use `permission` in `project` (an id)."""
        return email is not None and (email in self.owners or permission in self.grants.get(email, {}).get(project, ()))
