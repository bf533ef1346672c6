"""Who changed a cluster, its membership, its binding or its Secret: Google's audit log, as far as it has it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ops.activity import entries_query, parse_time, quoted
from ops.terminal import ago, one_line
from shared.values.messages import STEPS
from shared.values.names import ClusterName, MembershipName, Name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from shared.values.settings import Settings

MOST: Final = 5


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the audit log: when, which method, and by whom."""

    time: datetime
    method: str
    by: str

    def line(self, now: datetime) -> str:
        """Return `METHOD by PERSON, AGE`, without control characters."""
        return f"{one_line(self.method)} by {one_line(self.by)}, {ago(self.time, now)}"


def projects(name: Name, fleet: str, central: str) -> list[str]:
    """Return the projects whose audit logs have the changes: the cluster's, its fleet's and the central cluster's."""
    own = name.project if isinstance(name, ClusterName) else fleet
    return list(dict.fromkeys((own, fleet, central)))


def query(
    project: str, name: Name, membership: MembershipName | None, since: datetime, settings: Settings
) -> dict[str, Any]:
    """Return the body of `entries:list`, the newest first: Admin Activity of GKE, the fleet and the clusters' Kubernetes APIs.

    Left out: calls that were refused, and what our own functions changed, which is in their log.
    """
    objects = [f"core/v1/namespaces/{settings.argocd_namespace}/secrets/{name.secret_name}", *_forms(name)]
    ours = " OR ".join(quoted(settings.function_account(step)) for step in sorted(STEPS))
    if membership is not None:
        objects += _forms(membership)
    about = f"protoPayload.resourceName=({' OR '.join(map(quoted, sorted(set(objects))))})"
    if isinstance(name, ClusterName):
        labels = (
            f"resource.labels.cluster_name={quoted(name.cluster)} AND resource.labels.location={quoted(name.location)}"
        )
        bindings = 'protoPayload.methodName=~"clusterrolebindings[.](create|delete|patch|update)$"'
        about = f"({about} OR ({labels} AND {bindings}))"
    selected = (
        'log_id("cloudaudit.googleapis.com/activity") protoPayload.authenticationInfo.principalEmail:*'
        f" {about} NOT protoPayload.authenticationInfo.principalEmail=({ours}) NOT protoPayload.status.code>0"
    )
    return entries_query(project, selected, since, MOST)


def parse(found: Sequence[Mapping[str, Any]]) -> list[Change]:
    """Return the changes that entries of `entries:list` report; what cannot be read is left out."""
    changes = []
    for entry in found:
        payload = entry.get("protoPayload")
        who = payload.get("authenticationInfo") if isinstance(payload, dict) else None
        if not isinstance(payload, dict) or not isinstance(who, dict):
            continue
        time = parse_time(entry.get("timestamp"))
        if time is None:
            continue
        method = str(payload.get("methodName", "")).rpartition("google.")[2]
        by = str(who.get("principalEmail", ""))
        changes.append(Change(time, method, by))
    return changes


def newest(changes: Iterable[Change]) -> list[Change]:
    """Return the newest changes, the oldest of them first."""
    return sorted(set(changes), key=lambda change: (change.time, change.method))[-MOST:]


def _forms(name: Name) -> list[str]:
    """The name in the forms that audit entries use: `zones/` or `regions/` for a GKE cluster's location."""
    text = str(name)
    return [text.replace("/locations/", f"/{kind}/", 1) for kind in ("locations", "zones", "regions")]
