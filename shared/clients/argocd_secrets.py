"""The cluster Secrets in the central cluster, reached through its own membership like any other cluster."""

from __future__ import annotations

from typing import Any

from shared.clients.ports import Gateway
from shared.values.cluster_secret import CLUSTER_HASH, SELECT_MANAGED, SELECT_UNMANAGED, ClusterSecret, found_by
from shared.values.codes import ErrorCode
from shared.values.errors import PermanentError
from shared.values.names import ClusterName, MembershipName
from shared.values.settings import Settings


class Central:
    """Thin verbs on the Secrets of Argo CD's namespace. `url` is the central cluster's gateway URL."""

    def __init__(self, gateway: Gateway, url: str, settings: Settings) -> None:
        self._gateway = gateway
        self._url = url
        self._secrets = f"api/v1/namespaces/{settings.argocd_namespace}/secrets"

    def secret_of(self, cluster: ClusterName | None, membership: MembershipName | None) -> ClusterSecret | None:
        """Return our Secret for a cluster (for a membership where no cluster is known), found by its hash label.

        Raises PermanentError when there are two: which one is right is for a person to say.
        """
        items = self._gateway.list(self._url, self._secrets, found_by(cluster, membership))
        found = [ClusterSecret.read(item) for item in items]
        if cluster is None and len(found) > 1:
            # The id of an attached cluster that has left may be a GKE cluster's now, which is found by its own hash.
            found = [secret for secret in found if CLUSTER_HASH not in secret.labels] or found
        if len(found) > 1:
            names = ", ".join(sorted(secret.name for secret in found))
            raise PermanentError(
                f"{cluster or membership} has {len(found)} Secrets of ours in the central cluster ({names}):"
                " neither is touched; delete the wrong one and publish again",
                ErrorCode.DUPLICATE_SECRETS,
            )
        return found[0] if found else None

    def ours(self) -> list[ClusterSecret]:
        """Return all Secrets that carry our mark."""
        return [ClusterSecret.read(item) for item in self._gateway.list(self._url, self._secrets, SELECT_MANAGED)]

    def unmanaged(self) -> list[ClusterSecret]:
        """Return the cluster Secrets that do not carry our mark."""
        return [ClusterSecret.read(item) for item in self._gateway.list(self._url, self._secrets, SELECT_UNMANAGED)]

    def secret_named(self, name: str) -> ClusterSecret | None:
        """Return the Secret of that name, managed or not."""
        found = self._gateway.get(self._url, self._secrets, name)
        return None if found is None else ClusterSecret.read(found)

    def create(self, manifest: dict[str, Any]) -> None:
        """Create a Secret. Raises ConflictError when the name is taken."""
        self._gateway.create(self._url, self._secrets, manifest)

    def patch(self, secret: ClusterSecret, patch: dict[str, Any]) -> None:
        """Change a Secret by a merge patch made from the version that was read."""
        self._gateway.patch(self._url, self._secrets, secret.name, patch)

    def delete(self, secret: ClusterSecret) -> None:
        """Delete the very Secret that was read."""
        version = {"uid": secret.uid, "resourceVersion": secret.resource_version}
        self._gateway.delete(self._url, self._secrets, secret.name, version)
