"""The identities that Terraform creates, with the permissions of `infra/roles.json`, the file that Terraform reads too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from local.google.iam.state import Iam, member

if TYPE_CHECKING:
    from local.registrars import Registrar

# Nobody has these where others register the clusters (`REGISTRATION=wait`).
REGISTERING = frozenset({"gkehub.memberships.create", "gkehub.memberships.delete", "gkehub.operations.get"})
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


def grant_shipped_roles(iam: Iam, registrar: Registrar, central_project: str, *, registers: bool) -> None:
    """Create each identity with exactly the permissions of `infra/roles.json`.

    Custom roles are named as Terraform names them: `fleet_registrar.<identity>` with `.source`, `.run` or `.central`.
    `registers`: it may create and delete memberships.
    """
    default = registrar.instance == "default"
    prefix = "fleet_registrar" if default else f"fr.{registrar.instance.replace('-', '_')}"
    for name, role in shipped_roles().items():
        email = registrar.account(name)
        if email not in iam.accounts:
            iam.create_account(email, f"Fleet Registrar: {name}")
        id_ = f"{prefix}.{name.replace('-', '_')}"
        in_fleet = {one for one in role["fleet"] if registers or one not in REGISTERING}
        if central_project == registrar.project:
            scopes = [(central_project, "fleet", id_, in_fleet | set(role["central"]))]
        else:
            scopes = [
                (registrar.project, "fleet", id_, in_fleet),
                (central_project, "central", f"{id_}.central", set(role["central"])),
            ]
        scopes.append((registrar.project, "run", f"{id_}.run", set(role.get("run", []))))
        scopes += [(project, "source", f"{id_}.source", set(role["source"])) for project in registrar.sources]
        for project, scope, role_id, permissions in scopes:
            if permissions:
                full = f"projects/{project}/roles/{role_id}"
                iam.define_role(full, permissions, f"Fleet Registrar: {name}, {scope}")
                iam.bind(f"projects/{project}", full, member(email))
