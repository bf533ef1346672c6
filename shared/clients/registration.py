"""Registering with the fleet API (`gkehub` v1), and the end of it, by its official client over REST: what changes, and waits.

Only the two steps that register and unregister pay for its import; reading is `fleet`'s.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound, RetryError
from google.api_core.future.polling import DEFAULT_POLLING
from google.auth.exceptions import GoogleAuthError
from google.cloud import gkehub_v1
from requests.exceptions import RequestException

from shared.clients.http import TIMEOUT_SECONDS
from shared.values.codes import ErrorCode
from shared.values.errors import FaultError, PermanentError, RetryableError, TakenError, fault
from shared.values.model import MANAGED_BY, Cluster
from shared.values.names import MembershipName

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.auth.credentials import Credentials


# Registering takes 10 s to a minute on Google's side; a push is cut at its ack deadline.
OPERATION_SECONDS = 45


class Registration:
    """Makes and deletes memberships. `endpoint` is '' for Google's own."""

    def __init__(self, credentials: Credentials, endpoint: str) -> None:
        options = {"api_endpoint": endpoint.rstrip("/")} if endpoint else None
        self._client = gkehub_v1.GkeHubClient(credentials=credentials, transport="rest", client_options=options)

    def create(self, name: MembershipName, cluster: Cluster) -> dict[str, Any]:
        """Register the cluster under this name, with our marks, wait until that is done, and return the membership's JSON.

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
        made = _finished(what, operation)
        found: dict[str, Any] = gkehub_v1.Membership.to_dict(
            made, use_integers_for_enums=False, preserving_proto_field_name=False
        )
        return found

    def delete(self, name: MembershipName) -> bool:
        """Delete the membership and wait; False is the fleet's 404, which alone does not prove that it was gone.

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
        except FaultError as error:
            if "FAILED_PRECONDITION" in str(error):
                raise PermanentError(
                    f"{error}: others have bound something to this membership, so it stays; unbind it and publish again",
                    ErrorCode.MEMBERSHIP_IN_USE,
                    error.status,
                ) from error
            raise
        return operation is not None


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
            f"{what}: not finished within {OPERATION_SECONDS} s; the next delivery looks again",
            ErrorCode.TIMED_OUT,
        ) from error
    except (RequestException, GoogleAuthError, ValueError) as error:
        raise RetryableError(
            f"{what}: no usable answer from the fleet API: {error}", ErrorCode.UNUSABLE_ANSWER
        ) from error


def _fault(what: str, error: GoogleAPICallError) -> FaultError:
    """Over REST the exception's class knows the HTTP status alone; the canonical code stands in the body.

    An operation's error has the operation for a response, and its gRPC code (google.rpc.Code) in its class.
    """
    status = error.grpc_status_code.name if error.grpc_status_code else ""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        status = error.response.json()["error"]["status"] if error.response is not None else status
    code = int(error.code or 0)
    return fault(code, status, error.message or "", what)
