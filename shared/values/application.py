"""Argo CD's Applications, as far as they concern clusters: where one deploys to, and whether its deletion waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.values.cluster_secret import ClusterSecret
    from shared.values.objects import Object

GROUP_VERSION: Final = "apis/argoproj.io/v1alpha1"
# The cluster that Argo CD runs in needs no Secret (util/settings of Argo CD).
IN_CLUSTER_NAME: Final = "in-cluster"
IN_CLUSTER_SERVER: Final = "https://kubernetes.default.svc"
_CASCADES: Final = "resources-finalizer.argocd.argoproj.io"


@dataclass(frozen=True, slots=True)
class Application:
    """One Application. `generator` is the ApplicationSet that made it, '' if a person did.

    `deleted_at` is when somebody deleted it, '' if nobody has; `cascades`: its deletion deletes what it deployed.
    """

    name: str
    cluster_name: str = ""
    server: str = ""
    deleted_at: str = ""
    generator: str = ""
    cascades: bool = False

    @classmethod
    def read(cls, manifest: Object) -> Application:
        """Read an Application as the Kubernetes API gives it. Fields of a wrong type count as absent."""
        meta = manifest["metadata"]
        destination = _object(_object(manifest.get("spec")).get("destination"))
        owners = [_object(one) for one in _list(meta.get("ownerReferences"))]
        return cls(
            name=meta["name"],
            cluster_name=_text(destination.get("name")),
            server=_text(destination.get("server")),
            deleted_at=_text(meta.get("deletionTimestamp")),
            generator=next((_text(one.get("name")) for one in owners if one.get("kind") == "ApplicationSet"), ""),
            cascades=any(_text(one).startswith(_CASCADES) for one in _list(meta.get("finalizers"))),
        )

    def points_to(self, secret: ClusterSecret) -> bool:
        """Whether it deploys to the cluster of this Secret. Argo CD takes the name of a cluster or the server, never both."""
        if self.cluster_name:
            return self.cluster_name == secret.data.get("name")
        return self.server.rstrip("/") == secret.data.get("server", "").rstrip("/")

    @property
    def needs_secret(self) -> bool:
        """Whether its destination is another cluster than the one that Argo CD runs in."""
        if self.cluster_name:
            return self.cluster_name != IN_CLUSTER_NAME
        return self.server.rstrip("/") != IN_CLUSTER_SERVER


def orphans(applications: Iterable[Application], secrets: Iterable[ClusterSecret]) -> list[Application]:
    """Return the Applications whose cluster Argo CD does not have: no cluster Secret has its name or server."""
    known = list(secrets)
    names = {secret.data.get("name") for secret in known}
    servers = {secret.data.get("server", "").rstrip("/") for secret in known}
    return [
        one
        for one in applications
        if one.needs_secret
        and not (one.cluster_name in names if one.cluster_name else one.server.rstrip("/") in servers)
    ]


def _object(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
