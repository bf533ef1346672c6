"""The GKE API (`container` v1): one cluster, and the proof that it is gone. Thin verbs, no decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.clients import http
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.model import Cluster
from shared.values.names import ClusterName, MembershipName, NameFault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.auth.transport.requests import AuthorizedSession

# What a sweep needs of the 10 kB or so that GKE tells of each cluster: the standard query parameter `fields`, a partial
# response (discovery document of container v1; https://cloud.google.com/apis/docs/system-parameters).
LISTED_FIELDS = "clusters(name,location,id,status,resourceLabels,fleet,autopilot/enabled),missingZones"


class Gke:
    """Reads clusters. `endpoint` is '' for Google's own; `numbers` maps known project numbers to ids."""

    def __init__(self, session: AuthorizedSession, endpoint: str, numbers: Mapping[str, str]) -> None:
        self._session = session
        self._base = f"{(endpoint or 'https://container.googleapis.com').rstrip('/')}/v1"
        self._numbers = numbers

    def cluster(self, name: ClusterName) -> Cluster | None:
        """Return the cluster; None is GKE's 404, which alone proves nothing. Raises a fault for any other refusal."""
        what = f"reading {name}"
        answer = http.get(self._session, f"{self._base}/{name}", what, missing_is_none=True)
        return None if answer is None else self._cluster(name, answer, what)

    def in_list(self, name: ClusterName) -> bool:
        """Whether a complete list of the cluster's location holds it. Raises RetryableError when it is not complete.

        `missingZones` names what the answer leaves out (container v1, ListClustersResponse).
        """
        where = f"projects/{name.project}/locations/{name.location}"
        clusters, missing = self._listed(where)
        if missing:
            lacks = ", ".join(sorted(missing))
            raise RetryableError(
                f"the list of clusters of {where} lacks {lacks}: whether {name} is gone is not known",
                ErrorCode.INCOMPLETE_LIST,
            )
        return any(cluster.get("name") == name.cluster for cluster in clusters)

    def list(self, project: str) -> tuple[list[Cluster], frozenset[str]]:
        """Return all clusters of a project, and the zones that the answer leaves out. The list has no pages."""
        items, missing = self._listed(f"projects/{project}/locations/-", f"?fields={LISTED_FIELDS}")
        what = f"listing the clusters of projects/{project}"
        found = []
        for item in items:
            name = ClusterName(project, str(item.get("location", "")), str(item.get("name", "")))
            found.append(self._cluster(name, item, what))
        return found, missing

    def _listed(self, where: str, query: str = "") -> tuple[Sequence[dict[str, Any]], frozenset[str]]:
        """Return the clusters of a location and the zones that are missing; an empty list is `{}`, never no body."""
        what = f"listing the clusters of {where}"
        answer = http.get(self._session, f"{self._base}/{where}/clusters{query}", what) or {}
        missing = frozenset(http.listed(answer, "missingZones", what, str))
        return http.listed(answer, "clusters", what, dict), missing

    def _cluster(self, name: ClusterName, answer: dict[str, Any], what: str) -> Cluster:
        """Raises RetryableError for an answer without `id` or `status`: nothing may be concluded from it."""
        if not answer.get("id") or not answer.get("status"):
            raise RetryableError(
                f"{what}: no usable answer from the GKE API: {name} comes without id or status",
                ErrorCode.UNUSABLE_ANSWER,
            )
        fleet = http.part(answer, "fleet", what)
        project, said = str(fleet.get("project", "")), str(fleet.get("membership", ""))
        membership = None
        if said:
            try:
                membership = MembershipName.parse(said, self._numbers)
                project = project or membership.project
            except NameFault:  # in a fleet whose project number we do not know: another one
                project = project or said.partition("projects/")[2].partition("/")[0] or said
        return Cluster(
            name=name,
            id=str(answer["id"]),
            status=str(answer["status"]),
            labels=http.texts(answer, "resourceLabels", what),
            fleet_project=project,
            membership=membership,
            autopilot=bool(http.part(answer, "autopilot", what).get("enabled")),
        )
