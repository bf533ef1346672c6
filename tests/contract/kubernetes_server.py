"""The server that the Kubernetes suites run against: the embedded one, or a real kube-apiserver named by the environment.

`KUBE_API_SERVER` (URL), `KUBE_API_TOKEN` (of a user in system:masters) and `KUBE_API_CA` (PEM file) take the real one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from local.certificates import Authority
from local.kubernetes.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

REAL = os.environ.get("KUBE_API_SERVER", "")


@dataclass(frozen=True)
class Server:
    url: str
    token: str
    ca: str


@dataclass(frozen=True)
class Served:
    url: str
    ca: str
    on_loop: Callable[[Callable[[], None]], object]  # runs a function on the serving loop, and does not wait for it


@contextmanager
def kubernetes_server() -> Iterator[Server]:
    """Serve a fresh cluster, or point to the real server."""
    if REAL:
        yield Server(REAL, os.environ["KUBE_API_TOKEN"], os.environ["KUBE_API_CA"])
        return
    cluster = Cluster("contract")
    with served(cluster.app, cluster.close) as serving:
        yield Server(serving.url, cluster.admin_token, serving.ca)


class _Thread(threading.Thread):
    """A uvicorn in a thread, with https; leaving it proves that it stops."""

    def __init__(self, app: ASGIApp, certificate: Path, key: Path, bound: socket.socket) -> None:
        super().__init__(name="kubernetes")
        # asyncio waits 30 s for a client's farewell when it closes TLS; pooled clients give none.
        config = uvicorn.Config(
            app,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            lifespan="off",
            log_level="critical",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.bound = bound
        self.ready = threading.Event()

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.ready.set()
        await self.server.serve(sockets=[self.bound])
        connections = self.server.server_state.connections
        for connection in list(connections):
            if not connection.transport.is_closing():  # Python 3.11.2 raises on a transport that is closed already
                connection.transport.abort()
        while connections:  # noqa: ASYNC110  each learns in a later turn of the loop that it is lost
            await asyncio.sleep(0)


@contextmanager
def served(app: ASGIApp, close: Callable[[], None]) -> Iterator[Served]:
    """Serve an application over TLS. `close` ends its watches."""
    authority = Authority()
    # asyncio turns Nagle's delay off only where the protocol is named; without it every answer takes 40 ms.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with tempfile.TemporaryDirectory() as folder, bound:
        files = [Path(folder, name) for name in ("server.pem", "server.key", "ca.pem")]
        for file, content in zip(files, (*authority.issue("127.0.0.1", "localhost"), authority.pem), strict=True):
            file.write_bytes(content)
        bound.bind(("127.0.0.1", 0))
        bound.listen()  # clients may connect from here on; uvicorn answers when it is up
        thread = _Thread(app, files[0], files[1], bound)
        thread.start()
        thread.ready.wait(60)
        try:
            url = f"https://127.0.0.1:{bound.getsockname()[1]}"
            yield Served(url, str(files[2]), thread.loop.call_soon_threadsafe)
        finally:
            thread.server.should_exit = True
            thread.loop.call_soon_threadsafe(close)
            thread.join(60)
            assert not thread.is_alive(), "the server did not stop"
