"""`ops orphans`: the Applications whose cluster Argo CD does not have. Reads only, with the operator's identity."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from ops.partial import shortly
from ops.survey import connected
from ops.terminal import UnreadError, pluralize, table
from shared.decisions.recognition import membership_at
from shared.values.application import Application, orphans
from shared.values.commands import kubectl
from shared.values.errors import ReconcileError
from shared.values.names import ClusterName, InvalidNameError, MembershipName, Name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from shared.runtime.services import Services
    from shared.values.objects import Object
    from shared.values.settings import Settings

FOUND: Final = 2
SECONDS: Final = 30.0  # an installation has thousands of Applications


def run(options: argparse.Namespace) -> int:
    """List them; 0 there are none, 2 there are some, 3 Applications or Secrets could not be read."""
    services = connected()
    try:
        found = shortly(lambda: read(services), "reading Applications and cluster Secrets", SECONDS)
    except ReconcileError as error:
        raise UnreadError(str(error)) from error
    settings = services.settings
    print(json.dumps({"orphans": as_json(found, settings)}, indent=2) if options.json else as_text(found, settings))
    return FOUND if found else 0


def read(services: Services) -> list[Application]:
    """Read the Applications first: a cluster that is registered meanwhile makes no orphan."""
    applications = services.central.applications()
    return sorted(orphans(applications, services.central.cluster_secrets()), key=lambda one: one.name)


def former(one: Application, settings: Settings) -> Name | None:
    """Return the cluster of ours that its destination had, by the names that this project writes; None for others."""
    try:
        if not one.cluster_name:
            return membership_at(one.server, settings)
        match one.cluster_name.split("."):
            case [project, location, "memberships", membership]:
                name = MembershipName.parse(f"projects/{project}/locations/{location}/memberships/{membership}")
                return name if project == settings.fleet_project else None
            case [project, location, cluster]:
                return ClusterName.parse(f"projects/{project}/locations/{location}/clusters/{cluster}")
            case _:
                return None
    except InvalidNameError:
        return None


def as_text(found: Sequence[Application], settings: Settings) -> str:
    """Return a table, and what to do."""
    where = f"namespace {settings.argocd_namespace}"
    if not found:
        return f"Argo CD has the cluster of every Application in {where}."
    head = ("APPLICATION", "DESTINATION", "CLUSTER", "MADE BY", "DELETED AT")
    rows = [
        (one.name, one.cluster_name or one.server or "none", _former(one, settings), _maker(one), one.deleted_at)
        for one in found
    ]
    return "\n".join(
        [
            table(head, rows),
            "",
            f"Argo CD has no cluster for {pluralize(len(found), 'Application')} in {where}.",
            "If the cluster is gone for good, delete the Application; nothing in a cluster is touched:",
            f"  {kubectl(settings.argocd_namespace, 'delete applications.argoproj.io', 'NAME')}",
            "If an ApplicationSet made it, change the generator or the template of that ApplicationSet.",
        ]
    )


def as_json(found: Sequence[Application], settings: Settings) -> list[Object]:
    """Return the Applications for programs; `cluster` is '' where the destination was no cluster of ours."""
    return [
        {
            "name": one.name,
            "destination": {"name": one.cluster_name, "server": one.server},
            "cluster": _former(one, settings),
            "applicationSet": one.generator,
            "deletedAt": one.deleted_at,
        }
        for one in found
    ]


def _former(one: Application, settings: Settings) -> str:
    return str(former(one, settings) or "")


def _maker(one: Application) -> str:
    return f"ApplicationSet {one.generator}" if one.generator else "a person"
