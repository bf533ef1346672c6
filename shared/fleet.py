"""The fleet API (`gkehub` v1) through its official client, over REST: thin verbs, no decisions."""

from __future__ import annotations

import concurrent.futures
import contextlib
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound, RetryError
from google.api_core.future.polling import DEFAULT_POLLING
from google.auth.exceptions import GoogleAuthError
from google.cloud import gkehub_v1
from requests.exceptions import RequestException

from shared.errors import FaultError, PermanentError, RetryableError, TakenError, fault
from shared.facts import MANAGED_BY, Cluster, Membership
from shared.resources import ClusterName, MembershipName, NameFault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.auth.credentials import Credentials

TIMEOUT_SECONDS = 20
# Registering takes 10 s to a minute on Google's side; a push is cut at its ack deadline.
OPERATION_SECONDS = 45
# Without a page size the fleet's list is one answer, however long (gkehub v1, ListMembershipsRequest).
PAGE = 500


class Fleet:
    """Reads, makes and deletes memberships. `endpoint` is '' for Google's own."""

    def __init__(self, credentials: Credentials, endpoint: str, numbers: Mapping[str, str]) -> None:
        options = {"api_endpoint": endpoint.rstrip("/")} if endpoint else None
        self._client = gkehub_v1.GkeHubClient(credentials=credentials, transport="rest", client_options=options)
        self._numbers = numbers

    def membership(self, name: MembershipName) -> Membership | None:
        """Return the membership; None is the fleet's 404, which alone proves nothing."""
        found = _called(
            f"reading {name}",
            lambda: self._client.get_membership(name=str(name), timeout=TIMEOUT_SECONDS, retry=None),
            missing_is_none=True,
        )
        return None if found is None else self._membership(found)

    def in_list(self, name: MembershipName) -> bool:
        """Whether a complete list of the membership's location holds it. Raises RetryableError when it is not complete."""
        parent = f"projects/{name.project}/locations/{name.location}"

        def read() -> bool:
            pages = self._client.list_memberships(parent=parent, timeout=TIMEOUT_SECONDS, retry=None).pages
            present = False
            for page in pages:
                if page.unreachable:
                    raise RetryableError(
                        f"the list of memberships of {parent} lacks {', '.join(page.unreachable)}: whether {name} is gone is not known"
                    )
                present = present or any(MembershipName.parse(m.name, self._numbers) == name for m in page.resources)
            return present

        return bool(_called(f"listing the memberships of {parent}", read))

    def list(self, project: str) -> tuple[list[Membership], frozenset[str]]:
        """Return all memberships of the fleet, and the locations that the answers leave out.

        A membership that cannot be read makes its location incomplete: it must not stop the others.
        """
        parent = f"projects/{project}/locations/-"
        asked = gkehub_v1.ListMembershipsRequest(parent=parent, page_size=PAGE)

        def read() -> tuple[list[Membership], frozenset[str]]:
            found: list[Membership] = []
            left_out: set[str] = set()
            for page in self._client.list_memberships(asked, timeout=TIMEOUT_SECONDS, retry=None).pages:
                left_out |= {location.rpartition("/")[2] for location in page.unreachable}
                for resource in page.resources:
                    try:
                        found.append(self._membership(resource))
                    except (NameFault, RetryableError):
                        left_out.add(resource.name.split("/")[3])
            return found, frozenset(left_out)

        listed: tuple[list[Membership], frozenset[str]] = _called(f"listing the memberships of {parent}", read)
        return listed

    def create(self, name: MembershipName, cluster: Cluster) -> Membership:
        """Register the cluster under this name, with our marks, and wait until that is done.

        Raises TakenError when the id is taken. The operation's own error counts like an HTTP error: that the *cluster*
        is taken already comes as its code 6 after a 200.
        """
        resource = gkehub_v1.Membership(
            labels={"managed-by": MANAGED_BY, "fleet-registrar-cluster-id": cluster.id_label},
            endpoint=gkehub_v1.MembershipEndpoint(gke_cluster=gkehub_v1.GkeCluster(resource_link=cluster.name.link)),
        )
        parent = f"projects/{name.project}/locations/{name.location}"
        what = f"registering {cluster.name} as {name}"
        try:
            operation = _called(
                what,
                lambda: self._client.create_membership(
                    parent=parent, membership_id=name.membership, resource=resource, timeout=TIMEOUT_SECONDS, retry=None
                ),
                taken=True,
            )
        except TakenError as error:
            raise TakenError(f"{what}: the id is taken") from error
        return self._membership(_finished(what, operation))

    def delete(self, name: MembershipName) -> bool:
        """Delete the membership and wait; False when it was gone already, which a 404 alone does not prove.

        The API takes no precondition: read the owner directly before. Raises PermanentError when others have bound
        something to it (a delete without `force` is refused then, gkehub v1 DeleteMembership).
        """
        what = f"deleting {name}"
        try:
            operation = _called(
                what,
                lambda: self._client.delete_membership(name=str(name), timeout=TIMEOUT_SECONDS, retry=None),
                missing_is_none=True,
            )
            if operation is not None:
                _finished(what, operation)
            elif self.in_list(name):
                raise RetryableError(
                    f"{what}: the fleet answers 404, and lists it: two answers that contradict each other"
                )
        except FaultError as error:
            if "FAILED_PRECONDITION" in str(error):
                raise PermanentError(
                    f"{error}: others have bound something to this membership, so it stays; unbind it and publish again"
                ) from error
            raise
        return operation is not None

    def _membership(self, found: Any) -> Membership:
        link = found.endpoint.gke_cluster.resource_link
        try:
            cluster = ClusterName.parse(link, self._numbers) if link else None
        except NameFault as error:
            raise RetryableError(f"{found.name} has a resourceLink that cannot be read: {error}") from error
        return Membership(
            name=MembershipName.parse(found.name, self._numbers),
            unique_id=found.unique_id,
            state=getattr(found.state.code, "name", "UNKNOWN"),
            labels=dict(found.labels),
            cluster=cluster,
            last_connection=found.last_connection_time or None,
        )


def _finished(what: str, operation: Any) -> Any:
    # A poll that is refused is told at once: the next delivery looks again.
    polling = DEFAULT_POLLING.with_delay(initial=0.1, multiplier=1.6, maximum=5.0)
    return _called(what, lambda: operation.result(timeout=OPERATION_SECONDS, polling=polling))


def _called(what: str, call: Callable[[], Any], *, missing_is_none: bool = False, taken: bool = False) -> Any:
    """Make the call and translate what goes wrong into our two kinds of fault."""
    try:
        return call()
    except NotFound as error:
        if missing_is_none:
            return None
        raise _fault(what, error) from error
    except Conflict as error:  # over gRPC its subclass AlreadyExists
        if taken:
            raise TakenError(str(error)) from error
        raise _fault(what, error) from error
    except GoogleAPICallError as error:
        raise _fault(what, error) from error
    except (RetryError, concurrent.futures.TimeoutError) as error:
        raise RetryableError(
            f"{what}: not finished within {OPERATION_SECONDS} s; the next delivery looks again"
        ) from error
    except (RequestException, GoogleAuthError, NameFault, ValueError) as error:
        raise RetryableError(f"{what}: no usable answer from the fleet API: {error}") from error


def _fault(what: str, error: GoogleAPICallError) -> FaultError:
    """Over REST the exception's class knows the HTTP status alone; the canonical code stands in the body.

    An operation's error has the operation for a response, and its gRPC code (google.rpc.Code) in its class.
    """
    status = error.grpc_status_code.name if error.grpc_status_code else ""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        status = error.response.json()["error"]["status"] if error.response is not None else status
    code = int(error.code or 0)
    return fault(code, status, error.message or "", what)
