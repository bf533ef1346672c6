"""Many clusters behind one listener, each under `/clusters/<key>`: for kubeconfigs with direct access."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from starlette.responses import JSONResponse

from local.kubernetes.status import no_such_path

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/clusters/"


class Served(Protocol):
    """The part of a cluster that the host uses: the embedded one, or a proxy to a kube-apiserver."""

    name: str
    admin_token: str

    @property
    def app(self) -> ASGIApp: ...

    def close(self) -> None: ...


class ClusterHost:
    """An ASGI application; clusters come and go while it serves."""

    def __init__(self) -> None:
        self.clusters: dict[str, Served] = {}

    def add(self, key: str, cluster: Served) -> str:
        """Serve a cluster; return its path, to be put behind the listener's address."""
        self.clusters[key] = cluster
        return PREFIX + key

    def remove(self, key: str) -> None:
        """Serve a cluster no more, and end its watches."""
        cluster = self.clusters.pop(key, None)
        if cluster is not None:
            cluster.close()

    def close(self) -> None:
        """End all watches; call it on the serving loop before the server stops."""
        for cluster in self.clusters.values():
            cluster.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the clusters do not serve {scope['type']}")
        key, slash, path = scope["path"].removeprefix(PREFIX).partition("/")
        cluster = self.clusters.get(key) if scope["path"].startswith(PREFIX) else None
        if cluster is None:
            error = no_such_path()
            await JSONResponse(error.body, status_code=error.code)(scope, receive, send)
            return
        inner = {**scope, "path": slash + path or "/", "root_path": scope.get("root_path", "") + PREFIX + key}
        await cluster.app(inner, receive, send)
