"""The identities that Terraform creates, with the permissions of `infra/roles.json`, the file that Terraform reads too."""

from __future__ import annotations

import json
from pathlib import Path

ROLES = Path(__file__).parent.parent / "infra" / "roles.json"


def account_id(function: str) -> str:
    """Return the id of a function's service account, as Terraform names it: Google takes 6 to 30 characters."""
    return function if len(function) > 5 else f"fleet-{function}"


def service_account(name: str, project: str) -> str:
    """Return the e-mail of the service account of a function (or of Argo CD, Eventarc, Pub/Sub) in `project`."""
    return f"{account_id(name)}@{project}.iam.gserviceaccount.com"


def shipped_roles() -> dict[str, dict[str, list[str]]]:
    """Read `infra/roles.json`: identity → {`publish`, `fleet`, `central`, `source`, `secrets`, for one `run`} → names."""
    roles: dict[str, dict[str, list[str]]] = json.loads(ROLES.read_text())
    return roles
