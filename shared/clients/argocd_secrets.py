"""Argo CD's cluster Secrets and Applications in the central cluster, reached through its own membership."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.clients.ports import Gateway
from shared.values.application import GROUP_VERSION, Application
from shared.values.cluster_secret import (
    CLUSTER_HASH,
    MEMBERSHIP_HASH,
    SELECT_MANAGED,
    SELECT_UNMANAGED,
    TYPE,
    ClusterSecret,
    Reason,
    found_by,
    held_for,
)
from shared.values.codes import ErrorCode
from shared.values.commands import kubectl
from shared.values.errors import PermanentError, ReconcileError
from shared.values.names import MembershipName, Name
from shared.values.objects import Object
from shared.values.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


class Central:
    """Thin verbs on the Secrets of Argo CD's namespace. `url` is the central cluster's gateway URL."""

    def __init__(self, gateway: Gateway, url: str, settings: Settings) -> None:
        self._gateway = gateway
        self._settings = settings
        self._url = url
        self._secrets = f"api/v1/namespaces/{settings.argocd_namespace}/secrets"
        self._applications = f"{GROUP_VERSION}/namespaces/{settings.argocd_namespace}/applications"

    def secret_of(self, name: Name, *, claim: bool = False, namesakes: bool = False) -> ClusterSecret | None:
        """Return our Secret for a cluster or a membership, found by its hash label.

        `namesakes`: also that of another registrar with the same INSTANCE, whose bindings look like ours.
        `claim`: the caller is about to write one. Raises PermanentError when there are two of ours, or, for a claim, when
        another instance or another fleet's registrar has one: which is right is for a person to say.
        """
        items = self._gateway.list(self._url, self._secrets, found_by(name))
        marked = [ClusterSecret.read(item) for item in items]
        settings = self._settings
        found = [one for one in marked if one.is_of_instance(settings) or (namesakes and one.is_of_namesake(settings))]
        if isinstance(name, MembershipName) and len(found) > 1:
            # The id of an attached cluster that has left may be a GKE cluster's now, which is found by its own hash.
            found = [secret for secret in found if CLUSTER_HASH not in secret.labels] or found
        if len(found) > 1:
            names = sorted(secret.name for secret in found)
            raise PermanentError(
                f"{name} has {len(found)} Secrets of ours in the central cluster ({', '.join(names)}):"
                " neither is touched; look which one is wrong, delete it and publish again:\n"
                + kubectl(settings.argocd_namespace, "get secrets --show-labels", *names),
                ErrorCode.DUPLICATE_SECRETS,
            )
        others = [secret for secret in marked if not secret.is_of_instance(self._settings)]
        if claim and others and not found:
            raise PermanentError(
                f"Cannot write a Secret for {name}: Secret {others[0].name} is for the same cluster and"
                f" {others[0].owner(self._settings)}. Adopt it, or delete it, then publish again:\n"
                + kubectl(settings.argocd_namespace, "delete secret", others[0].name),
                ErrorCode.UNMANAGED_SECRET,
            )
        return found[0] if found else None

    def managed(self) -> Iterator[ClusterSecret]:
        """Give all Secrets that a registrar wrote, of every instance and fleet, page by page."""
        return map(ClusterSecret.read, self._gateway.list(self._url, self._secrets, SELECT_MANAGED))

    def unmanaged(self) -> list[ClusterSecret]:
        """Return the cluster Secrets that no registrar wrote, or that have lost the label of one."""
        return [ClusterSecret.read(item) for item in self._gateway.list(self._url, self._secrets, SELECT_UNMANAGED)]

    def rivals(self, membership: MembershipName) -> list[ClusterSecret]:
        """Return the Secrets that may have a membership's server: those with its hash, and cluster Secrets without any.

        Each of our Secrets with another membership has another server.
        """
        selectors = (f"{MEMBERSHIP_HASH}={membership.hash}", f"{TYPE}=cluster,!{MEMBERSHIP_HASH}")
        return [
            ClusterSecret.read(item)
            for selector in selectors
            for item in self._gateway.list(self._url, self._secrets, selector)
        ]

    def count_held(self, reason: Reason) -> int:
        """Return how many of our Secrets are held for a reason, by the label that shows the hold."""
        found = [ClusterSecret.read(item) for item in self._gateway.list(self._url, self._secrets, held_for(reason))]
        return sum(secret.is_of_instance(self._settings) for secret in found)

    def cluster_secrets(self) -> list[ClusterSecret]:
        """Return every cluster Secret of Argo CD, managed or not."""
        return [ClusterSecret.read(item) for item in self._gateway.list(self._url, self._secrets, f"{TYPE}=cluster")]

    def secret_named(self, name: str) -> ClusterSecret | None:
        """Return the Secret of that name, managed or not."""
        found = self._gateway.get(self._url, self._secrets, name)
        return None if found is None else ClusterSecret.read(found)

    def applications(self) -> list[Application]:
        """Return the Applications of Argo CD's namespace. Where their kind is not installed there are none."""
        try:
            return [Application.read(item) for item in self._gateway.list(self._url, self._applications, "")]
        except ReconcileError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return []
            raise

    def create(self, manifest: Object) -> ClusterSecret:
        """Create a Secret and return it. Raises ConflictError when the name is taken."""
        return ClusterSecret.read(self._gateway.create(self._url, self._secrets, manifest))

    def patch(self, secret: ClusterSecret, patch: Object) -> None:
        """Change a Secret by a merge patch made from the version that was read."""
        self._gateway.patch(self._url, self._secrets, secret.name, patch)

    def delete(self, secret: ClusterSecret) -> None:
        """Delete the very Secret that was read."""
        self._gateway.delete(self._url, self._secrets, secret.name, secret.precondition)
