"""The fleet API (`gkehub` v1): memberships read by google-auth's session, made and deleted by the official client."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from shared.clients import answers, deadline, http
from shared.clients.answers import MAX_PAGES, unusable
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.inventory import Listed
from shared.values.model import Membership
from shared.values.names import ClusterName, InvalidNameError, MembershipName, place
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.auth.transport.requests import AuthorizedSession

    from shared.clients.registration import Registration
    from shared.values.model import Cluster

# What a sweep requests: pages, because without a size the list is one answer of any length (gkehub v1,
# ListMembershipsRequest), and only the fields that it reads, as in `gke`. A proof of deletion uses the unfiltered answer.
LISTED = {
    "pageSize": "500",
    "fields": "resources(name,uniqueId,state/code,labels,endpoint/gkeCluster,"
    "endpoint/kubernetesMetadata/kubernetesApiServerVersion,createTime,lastConnectionTime),unreachable,nextPageToken",
}
LIST_KEYS = frozenset({"resources", "unreachable", "nextPageToken"})


class Fleet:
    """Reads, makes and deletes memberships. `endpoint` is '' for Google's own."""

    def __init__(self, session: AuthorizedSession, endpoint: str, numbers: Mapping[str, str]) -> None:
        self._session = session
        self._endpoint = endpoint
        self._base = f"{(endpoint or 'https://gkehub.googleapis.com').rstrip('/')}/v1"
        self._numbers = numbers

    def membership(self, name: MembershipName) -> Membership | None:
        """Return the membership; None is the fleet's 404, which alone proves nothing."""
        what = f"reading {name}"
        found = http.get(self._session, f"{self._base}/{name}", what, allow_missing=True)
        return None if found is None else self._named(found, what, name)

    def in_list(self, name: MembershipName) -> bool:
        """Whether a complete list of the membership's location holds it. Raises RetryableError when it is not complete."""
        parent = f"projects/{name.project}/locations/{name.location}"
        what = f"listing the memberships of {parent}"
        present = False
        for page in self._pages(parent, {}, what):
            if left_out := answers.list_in(page, "unreachable", what, str):
                raise RetryableError(
                    f"the list of memberships of {parent} lacks {', '.join(left_out)}: whether {name} is gone is not known",
                    ErrorCode.INCOMPLETE_LIST,
                )
            present = present or any(
                self._name(found, what) == name for found in answers.list_in(page, "resources", what, dict)
            )
        return present

    def list(self, project: str) -> Listed[Membership]:
        """Return all memberships of the fleet, and the locations that the answers leave out.

        A membership that cannot be read is left out and named. One without a usable name hides its location.
        """
        parent = f"projects/{project}/locations/-"
        what = f"listing the memberships of {parent}"
        found: list[Membership] = []
        missing: set[str] = set()
        unreadable: dict[MembershipName, str] = {}
        for page in self._pages(parent, LISTED, what):
            missing |= {place(text) for text in answers.list_in(page, "unreachable", what, str)}
            for resource in answers.list_in(page, "resources", what, dict):
                try:
                    name = self._name(resource, what)
                except RetryableError:
                    match str(resource.get("name")).split("/"):
                        case ["projects", _, "locations", location, *_]:
                            missing.add(location)
                            continue
                        case _:
                            raise
                try:
                    found.append(self._membership(resource, what, name))
                except RetryableError as error:
                    unreadable[name] = str(error)
        return Listed(tuple(found), frozenset(missing), unreadable)

    def create(self, name: MembershipName, cluster: Cluster) -> Membership:
        """Register the cluster under this name, with our labels, and wait. Raises TakenError when the id is taken."""
        return self._named(self._registration.create(name, cluster), f"registering {cluster.name} as {name}", name)

    def delete(self, name: MembershipName) -> bool:
        """Delete the membership and wait; False when it was gone already, which a 404 alone does not prove.

        The API takes no precondition: read the owner directly before. Raises RetryableError when that was too long ago.
        """
        deadline.require_fresh_read(f"deleting {name}")
        if self._registration.delete(name):
            return True
        if self.in_list(name):
            raise RetryableError(
                f"deleting {name}: the fleet answers 404, and lists it: two answers that contradict each other",
                ErrorCode.CONTRADICTION,
            )
        return False

    @functools.cached_property
    def _registration(self) -> Registration:
        from shared.clients.registration import Registration

        return Registration(self._session.credentials, self._endpoint)

    def _pages(self, parent: str, query: Mapping[str, str], what: str) -> Iterator[Object]:
        """Give the pages of a list, one after the other. Raises RetryableError when they do not end."""
        tokens: set[str] = set()
        while len(tokens) < MAX_PAGES:
            url = f"{self._base}/{parent}/memberships" + (f"?{urlencode(query, safe='(),/')}" if query else "")
            page = http.get(self._session, url, what) or {}
            answers.require_list_of(page, LIST_KEYS, what)
            yield page
            token = answers.text_in(page, "nextPageToken", what)
            if not token:
                return
            if token in tokens:
                break
            tokens.add(token)
            query = {**query, "pageToken": token}
        raise unusable(what, "its pages do not end")

    def _name(self, found: Object, what: str) -> MembershipName:
        try:
            return MembershipName.parse(found.get("name"), self._numbers)
        except InvalidNameError as error:
            raise unusable(what, str(error)) from error

    def _named(self, found: Object, what: str, name: MembershipName) -> Membership:
        """Return the membership of an answer. Raises RetryableError if the answer is about another one."""
        if self._name(found, what) != name:
            raise unusable(what, f"it is about {found.get('name')!r}")
        return self._membership(found, what, name)

    def _membership(self, found: Object, what: str, name: MembershipName) -> Membership:
        """Raises RetryableError for an answer from which nothing may be concluded."""
        endpoint = answers.object_in(found, "endpoint", what)
        gke_cluster = endpoint.get("gkeCluster")
        link = answers.text_in(answers.object_in(endpoint, "gkeCluster", what), "resourceLink", what)
        if gke_cluster is not None and not link:
            raise unusable(what, f"{name} is of a GKE cluster and does not say which")
        try:
            cluster = ClusterName.parse(link, self._numbers) if link else None
        except InvalidNameError as error:
            raise unusable(what, f"{name} has a field that cannot be read: {error}") from error
        return Membership(
            name=name,
            unique_id=answers.text_in(found, "uniqueId", what),
            state=str(answers.object_in(found, "state", what).get("code") or "UNKNOWN"),
            labels=answers.texts_in(found, "labels", what),
            cluster=cluster,
            last_connection=answers.time_in(found, "lastConnectionTime", what),
            created=answers.time_in(found, "createTime", what),
            version=answers.text_in(
                answers.object_in(endpoint, "kubernetesMetadata", what), "kubernetesApiServerVersion", what
            ),
        )
