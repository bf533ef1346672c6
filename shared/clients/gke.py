"""The GKE API (`container` v1): one cluster, and the proof that it is gone. Thin verbs, no decisions."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

from shared.clients import answers, http
from shared.clients.answers import unusable
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.inventory import Listed
from shared.values.model import Cluster
from shared.values.names import ClusterName, InvalidNameError, MembershipName, place
from shared.values.objects import Object
from shared.values.sharing import share_map, share_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableSequence

    from google.auth.transport.requests import AuthorizedSession

# Where the API server can be reached, as paths in a cluster (container v1, Cluster).
ADDRESSES = (
    "endpoint",
    "privateClusterConfig/privateEndpoint",
    "privateClusterConfig/publicEndpoint",
    "controlPlaneEndpointsConfig/dnsEndpointConfig/endpoint",
    "controlPlaneEndpointsConfig/ipEndpointsConfig/privateEndpoint",
    "controlPlaneEndpointsConfig/ipEndpointsConfig/publicEndpoint",
)
# The same, grouped by the object that contains them, so that each object is read once.
_ADDRESS_FIELDS = tuple(
    (tuple(outer.split("/")) if outer else (), tuple(path.rpartition("/")[2] for path in paths))
    for outer, paths in itertools.groupby(ADDRESSES, lambda path: path.rpartition("/")[0])
)
# The facts that the Secret's labels and annotations say.
FACTS = (
    "currentMasterVersion",
    "releaseChannel/channel",
    "networkConfig/network",
    "networkConfig/subnetwork",
    "workloadIdentityConfig/workloadPool",
)
# What a sweep needs of the 10 kB or so that GKE tells of each cluster: the standard query parameter `fields`, a partial
# response (discovery document of container v1; https://cloud.google.com/apis/docs/system-parameters).
_FIELDS = ("name", "location", "id", "status", "resourceLabels", "fleet", "autopilot/enabled", "createTime")
# What GKE says is wrong with a cluster: for people.
PROBLEMS = ("statusMessage", "conditions")
LISTED_FIELDS = f"clusters({','.join((*_FIELDS, *PROBLEMS, *FACTS, *ADDRESSES))}),missingZones"
LIST_KEYS = frozenset({"clusters", "missingZones"})


class Gke:
    """Reads clusters. `endpoint` is '' for Google's own; `numbers` maps known project numbers to ids."""

    def __init__(self, session: AuthorizedSession, endpoint: str, numbers: Mapping[str, str]) -> None:
        self._session = session
        self._base = f"{(endpoint or 'https://container.googleapis.com').rstrip('/')}/v1"
        self._numbers = numbers

    def cluster(self, name: ClusterName) -> Cluster | None:
        """Return the cluster; None is GKE's 404, which alone proves nothing. Raises ReconcileError for any other refusal."""
        what = f"reading {name}"
        answer = http.get(self._session, f"{self._base}/{name}", what, allow_missing=True)
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
        names = [answers.text_in(cluster, "name", f"listing the clusters of {where}") for cluster in clusters]
        if not all(names):
            raise unusable(f"listing the clusters of {where}", "a cluster comes without a name")
        return name.cluster in names

    def list(self, project: str) -> Listed[Cluster]:
        """Return all clusters of a project. The list has no pages.

        A cluster that cannot be read is left out and named. One without a usable name hides its location.
        """
        items, missing = self._listed(f"projects/{project}/locations/-", f"?fields={LISTED_FIELDS}")
        what = f"listing the clusters of projects/{project}"
        found: list[Cluster] = []
        unreadable: dict[ClusterName, str] = {}
        items.reverse()
        while items:  # frees each item once it is parsed, because several projects are in memory at the same time
            item = items.pop()
            try:
                name = ClusterName.parse(
                    f"projects/{project}/locations/{item.get('location')}/clusters/{item.get('name')}"
                )
            except InvalidNameError as error:
                if not isinstance(item.get("location"), str):
                    raise unusable(what, str(error)) from error
                missing |= {item["location"]}
                continue
            try:
                found.append(self._cluster(name, item, what))
            except RetryableError as error:
                unreadable[name] = str(error)
        return Listed(tuple(found), missing, unreadable)

    def _listed(self, where: str, query: str = "") -> tuple[MutableSequence[Object], frozenset[str]]:
        """Return the clusters of a location and the zones that are missing; an empty list is `{}`, never no body."""
        what = f"listing the clusters of {where}"
        answer = http.get(self._session, f"{self._base}/{where}/clusters{query}", what) or {}
        answers.require_list_of(answer, LIST_KEYS, what)
        missing = frozenset(place(text) for text in answers.list_in(answer, "missingZones", what, str))
        return answers.list_in(answer, "clusters", what, dict), missing

    def _cluster(self, name: ClusterName, answer: Object, what: str) -> Cluster:
        """Raises RetryableError for an answer from which nothing may be concluded: another cluster, no id, no status."""
        if answer.get("name") != name.cluster or answer.get("location", name.location) != name.location:
            raise unusable(what, f"it is about {answer.get('name')!r} in {answer.get('location')!r}")
        id_, status = answers.text_in(answer, "id", what), answers.text_in(answer, "status", what)
        if not id_ or not status:
            raise unusable(what, f"{name} comes without id or status")
        fleet = answers.object_in(answer, "fleet", what)
        project, member = answers.text_in(fleet, "project", what), answers.text_in(fleet, "membership", what)
        answers.require_texts(answer, "resourceLabels", what)
        labels = answer.get("resourceLabels") or {}
        membership = None
        if member:
            try:
                membership = MembershipName.parse(member, self._numbers)
                project = project or membership.project
            except InvalidNameError:  # in a fleet whose project number is not known: another one
                project = project or member.partition("projects/")[2].partition("/")[0] or member

        def part(field: str, key: str) -> str:  # what many clusters of a project have in common
            return sys.intern(answers.text_in(answers.object_in(answer, field, what), key, what))

        return Cluster(
            name=name,
            id=id_,
            status=status,
            labels=share_map(labels),
            fleet_project=project,
            membership=membership,
            autopilot=answers.object_in(answer, "autopilot", what).get("enabled") is True,
            addresses=tuple(dict.fromkeys(_addresses(answer, what))),
            version=answers.text_in(answer, "currentMasterVersion", what),
            channel=part("releaseChannel", "channel"),
            network=part("networkConfig", "network"),
            subnetwork=part("networkConfig", "subnetwork"),
            workload_pool=part("workloadIdentityConfig", "workloadPool"),
            endpoint=answers.text_in(answer, "endpoint", what),
            created=answers.time_in(answer, "createTime", what),
            problem=_problem(answer),
        )


def _problem(answer: Object) -> str:
    """Return GKE's sentences about a cluster; '' where all is well. No answer is unusable because of them."""
    conditions = answer.get("conditions")
    items = conditions if isinstance(conditions, list) else []
    texts = [answer.get("statusMessage"), *(item.get("message") for item in items if isinstance(item, dict))]
    return "; ".join(dict.fromkeys(text for text in texts if isinstance(text, str) and text))


def _addresses(answer: Object, what: str) -> Iterator[str]:
    for outer, keys in _ADDRESS_FIELDS:
        inner = answer
        for key in outer:
            inner = answers.object_in(inner, key, what)
        for key in keys:
            if address := answers.text_in(inner, key, what):
                yield share_text(address.lower())
