"""The identities that Terraform creates, with the permissions of `infra/roles.json`, the file that Terraform reads too."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from local.google.iam import Iam

ROLES = Path(__file__).parent.parent / "infra" / "roles.json"


def account_id(function: str) -> str:
    """Return the id of a function's service account, as Terraform names it: Google takes 6 to 30 characters."""
    return function if len(function) > 5 else f"fleet-{function}"


def service_account(name: str, project: str) -> str:
    """Return the e-mail of the service account of a function (or of Argo CD, Eventarc, Pub/Sub) in `project`."""
    return f"{account_id(name)}@{project}.iam.gserviceaccount.com"


def unique_id(email: str) -> str:
    """Return the unique id of a service account: 21 digits, here derived from its e-mail."""
    return f"1{int(hashlib.sha256(email.encode()).hexdigest(), 16) % 10**20:020}"


def shipped_roles() -> dict[str, dict[str, list[str]]]:
    """Read `infra/roles.json`: identity → {`publish`, `fleet`, `source`, `secrets`} → names."""
    roles: dict[str, dict[str, list[str]]] = json.loads(ROLES.read_text())
    return roles


def with_shipped_roles(fleet_project: str, source_projects: list[str]) -> Iam:
    """Return an IAM in which each identity has exactly the permissions of `infra/roles.json`."""
    iam = Iam()
    for name, role in shipped_roles().items():
        email = service_account(name, fleet_project)
        iam.grant(email, fleet_project, *role["fleet"])
        for project in source_projects:
            iam.grant(email, project, *role["source"])
    return iam
