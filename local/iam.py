"""Identities and what they may do: the local stand-in for Google's IAM.

The roles come from `infra/roles.json`, the file that Terraform reads too, so that what runs here is what is shipped.
A token is a random string that the metadata server (or `local up`, for people) hands out; it says who is calling.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

ROLES = Path(__file__).parent.parent / "infra" / "roles.json"


@dataclass
class Iam:
    """Who is who, and who may do what, where.

    `grants` maps an e-mail to {project id: permissions}; `owners` may do everything (the person at the laptop).
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


def account_id(function: str) -> str:
    """Return the id of a function's service account, as Terraform names it: Google takes 6 to 30 characters."""
    return function if len(function) > 5 else f"fleet-{function}"


def service_account(name: str, project: str) -> str:
    """Return the e-mail of the service account of a function (or of Argo CD, Eventarc, Pub/Sub) in `project`."""
    return f"{account_id(name)}@{project}.iam.gserviceaccount.com"


def shipped_roles() -> dict[str, dict[str, list[str]]]:
    """Read `infra/roles.json`: identity → {`publish`, `fleet`, `source`, `secrets`} → names."""
    roles: dict[str, dict[str, list[str]]] = json.loads(ROLES.read_text())
    return roles


def with_shipped_roles(fleet_project: str, source_projects: list[str]) -> Iam:
    """Return an IAM in which each function's identity holds exactly what `infra/roles.json` gives it."""
    iam = Iam()
    for name, role in shipped_roles().items():
        email = service_account(name, fleet_project)
        iam.grant(email, fleet_project, *role["fleet"])
        for project in source_projects:
            iam.grant(email, project, *role["source"])
    return iam
