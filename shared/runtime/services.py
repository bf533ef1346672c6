"""The clients of a step, created at first use: a function imports only the clients that it uses.

One `Services` lives as long as the process, and with it the connections, the token and the few answers that cannot
change while it lives.
"""

from __future__ import annotations

import functools
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.clients.ports import Clusters, Gateway, Memberships, Publisher, Secrets, Signer
from shared.values import settings
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.names import ClusterName
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.auth.credentials import Credentials
    from google.auth.transport.requests import AuthorizedSession

    from shared.clients.request_budget import RequestBudget


# The second scope makes clusters see the e-mail, not a numeric id, where they are reached without the gateway.
SCOPES = ("https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email")


class Services:
    """The outside world of a step, as the settings describe it."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings = settings
        self.sleep = sleep

    @functools.cached_property
    def credentials(self) -> Credentials:
        """The function's own identity, from the metadata server; nothing is stored."""
        import google.auth
        from google.auth.exceptions import GoogleAuthError

        try:
            found: tuple[Credentials, str | None] = google.auth.default(scopes=SCOPES)
        except GoogleAuthError as error:
            raise RetryableError(f"this function has no Google identity: {error}", ErrorCode.NO_IDENTITY) from error
        return found[0]

    @functools.cached_property
    def session(self) -> AuthorizedSession:
        """What reads Google's APIs."""
        from shared.clients.transport import authorized_session

        return authorized_session(self.credentials)

    @functools.cached_property
    def gke(self) -> Clusters:
        """The GKE API."""
        from shared.clients.gke import Gke

        return Gke(self.session, self.settings.container_endpoint, self.settings.numbers)

    @functools.cached_property
    def fleet(self) -> Memberships:
        """The fleet API."""
        from shared.clients.fleet import Fleet

        return Fleet(self.session, self.settings.gkehub_endpoint, self.settings.numbers)

    @functools.cached_property
    def gateway(self) -> Gateway:
        """Connect Gateway."""
        from shared.clients.gateway import Gateway as Client

        return Client(self.credentials, self._gateway_budget)

    @functools.cached_property
    def _gateway_budget(self) -> RequestBudget:
        from shared.clients.request_budget import RequestBudget

        return RequestBudget(self.settings.gateway_requests, sleep=self.sleep)

    def wait_for_gateway(self) -> None:
        """Wait for this instance's turn to make gateway requests. Raises RetryableError if that takes too long."""
        self._gateway_budget.wait()

    @functools.cached_property
    def central(self) -> Secrets:
        """The cluster Secrets in the central cluster."""
        from shared.clients.argocd_secrets import Central

        return Central(self.gateway, self.central_url, self.settings)

    @functools.cached_property
    def central_cluster(self) -> ClusterName | None:
        """The central cluster's name; None when it is not a GKE cluster. Read once: a `resourceLink` is immutable.

        If the membership is re-created for another cluster, that cluster names it in its `fleet.membership`.
        """
        found = self.fleet.membership(self.settings.central_membership)
        if found is None:
            raise RetryableError(
                f"CENTRAL_MEMBERSHIP {self.settings.central_membership} is not in the fleet: correct the setting, or register the cluster",
                ErrorCode.NO_CENTRAL_MEMBERSHIP,
            )
        return found.cluster

    @functools.cached_property
    def central_url(self) -> str:
        """The central cluster's address through the gateway."""
        return self.settings.gateway_url(self.settings.central_membership, gke=self.central_cluster is not None)

    @functools.cached_property
    def signer(self) -> Signer:
        """Proofs of grants; Google's certificates live as long as the process."""
        from shared.clients.grant_signer import GrantSigner

        return GrantSigner(self.settings.function_account("grant-rbac"), self.settings.oauth2_endpoint)

    @functools.cached_property
    def bus(self) -> Publisher:
        """Pub/Sub."""
        from shared.clients.publisher import Bus

        emulator = self.settings.pubsub_emulator
        return Bus(None if emulator else self.credentials, self.settings.pubsub_project, emulator)

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)


def connect() -> Services:
    """Return the outside world that the environment describes. Raises SettingsError with every error of the settings."""
    return Services(settings.load())
