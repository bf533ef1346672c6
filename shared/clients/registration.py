"""Registering with the fleet API (`gkehub` v1), and the end of it, by its official client over REST: what changes, and waits.

Only the two steps that register and unregister pay for its import; reading is `fleet`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.api_core.future.polling import DEFAULT_POLLING
from google.cloud import gkehub_v1

from shared.clients import answers, deadline
from shared.clients.transport import answer_seconds, bound_session
from shared.values.codes import ErrorCode
from shared.values.errors import PermanentError, ReconcileError, TakenError
from shared.values.model import MANAGED_BY
from shared.values.objects import Object

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from shared.values.model import Cluster
    from shared.values.names import MembershipName

# Registering takes 10 s to a minute on Google's side; a push is cut at its ack deadline.
OPERATION_SECONDS = 45.0


class Registration:
    """Makes and deletes memberships. `endpoint` is '' for Google's own."""

    def __init__(self, credentials: Credentials, endpoint: str) -> None:
        options = {"api_endpoint": endpoint.rstrip("/")} if endpoint else None
        self._client = gkehub_v1.GkeHubClient(credentials=credentials, transport="rest", client_options=options)
        # The client makes sessions of its own and takes none from outside.
        transport: Any = self._client.transport
        for each in (transport, transport.operations_client.transport):
            bound_session(each._session)  # noqa: SLF001

    def create(self, name: MembershipName, cluster: Cluster) -> Object:
        """Register the cluster under this name, with our labels, wait until that is done, and return the membership's JSON.

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
            with answers.translated(what):
                timeout = answer_seconds()
                operation = self._client.create_membership(
                    parent=parent, membership_id=name.membership, resource=resource, timeout=timeout, retry=None
                )
        except ReconcileError as error:
            if error.status == 409:
                raise TakenError(f"{what}: the id is taken", status=409) from error
            raise
        made = _finished(what, operation)
        found: Object = gkehub_v1.Membership.to_dict(
            made, use_integers_for_enums=False, preserving_proto_field_name=False
        )
        return found

    def delete(self, name: MembershipName) -> bool:
        """Delete the membership and wait; False is the fleet's 404, which alone does not prove that it was gone.

        The API takes no precondition: the request is sent within FRESH_SECONDS or not at all. Raises PermanentError when
        others have bound something to it (a delete without `force` is refused then, gkehub v1 DeleteMembership).
        """
        what = f"deleting {name}"
        try:
            with deadline.within(deadline.FRESH_SECONDS), answers.translated(what):
                timeout = answer_seconds()
                operation = self._client.delete_membership(name=str(name), timeout=timeout, retry=None)
            _finished(what, operation)
        except ReconcileError as error:
            if error.status == 404:
                return False
            if error.reason == "FAILED_PRECONDITION":
                raise PermanentError(
                    f"{error}: others have bound something to this membership, so it stays; unbind it and publish again",
                    ErrorCode.MEMBERSHIP_IN_USE,
                    error.status,
                    error.reason,
                ) from error
            raise
        return True


def _finished(what: str, operation: Any) -> Any:
    """Wait for an operation. A refused poll is raised at once: the next delivery reads again."""
    polling = DEFAULT_POLLING.with_delay(initial=0.1, multiplier=1.6, maximum=5.0)
    with answers.translated(what):
        return operation.result(timeout=deadline.remaining(OPERATION_SECONDS), polling=polling)
