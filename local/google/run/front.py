"""The check before a service that is not public: a call needs an identity token for it, of somebody who may invoke it.

https://cloud.google.com/run/docs/authenticating/service-to-service: the token's audience is the service's URL, and its
identity needs `run.routes.invoke` on the service. Left out: ingress (every caller is inside), instances, the queue before
them, custom audiences. The token reaches the service without its signature, as on Cloud Run.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import aiohttp
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from local.google.run.state import now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from local.google.iam.state import Iam
    from local.google.run.state import Run, Service

    Json = dict[str, Any]

_OF_ONE_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}
_DENIED = "Your client does not have permission to get URL <code>{}</code> from this server."


class Front:
    """An ASGI application for one service (full name); `inner()` is the URL of its process, or "" while none answers.

    `keep` takes the log entry of each refused call. `wake` starts the process, unless somebody has stopped it.
    """

    def __init__(
        self,
        run: Run,
        iam: Iam,
        name: str,
        inner: Callable[[], str],
        *,
        keep: Callable[[Json], None],
        wake: Callable[[], Awaitable[None]],
    ) -> None:
        self._run = run
        self._iam = iam
        self._name = name
        self._inner = inner
        self._keep = keep
        self._wake = wake
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        authorization = request.headers.get("authorization", "")
        answer = self.refusal(authorization, request.url.path)
        service = self._run.services.get(self._name)
        if answer is not None and service is not None:
            self._keep(_refused(request, service, answer.status_code, known=bool(authorization)))
        if answer is None:
            try:
                answer = await self._forward(request)
            except ClientDisconnect:
                return
        await answer(scope, receive, send)

    def refusal(self, authorization: str, path: str) -> Response | None:
        """Return the refusal of a call; None if the caller may call."""
        service = self._run.services.get(self._name)
        if service is None:
            return Response("The requested URL was not found on this server.", 404, media_type="text/html")
        if self._iam.allows_on(None, "run.routes.invoke", self._name):  # the service is public
            return None
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer":
            return Response(_DENIED.format(path), 403, media_type="text/html")
        claims = self._iam.tokens.claims(token.strip())
        if claims is None or claims["aud"].rstrip("/") != service.url.rstrip("/"):
            error = 'Bearer error="invalid_token" error_description="The access token could not be verified"'
            return Response(_DENIED.format(path), 401, {"www-authenticate": error}, media_type="text/html")
        if not self._iam.allows_on(claims["email"], "run.routes.invoke", self._name):
            error = 'Bearer error="insufficient_scope" error_description="The access is forbidden."'
            return Response(_DENIED.format(path), 403, {"www-authenticate": error}, media_type="text/html")
        return None

    async def _forward(self, request: Request) -> Response:
        inner = self._inner()
        if not inner:
            await self._wake()
            inner = self._inner()
        if not inner:
            return Response("Service Unavailable", 503, media_type="text/plain")
        headers = {name: value for name, value in request.headers.items() if name not in _OF_ONE_HOP}
        if "authorization" in headers:
            signed = headers["authorization"].rpartition(".")[0]
            headers["authorization"] = f"{signed}.SIGNATURE_REMOVED_BY_GOOGLE"
        if self._session is None:
            # A connection for each call: an idle one that the process closes under us would be a failed call.
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            self._session = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
            )
        url = f"{inner}{request.url.path}" + (f"?{request.url.query}" if request.url.query else "")
        body = await request.body()
        try:
            async with self._session.request(
                request.method, url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_HOP}
                return Response(await answer.read(), answer.status, kept)
        except (OSError, aiohttp.ClientError):
            return Response("Service Unavailable", 503, media_type="text/plain")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def _refused(request: Request, service: Service, status: int, *, known: bool) -> Json:
    """Return the request log's entry about a refused call. Accepted calls have no entry here."""
    time = now()
    text = (
        "The request was not authorized to invoke this service."
        if known
        else "The request was not authenticated. Either allow unauthenticated invocations or set the proper Authorization header."
    )
    return {
        "insertId": secrets.token_hex(10),
        "logName": f"projects/{service.project}/logs/run.googleapis.com%2Frequests",
        "resource": service.monitored_resource,
        "timestamp": time,
        "receiveTimestamp": time,
        "severity": "WARNING",
        "httpRequest": {
            "requestMethod": request.method,
            "requestUrl": service.url + request.url.path,
            "status": status,
            "userAgent": request.headers.get("user-agent", ""),
        },
        "textPayload": f"{text} Read more at https://cloud.google.com/run/docs/securing/authenticating",
    }


def proxied(front: Front, iam: Iam, email: str, audience: Callable[[], str]) -> ASGIApp:
    """Return what calls a service with a person's identity token, as `gcloud run services proxy` does on their machine.

    It answers to the names of loopback alone, so that no web page can reach it under a name of its own.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = Request(scope).headers.get("host", "").rpartition(":")[0]
        if host not in ("127.0.0.1", "localhost"):
            await Response("This page answers to loopback alone.", 403, media_type="text/plain")(scope, receive, send)
            return
        token = iam.tokens.new_identity_token(email, audience())
        kept = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        await front({**scope, "headers": [*kept, (b"authorization", f"Bearer {token}".encode())]}, receive, send)

    return app
