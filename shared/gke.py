"""The GKE API (`container` v1): one cluster, and the proof that it is gone. Thin verbs, no decisions.

Carried by google-auth's session: the official client's import alone costs more than all our reads, and two GETs are all
that is needed (docs/decisions/0003).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

from shared.errors import RetryableError, fault
from shared.facts import Cluster
from shared.resources import ClusterName, MembershipName, NameFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.auth.transport.requests import AuthorizedSession

TIMEOUT_SECONDS = 20


class Gke:
    """Reads clusters. `endpoint` is '' for Google's own; `numbers` maps known project numbers to ids."""

    def __init__(self, session: AuthorizedSession, endpoint: str, numbers: Mapping[str, str]) -> None:
        self._session = session
        self._base = (endpoint or "https://container.googleapis.com").rstrip("/")
        self._numbers = numbers

    def cluster(self, name: ClusterName) -> Cluster | None:
        """Return the cluster; None is GKE's 404, which alone proves nothing. Raises a fault for any other refusal."""
        answer = self._get(str(name), f"reading {name}", missing_is_none=True)
        return None if answer is None else self._cluster(name, answer)

    def in_list(self, name: ClusterName) -> bool:
        """Whether a complete list of the cluster's location holds it. Raises RetryableError when it is not complete.

        `missingZones` names what the answer leaves out (container v1, ListClustersResponse).
        """
        where = f"projects/{name.project}/locations/{name.location}"
        answer = self._get(f"{where}/clusters", f"listing the clusters of {where}") or {}
        if missing := answer.get("missingZones"):
            raise RetryableError(
                f"the list of clusters of {where} lacks {', '.join(missing)}: whether {name} is gone is not known"
            )
        return any(cluster.get("name") == name.cluster for cluster in answer.get("clusters", []))

    def list(self, project: str) -> tuple[list[Cluster], frozenset[str]]:
        """Return all clusters of a project, and the zones that the answer leaves out. The list has no pages."""
        answer = (
            self._get(f"projects/{project}/locations/-/clusters", f"listing the clusters of projects/{project}") or {}
        )
        found = []
        for item in answer.get("clusters", []):
            name = ClusterName(project, str(item.get("location", "")), str(item.get("name", "")))
            found.append(self._cluster(name, item))
        return found, frozenset(answer.get("missingZones") or ())

    def _get(self, path: str, what: str, *, missing_is_none: bool = False) -> dict[str, Any] | None:
        try:
            response = self._session.get(f"{self._base}/v1/{path}", timeout=TIMEOUT_SECONDS)
            body = response.json() if response.content else {}
        except (RequestException, GoogleAuthError, ValueError) as error:
            raise RetryableError(f"{what}: no usable answer from the GKE API: {error}") from error
        if response.status_code == 404 and missing_is_none:
            return None
        if not response.ok or not isinstance(body, dict):
            told = body.get("error", {}) if isinstance(body, dict) else {}
            raise fault(response.status_code, str(told.get("status", "")), str(told.get("message", "")), what)
        return body

    def _cluster(self, name: ClusterName, answer: dict[str, Any]) -> Cluster:
        fleet = answer.get("fleet") or {}
        membership = None
        try:
            if fleet.get("membership"):
                membership = MembershipName.parse(fleet["membership"], self._numbers)
        except NameFault:
            membership = None  # in a fleet whose project number we do not know: not ours
        return Cluster(
            name=name,
            id=str(answer.get("id", "")),
            status=str(answer.get("status", "")),
            labels=answer.get("resourceLabels") or {},
            fleet_project=str(fleet.get("project", "")) or (membership.project if membership else ""),
            membership=membership,
            autopilot=bool((answer.get("autopilot") or {}).get("enabled")),
        )
