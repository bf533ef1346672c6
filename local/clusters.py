"""The Kubernetes APIs of all clusters: embedded, or kube-apiservers; reached directly or through the gateway."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from local.google import gateway
from local.google.gke.names import full_name
from local.google.kubernetes_audit import audited
from local.kubernetes.authorization import User
from local.kubernetes.cluster import Cluster
from local.kubernetes.host import PREFIX, ClusterHost
from local.names import key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from local.google.fleet.state import Fleet
    from local.google.iam.state import Iam
    from local.real.kubernetes import ControlPlanes, RealCluster

Json = dict[str, Any]


async def settled(result: Awaitable[Any] | Any) -> Any:
    """Return a result; the real parts return an awaitable."""
    return await result if inspect.isawaitable(result) else result


class Clusters:
    """Clusters by full name, attached ones by their membership's. `on_change` is called when one is added or removed.

    `planes`, if given, starts a kube-apiserver for each cluster. `keep` takes the audit entries of GKE clusters.
    """

    def __init__(self, iam: Iam, on_change: Callable[[], None], keep: Callable[[Json], None]) -> None:
        self.members: dict[str, Cluster | RealCluster] = {}
        self.planes: ControlPlanes | None = None
        self._iam = iam
        self._on_change = on_change
        self._keep = keep
        self._host = ClusterHost()

    def close(self) -> None:
        """End all watches; call it before the server stops."""
        self._host.close()

    def add(self, name: str, iam_allows: Callable[[str, str], bool] | None) -> Cluster | RealCluster:
        """Create the Kubernetes API of a cluster."""
        if self.planes is None:
            made: Cluster | RealCluster = Cluster(name, iam_allows=iam_allows)
        else:
            made = self.planes.cluster(name, iam_allows)
        self.members[name] = made
        self._host.add(key(name), made)
        self._on_change()
        return made

    def add_gke(self, cluster: Json) -> None:
        """Serve a GKE cluster, to which IAM also applies."""
        name = full_name(cluster)
        project = name.split("/")[1]
        self.add(name, lambda user, permission: self._iam.allows(user, permission, project))

    def add_attached(self, membership: str) -> None:
        """Serve an attached cluster, which is reached through its agent."""
        if membership not in self.members:
            cluster = self.add(membership, None)
            cluster.tokens[_agent_token(cluster)] = User(gateway.AGENT, tuple(gateway.AGENT_GROUPS))

    def remove(self, name: str) -> None:
        """Stop serving a cluster."""
        self.members.pop(name, None)
        self._host.remove(key(name))
        self._on_change()

    def remove_gke(self, cluster: Json) -> None:
        """Stop serving a GKE cluster."""
        self.remove(full_name(cluster))

    async def apply(self, name: str, manifests: Iterable[Json]) -> None:
        """Write objects into a cluster, as its administrator."""
        for manifest in manifests:
            await settled(self.members[name].put(manifest))

    def path(self, name: str) -> str:
        """Return the path of a cluster's own endpoint, behind the listener's address."""
        return f"{PREFIX}{key(name)}"

    def through_gateway(self, fleet: Fleet, project: str, location: str, membership_id: str) -> gateway.Member | None:
        """The API that the gateway reaches for a membership; None if it is missing, not ready, or not connected."""
        name = f"projects/{project}/locations/{location}/memberships/{membership_id}"
        if not fleet.connected(name):
            return None
        membership = fleet.membership(name)
        link = membership.get("endpoint", {}).get("gkeCluster", {}).get("resourceLink")
        cluster = self.members.get(link.split("/", 3)[3] if link else name)
        if cluster is None or membership["state"]["code"] == "CREATING":
            return None
        if link:
            app = self._audited(cluster, cluster.app)
            return gateway.Member(app, "gkeMemberships", cluster.admin_token, cluster.name.split("/")[1])
        return gateway.Member(cluster.app, "memberships", _agent_token(cluster))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The clusters' own endpoints, for kubectl with a cluster's token; a GKE cluster knows Google's tokens too."""
        if scope["type"] != "http":
            return
        place = scope["path"].removeprefix(PREFIX).partition("/")[0]
        served = self._host.clusters.get(place)
        cluster = self.members.get(served.name) if served is not None else None
        if cluster is None or "/clusters/" not in cluster.name:
            await self._host(scope, receive, send)
            return
        if scope.get("identity"):
            scope = {**scope, "headers": gateway.impersonating(scope, cluster.admin_token)}
        await self._audited(cluster, self._host, PREFIX + place)(scope, receive, send)

    def _audited(self, cluster: Cluster | RealCluster, app: ASGIApp, prefix: str = "") -> ASGIApp:
        """Wrap the API of a GKE cluster: its writes become audit entries."""

        def user(scope: Scope) -> str:
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            token = headers.get(b"authorization", "").partition(" ")[2]
            caller = cluster.tokens.get(token)
            return headers.get(b"impersonate-user") or (caller.name if caller else "system:anonymous")

        return audited(app, cluster.name, prefix, user, self._keep)


def _agent_token(cluster: Cluster | RealCluster) -> str:
    return f"agent.{cluster.admin_token}"
