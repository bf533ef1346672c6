"""The identities that Terraform creates, with the permissions of `infra/roles.json`, the file that Terraform reads too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from local.google.iam.state import Iam, member

if TYPE_CHECKING:
    from collections.abc import Collection

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


def with_shipped_roles(fleet_project: str, source_projects: Collection[str]) -> Iam:
    """Return an IAM in which each identity has exactly the permissions of `infra/roles.json`.

    Custom roles are named as Terraform names them: `fleet_registrar.<identity>` with `.source` or `.run`.
    """
    iam = Iam()
    for name, role in shipped_roles().items():
        email = service_account(name, fleet_project)
        iam.create_account(email, f"Fleet Registrar: {name}")
        id_ = f"fleet_registrar.{name.replace('-', '_')}"
        scopes = [
            (fleet_project, "fleet", id_, {*role["fleet"], *role["central"]}),
            (fleet_project, "run", f"{id_}.run", set(role.get("run", []))),
            *((project, "source", f"{id_}.source", set(role["source"])) for project in source_projects),
        ]
        for project, scope, role_id, permissions in scopes:
            if permissions:
                full = f"projects/{project}/roles/{role_id}"
                iam.define_role(full, permissions, f"Fleet Registrar: {name}, {scope}")
                iam.bind(f"projects/{project}", full, member(email))
    return iam
