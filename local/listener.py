"""One server of ours: an ASGI application on a loopback port, in the loop that everything shares.

Uvicorn is driven from outside, because many servers live in one process and only `python -m local` minds the signals.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import uvicorn
from starlette.responses import PlainTextResponse

from local.reserved_port import HOST

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send


class Listener:
    """`app` on `port` (0: a free one, taken at once, so that its number is known before anything runs)."""

    def __init__(
        self, app: ASGIApp, *, port: int = 0, certificate: Path | None = None, key: Path | None = None
    ) -> None:
        # asyncio sends small answers at once (TCP_NODELAY) only on a socket that says that it is TCP; else every second
        # answer on a kept connection waits 40 ms for an acknowledgement.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
        except OSError:
            self._socket.close()
            raise
        self._socket.listen(512)
        self.port: int = self._socket.getsockname()[1]
        self.address = f"{HOST}:{self.port}"
        self.url = f"{'https' if certificate else 'http'}://{self.address}"
        self._server = _Server(
            uvicorn.Config(
                without_browsers(app),
                lifespan="off",
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
                ssl_certfile=certificate,
                ssl_keyfile=key,
            )
        )
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once the port answers."""
        self._running = asyncio.create_task(self._server._serve(sockets=[self._socket]))  # noqa: SLF001
        while not self._server.started:
            if self._running.done():
                self._running.result()
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        """Close the port; what still streams after a second is cut."""
        self._server.stop()
        if self._running is None:
            self._socket.close()
        else:
            await self._running
            # A client that does not answer the end of TLS would keep its connection for another half minute.
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)


class _Server(uvicorn.Server):
    """Renews the Date header once a second, by a timer. Uvicorn's own loop costs more, and a cloud has about 24 servers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    async def main_loop(self) -> None:
        """Return when the server is stopped."""
        self._renew_date()
        try:
            await self._stopped.wait()
        finally:
            self._timer.cancel()

    def _renew_date(self) -> None:
        loop = asyncio.get_running_loop()
        self.server_state.default_headers = [(b"date", _date(int(time.time()))), *self.config.encoded_headers]
        self._timer = loop.call_later(1 - loop.time() % 1, self._renew_date)

    def stop(self) -> None:
        """Let the main loop return."""
        self.should_exit = True
        self._stopped.set()


@functools.lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def without_browsers(app: ASGIApp) -> ASGIApp:
    """Refuse calls from web pages: a browser adds `Origin`, and no client library or command does."""

    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        if any(name == b"origin" for name, _ in scope.get("headers", ())):
            await PlainTextResponse("a web page may not call this", 403)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return refusing
