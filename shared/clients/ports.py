"""The services that a step may use, as protocols: the clients and the simulated world implement them.

`Services` gives all of them; a step imports none of the clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from shared.values.application import Application
from shared.values.cluster_secret import ClusterSecret, Reason
from shared.values.inventory import Listed
from shared.values.model import Cluster, Membership
from shared.values.names import ClusterName, MembershipName, Name
from shared.values.objects import Object
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime


class Clusters(Protocol):
    """The GKE API."""

    def cluster(self, name: ClusterName) -> Cluster | None:
        """Return the cluster; None is GKE's 404, which alone proves nothing."""

    def in_list(self, name: ClusterName) -> bool:
        """Whether a complete list of the location has the cluster."""

    def list(self, project: str) -> Listed[Cluster]:
        """Return all clusters of a project, the zones that the answer leaves out, and what cannot be read."""


class Memberships(Protocol):
    """The fleet API."""

    def membership(self, name: MembershipName) -> Membership | None:
        """Return the membership; None is the fleet's 404, which alone proves nothing."""

    def in_list(self, name: MembershipName) -> bool:
        """Whether a complete list of the location has the membership."""

    def list(self, project: str) -> Listed[Membership]:
        """Return all memberships of a fleet, the locations that the answers leave out, and what cannot be read."""

    def create(self, name: MembershipName, cluster: Cluster) -> Membership:
        """Register the cluster and wait. Raises TakenError when the id is taken."""

    def delete(self, name: MembershipName) -> bool:
        """Delete the membership and wait; False when it was gone already."""


class Gateway(Protocol):
    """Kubernetes APIs through Connect Gateway, each at its own URL."""

    @property
    def identity(self) -> str:
        """Our own e-mail, as the clusters see it."""

    def get(self, url: str, collection: str, name: str) -> Object | None:
        """Return an object; None only if the cluster itself answers that it does not exist."""

    def list(self, url: str, collection: str, selector: str) -> Iterable[Object]:
        """Yield the objects that a label selector selects."""

    def create(self, url: str, collection: str, manifest: Object) -> Object:
        """Create an object. Raises ConflictError if one of that name exists."""

    def patch(self, url: str, collection: str, name: str, patch: Object) -> Object:
        """Apply a merge patch that contains its precondition."""

    def delete(self, url: str, collection: str, name: str, version: Object) -> bool:
        """Delete the object of this uid and `resourceVersion`; False when it was gone already."""


class Secrets(Protocol):
    """The cluster Secrets, and the Applications that use them, in the central cluster."""

    def secret_of(self, name: Name, *, claim: bool = False, namesakes: bool = False) -> ClusterSecret | None:
        """Return our Secret for a cluster, or for a membership."""

    def managed(self) -> Iterable[ClusterSecret]:
        """Give the Secrets of all registrars."""

    def unmanaged(self) -> Sequence[ClusterSecret]:
        """Return the cluster Secrets that this instance did not write."""

    def rivals(self, membership: MembershipName) -> Sequence[ClusterSecret]:
        """Return all Secrets, managed or not, that may have the server of a membership."""

    def count_held(self, reason: Reason) -> int:
        """Return how many managed Secrets are held for a reason."""

    def cluster_secrets(self) -> Sequence[ClusterSecret]:
        """Return every cluster Secret, managed or not."""

    def secret_named(self, name: str) -> ClusterSecret | None:
        """Return the Secret of that name, managed or not."""

    def applications(self) -> Sequence[Application]:
        """Return the Applications of Argo CD's namespace."""

    def create(self, manifest: Object) -> ClusterSecret:
        """Create a Secret and return it. Raises ConflictError when the name is taken."""

    def patch(self, secret: ClusterSecret, patch: Object) -> None:
        """Change a Secret by a merge patch made from the version that was read."""

    def delete(self, secret: ClusterSecret) -> None:
        """Delete the very Secret that was read."""


class Signer(Protocol):
    """Proofs of grants, which `grant_rbac` alone can sign."""

    def sign_grant(self, audience: str) -> str:
        """Return a proof that this function's identity has made the grant of the audience."""

    def verify_grant(self, token: str, audience: str) -> datetime | None:
        """Return when `grant_rbac` signed the proof; None if it does not prove the grant of the audience."""


class Publisher(Protocol):
    """Pub/Sub topics."""

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """Publish one message."""

    def publish_object(self, topic: str, body: Mapping[str, Any], attributes: Mapping[str, str]) -> None:
        """Publish a JSON object."""


class Services(Protocol):
    """Everything outside the process that a step may touch."""

    @property
    def settings(self) -> Settings:
        """The settings of this registrar, read from the environment."""

    @property
    def gke(self) -> Clusters:
        """The GKE API."""

    @property
    def fleet(self) -> Memberships:
        """The fleet API."""

    @property
    def gateway(self) -> Gateway:
        """Connect Gateway."""

    @property
    def central(self) -> Secrets:
        """The cluster Secrets in the central cluster."""

    @property
    def signer(self) -> Signer:
        """Proofs of grants."""

    @property
    def bus(self) -> Publisher:
        """Pub/Sub."""

    @property
    def central_cluster(self) -> ClusterName | None:
        """The central cluster; None when it is not a GKE cluster."""

    def wait_for_gateway(self) -> None:
        """Wait for this instance's turn to make gateway requests. Raises RetryableError if that takes too long."""

    def now(self) -> datetime:
        """The current time."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
