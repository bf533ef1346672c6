"""What the release of a hold causes in Argo CD: waiting deletions happen in the running cluster. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ops.advice import Advice
from ops.survey import Snapshot, spoken_of
from ops.terminal import pluralize
from shared.values.commands import kubectl
from shared.values.model import State, state_of
from shared.values.names import ClusterName, Name

if TYPE_CHECKING:
    from shared.values.application import Application
    from shared.values.cluster_secret import ClusterSecret
    from shared.values.settings import Settings

MOST: Final = 5  # names in one sentence
EFFECT: Final = (
    "While a cluster is held, Argo CD shows its last status and reconciles nothing; deletions wait, and a release carries"
    " them out (docs/operate.md#what-a-hold-does-in-argo-cd)."
)


def waiting(secret: ClusterSecret, seen: Snapshot) -> list[Application]:
    """Return the Applications of a held cluster whose deletion waits until the hold ends."""
    found = [one for one in seen.applications if one.deleted_at and one.points_to(secret)]
    return found if secret.hold else []


def consequences(secret: ClusterSecret, seen: Snapshot) -> list[str]:
    """Return what a hold does in Argo CD, and what its release causes; empty for a Secret that is not held."""
    if not secret.hold:
        return []
    lines = [EFFECT.rstrip(".")]
    if seen.applications_unread:
        lines.append(f"unknown: whether deletions wait: {seen.applications_unread}")
    elif found := waiting(secret, seen):
        lines.append(f"{_listed(found)}: a release deletes their resources in the cluster, a removal leaves them")
    return lines


def releases(seen: Snapshot, settings: Settings) -> list[str]:
    """Warn of each hold that ends soon, because its cluster is selected, while Applications wait in deletion."""
    warnings = []
    for secret in seen.inventory.secrets:
        name = spoken_of(secret)
        if not secret.hold or name is None or not _is_selected(name, seen, settings):
            continue
        if seen.applications_unread:
            warnings.append(
                f"The hold of {name} is about to be released. Whether Applications wait in deletion is unknown:"
                f" {seen.applications_unread}"
            )
        elif found := waiting(secret, seen):
            warnings.append(
                f"The hold of {name} is about to be released, and {_listed(found)}:"
                f" Argo CD then deletes their resources in the running cluster. See: python -m ops explain {name}"
            )
    return warnings


def advice(secret: ClusterSecret, seen: Snapshot, settings: Settings) -> list[Advice]:
    """Return the commands that delete a waiting Application without its resources, before a release."""
    patch, drop = "patch applications.argoproj.io", '--patch={"metadata":{"finalizers":null}}'
    return [
        Advice(
            f"If the workloads of {one.name} should stay, remove its finalizer before the hold ends",
            kubectl(settings.argocd_namespace, patch, one.name, "--type=merge", drop),
        )
        for one in waiting(secret, seen)[:MOST]
    ]


def _listed(found: list[Application]) -> str:
    names = ", ".join(one.name for one in found[:MOST])
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return (
        f"{pluralize(len(found), 'Application')} {'waits' if len(found) == 1 else 'wait'} in deletion ({names}{more})"
    )


def _is_selected(name: Name, seen: Snapshot, settings: Settings) -> bool:
    inventory = seen.inventory
    found = inventory.clusters.get(name) if isinstance(name, ClusterName) else inventory.memberships.get(name)
    return found is not None and state_of(found, settings, seen.central) is State.SELECTED
