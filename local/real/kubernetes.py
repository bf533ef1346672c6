"""Real clusters: one etcd, and a kube-apiserver for each cluster that has its own part of it.

There is no controller manager, no scheduler and no node: namespaces do not finish being deleted, service accounts get no
tokens, nothing runs. Only the rules of `view`, `edit` and `admin` are put together, as a controller does. What GKE's IAM authoriser does is asked of us by kube-apiserver's authorisation webhook
(https://kubernetes.io/docs/reference/access-authn-authz/webhook/).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import secrets
import ssl
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from yarl import URL

from local.google.gateway import AGENT, AGENT_GROUPS
from local.google.tasks import Tasks
from local.kubernetes.authorization import MASTERS, Attributes, User, iam_permission
from local.listener import Listener
from local.processes import WITH_PARENT, Child, StartError
from local.real import build
from local.reserved_port import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

Json = dict[str, Any]

RBAC = "rbac.authorization.k8s.io/v1"
_OF_ONE_HOP = {b"host", b"connection", b"content-length", b"transfer-encoding", b"upgrade", b"te"}


class Program(Child):
    """A program beside the functions, with only the given environment."""

    def __init__(self, name: str, path: Path | str, log: Path, variables: Mapping[str, str] | None = None) -> None:
        super().__init__(name, log)
        self.address = f"{HOST}:{self.port}"
        self.path = str(path)
        self.arguments: Iterable[str] = ()
        self.variables = dict(variables or {})

    def command(self) -> list[str]:
        return [sys.executable, "-S", "-E", "-c", WITH_PARENT, self.path, *self.arguments]

    def environment(self) -> Mapping[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.log.parent),
            "LANG": "C.UTF-8",
        } | self.variables


class ControlPlanes:
    """All real clusters of one cloud. `spare` servers are started in advance, because a start takes seconds."""

    def __init__(self, directory: Path, certificate: Path, key: Path, authority: Path, *, spare: int = 1) -> None:
        self.directory = directory
        self.certificate, self.key = certificate, key
        self.trusted = ssl.create_default_context(cafile=str(authority))
        self.on_death: Callable[[Child, int], None] = lambda _child, _code: None
        self._spare = spare
        self._waiting: list[Server] = []
        self._servers: dict[str, Server] = {}
        self._numbers = itertools.count(1)
        self._ends = Tasks()
        self._webhook = Listener(Starlette(routes=[Route("/{server}", self._review, methods=["POST"])]))

    async def start(self) -> None:
        """Start etcd, and the first server that waits."""
        self.apiserver = await asyncio.to_thread(build.program, build.KUBE_APISERVER)
        self.directory.mkdir(parents=True, exist_ok=True)
        signing = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        self.signing = self.directory / "service-accounts.key"
        self.signing.touch(mode=0o600)
        self.signing.write_bytes(signing)
        self.etcd = Program("etcd", _found("etcd"), self.directory / "etcd.log")
        peers = f"http://{HOST}:{self.etcd.reserve_port()}"
        self.etcd.arguments = [
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={self.etcd.url}",
            f"--advertise-client-urls={self.etcd.url}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--log-level=error",
            "--unsafe-no-fsync",  # nothing here outlives the run
        ]
        self.etcd.on_death = self.on_death
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # a controller holds a watch for every kind of every cluster
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(sock_connect=10),
        )
        await asyncio.gather(self._webhook.start(), self.etcd.start(self.directory))
        self._fill()

    async def stop(self) -> None:
        """Stop all; their data is discarded."""
        servers = [*self._waiting, *self._servers.values()]
        self._servers.clear()
        await asyncio.gather(*(server.end() for server in servers))
        await self._ends.finish()
        if hasattr(self, "session"):
            await self.session.close()
            await self.etcd.kill()
            self.etcd.close()
        await self._webhook.stop()

    def cluster(self, name: str, iam_allows: Callable[[str, str], bool] | None) -> RealCluster:
        """Make a cluster; its API answers when it has started."""
        if not self._waiting:
            self._waiting.append(self._new())
        server = self._waiting.pop(0)
        server.iam_allows = iam_allows
        self._servers[server.name] = server
        self._fill()
        return RealCluster(name, self, server)

    def end(self, server: Server) -> None:
        """End a cluster's server, in a moment."""
        if self._servers.pop(server.name, None) is not None:
            self._ends.start(server.end())

    def _fill(self) -> None:
        while len(self._waiting) < self._spare:
            self._waiting.append(self._new())

    def _new(self) -> Server:
        return Server(self, f"cluster-{next(self._numbers)}", self._webhook.url)

    async def _review(self, request: Request) -> JSONResponse:
        """Answer as GKE's IAM authoriser: yes, or no opinion."""
        body = await request.json()
        server = self._servers.get(request.path_params["server"])
        status: Json = {"allowed": False}
        if server is not None and server.iam_allows is not None:
            permission = iam_permission(_attributes(body["spec"]))
            if permission and server.iam_allows(body["spec"].get("user", ""), permission):
                status = {"allowed": True, "reason": f"access granted by IAM permissions ({permission})"}
            elif permission:
                status["reason"] = f'requires one of ["{permission}"] permission(s).'
        return JSONResponse({"apiVersion": body["apiVersion"], "kind": body["kind"], "status": status})


class Server:
    """One kube-apiserver, starting as soon as it is made."""

    def __init__(self, planes: ControlPlanes, name: str, webhook: str) -> None:
        self.name = name
        self.admin_token = secrets.token_urlsafe(24)
        # Tokens are read once, at the start: the Connect agent's of an attached cluster is there before anybody asks for it.
        self.tokens = {
            self.admin_token: User("local-admin", (MASTERS,)),
            f"agent.{self.admin_token}": User(AGENT, tuple(AGENT_GROUPS)),
        }
        self.iam_allows: Callable[[str, str], bool] | None = None
        self._planes = planes
        self._webhook = f"{webhook}/{name}"
        self._program = Program(f"kube-apiserver {name}", planes.apiserver, planes.directory / f"{name}.log")
        self._program.on_death = planes.on_death
        self.url = self._program.url.replace("http:", "https:")
        self._starting = asyncio.get_running_loop().create_task(self._start())

    async def ready(self) -> None:
        """Return when it answers."""
        await asyncio.shield(self._starting)

    async def end(self) -> None:
        self._starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, StartError):
            await self._starting
        await self._program.kill()
        self._program.close()

    async def _start(self) -> None:
        planes = self._planes
        home = planes.directory
        tokens, webhook = home / f"{self.name}.tokens", home / f"{self.name}.webhook"
        tokens.touch(mode=0o600)
        lines = [f'{token},{user.name},{user.name},"{",".join(user.groups)}"' for token, user in self.tokens.items()]
        tokens.write_text("\n".join(lines) + "\n")
        at = {
            "clusters": [{"name": "iam", "cluster": {"server": self._webhook}}],
            "users": [{"name": "us", "user": {}}],
        }
        context = {"contexts": [{"name": "it", "context": {"cluster": "iam", "user": "us"}}], "current-context": "it"}
        webhook.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **at, **context}))
        self._program.arguments = [
            f"--etcd-servers={planes.etcd.url}",
            f"--etcd-prefix=/{self.name}",
            f"--secure-port={self._program.port}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={planes.certificate}",
            f"--tls-private-key-file={planes.key}",
            f"--cert-dir={home / self.name}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={planes.signing}",
            f"--service-account-signing-key-file={planes.signing}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC,Webhook",
            f"--authorization-webhook-config-file={webhook}",
            "--authorization-webhook-version=v1",
            # A grant counts at once, as in the embedded server.
            "--authorization-webhook-cache-authorized-ttl=0s",
            "--authorization-webhook-cache-unauthorized-ttl=0s",
            "--disable-admission-plugins=ServiceAccount",  # it waits for a controller that makes default accounts
            "--service-cluster-ip-range=10.0.0.0/24",
        ]
        await self._program.start(home)
        deadline = asyncio.get_running_loop().time() + 120
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with planes.session.get(f"{self.url}/readyz", ssl=planes.trusted) as answer:
                    if answer.status == 200:
                        break
            if self._program.pid is None or asyncio.get_running_loop().time() > deadline:
                raise StartError(f"{self._program.name} is not ready; the end of its log:\n{self._program.tail()}")
            await asyncio.sleep(0.05)
        for role in ("view", "edit", "admin"):  # each is a part of the next
            await self._aggregate(role)

    async def _aggregate(self, role: str) -> None:
        """Aggregate the rules of a ClusterRole, as the controller manager does."""
        path = f"/apis/{RBAC}/clusterroles"
        _, parts = await self.call("GET", f"{path}?labelSelector={RBAC.partition('/')[0]}/aggregate-to-{role}%3Dtrue")
        rules = [rule for part in parts["items"] for rule in part["rules"] or []]
        status, found = await self.call("PATCH", f"{path}/{role}", {"rules": rules})
        if status != 200:
            raise StartError(f"{self._program.name} has no ClusterRole {role}: {found}")

    async def call(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        """Ask the API as administrator."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {self.admin_token}", "Content-Type": kind, "Accept-Encoding": "identity"}
        data = None if body is None else json.dumps(body)
        async with self._planes.session.request(
            method, URL(self.url + path, encoded=True), data=data, headers=headers, ssl=self._planes.trusted
        ) as answer:
            found: Json = json.loads(await answer.read())
            return answer.status, found


class RealCluster:
    """One cluster by a real kube-apiserver: offers what the embedded `Cluster` does; what asks the API is a coroutine."""

    def __init__(self, name: str, planes: ControlPlanes, server: Server) -> None:
        self.name = name
        self.admin_token = server.admin_token
        self.tokens = server.tokens
        self._planes = planes
        self._server = server
        self._open: set[asyncio.Task[Any]] = set()

    @property
    def app(self) -> RealCluster:
        return self

    @property
    def url(self) -> str:
        return self._server.url

    async def ready(self) -> None:
        """Return when the API answers."""
        await self._server.ready()

    def close(self) -> None:
        """End the cluster."""
        for task in self._open:
            task.cancel()
        self._planes.end(self._server)

    async def put(self, manifest: Json) -> Json:
        """Create an object, or merge the manifest into it, as administrator."""
        path = await self._path(manifest)
        status, found = await self.call("POST", path, manifest)
        if status == 409:
            status, found = await self.call("PATCH", f"{path}/{manifest['metadata']['name']}", manifest)
        if status >= 300:
            raise RuntimeError(f"{self.name}: {manifest['kind']} {manifest['metadata']['name']}: {status} {found}")
        return found

    async def objects(self, plural: str, namespace: str | None = None) -> list[Json]:
        """Return the objects of a kind of the core or the RBAC group."""
        base = f"/apis/{RBAC}" if "role" in plural else "/api/v1"
        _, found = await self.call("GET", f"{base}{f'/namespaces/{namespace}' if namespace else ''}/{plural}")
        items: list[Json] = found["items"]
        return items

    async def call(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        """Ask the API as administrator."""
        await self.ready()
        return await self._server.call(method, path, body)

    async def _path(self, manifest: Json) -> str:
        group = manifest["apiVersion"]
        base = f"/apis/{group}" if "/" in group else f"/api/{group}"
        _, known = await self.call("GET", base)
        named = [
            one for one in known.get("resources", []) if one["kind"] == manifest["kind"] and "/" not in one["name"]
        ]
        if not named:
            raise RuntimeError(f"{self.name} knows no {manifest['kind']} in {group}")
        [resource] = named
        within = f"/namespaces/{manifest['metadata'].get('namespace', 'default')}" if resource["namespaced"] else ""
        return f"{base}{within}/{resource['name']}"

    # As a server: a reverse proxy, for the gateway and for kubectl

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.ready()
        body = await _body(receive)
        work = asyncio.ensure_future(self._pass(scope, body, send))
        left = asyncio.ensure_future(_disconnected(receive))
        self._open.add(work)
        try:
            await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open.discard(work)
            for task in (work, left):
                task.cancel()
            done = await asyncio.gather(work, left, return_exceptions=True)
        if isinstance(done[0], BaseException) and not isinstance(done[0], asyncio.CancelledError):
            raise done[0]

    async def _pass(self, scope: Scope, body: bytes, send: Send) -> None:
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.removeprefix(scope.get("root_path", "").encode()).decode("latin-1") or "/"
        query = scope["query_string"].decode("latin-1")
        headers = [(n.decode(), v.decode("latin-1")) for n, v in scope["headers"] if n.lower() not in _OF_ONE_HOP]
        async with self._planes.session.request(
            scope["method"],
            URL(f"{self.url}{path}{'?' if query else ''}{query}", encoded=True),
            data=body or None,
            headers=headers,
            skip_auto_headers=["Content-Type", "User-Agent", "Accept", "Accept-Encoding"],
            ssl=self._planes.trusted,
            allow_redirects=False,
        ) as answer:
            passed = [(n, v) for n, v in answer.raw_headers if n.lower() not in _OF_ONE_HOP - {b"content-length"}]
            await send({"type": "http.response.start", "status": answer.status, "headers": passed})
            async for chunk in answer.content.iter_any():  # at once: a watch's events must not wait for the next
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _attributes(spec: Json) -> Attributes:
    if "nonResourceAttributes" in spec:
        return Attributes(spec["nonResourceAttributes"]["verb"], path=spec["nonResourceAttributes"]["path"])
    asked = spec["resourceAttributes"]
    return Attributes(asked["verb"], asked.get("group", ""), asked.get("resource", ""))


def _found(program: str) -> str:
    build.require(build.KUBE_APISERVER)
    import shutil

    return shutil.which(program) or program
