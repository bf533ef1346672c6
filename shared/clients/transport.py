"""The connections of every HTTP client: total deadline, bounded size, proxies, one identity.

requests, the official clients over REST and the Kubernetes client all send by urllib3, whose timeouts hold for each read
from the socket. Here an answer has one deadline from the request to the last byte of the body. gRPC has its own.
"""

from __future__ import annotations

import errno
import functools
import http.client
import io
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import requests
from google.auth.transport.requests import AuthorizedSession, Request
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from shared.clients import deadline

if TYPE_CHECKING:
    import socket
    import ssl

    from google.auth.credentials import Credentials
    from urllib3.poolmanager import PoolManager

M = TypeVar("M", bound="PoolManager")

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS = 20.0
# Of one answer as it is sent. 10,000 memberships in one answer are some 30 MiB.
MAX_BYTES: Final = 64 * 2**20


def answer_seconds() -> float:
    """Return how long an answer may take now, to its last byte. Raises TimeoutError when the step's time is used up."""
    return deadline.remaining(ANSWER_SECONDS)


class _Body(io.RawIOBase):
    """Reads one answer from a socket, status line and headers included, within a time and a size."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        # The client has set its read timeout on the socket just before: here it holds for the whole answer.
        self._ends = time.monotonic() + deadline.remaining(sock.gettimeout() or ANSWER_SECONDS)
        self._left = MAX_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds = self._ends - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the answer was not complete in time")
        self._socket.settimeout(seconds)
        count = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise OSError(errno.EMSGSIZE, f"the answer has more than {MAX_BYTES} bytes")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp.close()
        self.fp = io.BufferedReader(_Body(sock))


class _Http(HTTPConnection):
    """Connects and sends within the step's time."""

    response_class = _Response

    def connect(self) -> None:
        self.timeout = deadline.remaining(self.timeout or CONNECT_SECONDS)
        super().connect()

    def send(self, data: Any) -> None:
        deadline.remaining(ANSWER_SECONDS)
        super().send(data)


class _Https(_Http, HTTPSConnection):
    """Shares one SSL context for each CA bundle with the other connections: parsing a bundle takes about 20 ms."""

    def connect(self) -> None:
        # urllib3 verifies a proxy that is reached by TLS with `ca_certs`, not with the context.
        is_proxy_tls = self.proxy is not None and self.proxy.scheme == "https"
        if self.ssl_context is None and (self.ca_certs or self.ca_cert_dir) and not self.cert_file and not is_proxy_tls:
            self.ssl_context = _trusting(self.ca_certs, self.ca_cert_dir)
            self.ca_certs = self.ca_cert_dir = None
        super().connect()


@functools.cache
def _trusting(file: str | None, directory: str | None) -> ssl.SSLContext:
    """Return the context that trusts a CA bundle; changes of the file count for new processes only."""
    context = create_urllib3_context()
    context.load_verify_locations(file, directory)
    return context


class HttpPool(HTTPConnectionPool):
    """Connections without TLS."""

    ConnectionCls = _Http


class HttpsPool(HTTPSConnectionPool):
    """Connections with TLS."""

    ConnectionCls = _Https


def bound(manager: M) -> M:
    """Make a pool manager use this module's connections."""
    manager.pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
    return manager


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        bound(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **more: Any) -> Any:
        return bound(super().proxy_manager_for(*args, **more))


def _prepare(session: requests.Session, retries: int) -> None:
    """Bound a session's connections, keep it from `~/.netrc`, whose entries replace our token, and from redirects."""
    for prefix in ("http://", "https://"):
        session.mount(prefix, _Adapter(max_retries=retries))
    session.auth = lambda request: request
    session.max_redirects = 0


def token_request() -> Request:
    """Return what fetches tokens."""
    session = requests.Session()
    _prepare(session, retries=3)
    return Request(session)


def authorized_session(credentials: Credentials) -> AuthorizedSession:
    """Return a session with an identity; it fetches a new token once if an API answers 401."""
    session = AuthorizedSession(credentials, max_refresh_attempts=1, auth_request=token_request())
    _prepare(session, retries=0)
    return session


def bound_session(session: AuthorizedSession) -> None:
    """Bound a session that an official client has made for itself, as `authorized_session` does."""
    session._auth_request, session._max_refresh_attempts = token_request(), 1  # noqa: SLF001
    _prepare(session, retries=0)
