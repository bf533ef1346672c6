"""GKE, fleet, platform and the gateway's own method, served for one test; and the check of every answer's field names.

Each API has a port of its own, as each has a host of its own: GKE's and the fleet's operations have the same paths.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from google.api_core.client_options import ClientOptions
from google.cloud import container_v1, gkehub_v1
from google.longrunning import operations_pb2
from google.oauth2.credentials import Credentials
from google.protobuf import json_format

from local.google.faults import Calls, Faults, observed
from local.google.fleet.api import fleet_app
from local.google.fleet.credentials import generate_credentials_routes
from local.google.fleet.state import Fleet
from local.google.gke.api import gke_app
from local.google.gke.names import full_name
from local.google.gke.state import Gke
from local.google.iam.state import Iam
from local.google.platform import Projects, platform_app
from local.google.wire import google_api
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWNER = "you@example.com"
FLEET, FLEET_NUMBER, APPS = "demo-fleet", "100000000001", "demo-apps"
HOME = f"projects/{FLEET}/locations/europe-west1"
AUTHORITY = "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n"
# What an answer must be, by API, method and the end of its path; the first that fits counts.
GKE, HUB = container_v1, gkehub_v1
ANSWERS: list[tuple[str, str, Any]] = [
    ("container", r"GET .*/clusters", GKE.ListClustersResponse),
    ("container", r"GET .*/clusters/[^/]+", GKE.Cluster),
    ("container", r"GET .*/nodePools", GKE.ListNodePoolsResponse),
    ("container", r"GET .*/server[Cc]onfig", GKE.ServerConfig),
    ("container", r"GET .*/operations", GKE.ListOperationsResponse),
    ("container", r".*", GKE.Operation),
    ("gkehub", r"GET .*/memberships", HUB.ListMembershipsResponse),
    ("gkehub", r"GET .*/memberships/[^/]+", HUB.Membership),
    ("gkehub", r"GET .*/bindings", HUB.ListMembershipBindingsResponse),
    ("gkehub", r"GET .*/operations", operations_pb2.ListOperationsResponse),
    ("gkehub", r".*", operations_pb2.Operation),
]


@dataclass
class Cloud:
    """What a test holds of the running APIs."""

    iam: Iam
    projects: Projects
    gke: Gke
    fleet: Fleet
    token: str
    loop: asyncio.AbstractEventLoop
    audit: list[dict[str, Any]]
    events: list[tuple[str, dict[str, Any]]]
    ports: dict[str, int] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    answers: list[tuple[str, str, bytes]] = field(default_factory=list)

    def url(self, api: str) -> str:
        return f"http://127.0.0.1:{self.ports[api]}"

    def clusters(self, token: str | None = None) -> container_v1.ClusterManagerClient:
        return container_v1.ClusterManagerClient(transport="rest", **self._options("container", token))

    def memberships(self, token: str | None = None) -> gkehub_v1.GkeHubClient:
        return gkehub_v1.GkeHubClient(transport="rest", **self._options("gkehub", token))

    def _options(self, api: str, token: str | None) -> dict[str, Any]:
        credentials = Credentials(token=token or self.token)
        return {"client_options": ClientOptions(api_endpoint=self.url(api)), "credentials": credentials}

    def do(self, work: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Call something in the loop of the servers."""

        async def run() -> Any:
            result = work(*arguments, **more)
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE)

    def methods(self) -> list[tuple[str, str]]:
        """The audit entries in short."""
        return [(entry["protoPayload"]["methodName"].rpartition(".")[2], _stage(entry)) for entry in self.audit]


def _stage(entry: dict[str, Any]) -> str:
    operation = entry.get("operation")
    if operation is None:
        return "refused" if entry["severity"] == "ERROR" else "at once"
    return "started" if operation.get("first") else "finished"


def noting(app: ASGIApp, api: str, answers: list[tuple[str, str, bytes]]) -> ASGIApp:
    """Keep every good answer of an API."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        status, body = 0, b""

        async def noting_send(message: Message) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")
            await send(message)

        await app(scope, receive, noting_send)
        if status == 200:
            answers.append((api, f"{scope['method']} {scope['path']}", body))

    return wrapped


def check_answers(answers: list[tuple[str, str, bytes]]) -> None:
    """Every answer holds the fields of its message and no other."""
    for api, call, body in answers:
        kind = next((kind for known, path, kind in ANSWERS if known == api and re.fullmatch(path, call)), None)
        if kind is not None:
            message = kind() if kind.__module__.endswith("_pb2") else kind.pb()()
            json_format.Parse(body, message, ignore_unknown_fields=False)


@contextlib.contextmanager
def served() -> Iterator[Cloud]:
    """Serve the APIs for one test, in a thread of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    iam = Iam(owners={OWNER})
    projects = Projects({FLEET: int(FLEET_NUMBER), APPS: 100000000002})
    audit: list[dict[str, Any]] = []
    events: list[tuple[str, dict[str, Any]]] = []
    gke = Gke(projects, emit_audit=audit.append)
    fleet = Fleet(projects, gke, emit_membership=lambda kind, membership: events.append((kind, membership)))
    cloud = Cloud(iam, projects, gke, fleet, iam.token_for(OWNER), loop, audit, events)
    gke.on_cluster_running = lambda cluster: cloud.running.append(full_name(cluster))
    gke.on_cluster_gone = lambda cluster: cloud.gone.append(full_name(cluster))
    gke.kubernetes_endpoint = lambda name: (f"127.0.0.1:1/clusters/{name.replace('/', '.')}", AUTHORITY)

    def gateway_url(membership: dict[str, Any]) -> str:
        return f"https://127.0.0.1:1/v1/{membership['name']}"

    apps: dict[str, ASGIApp] = {
        "container": gke_app(gke, iam),
        "gkehub": fleet_app(fleet, iam),
        "platform": platform_app(iam, projects),
        "gateway": google_api(generate_credentials_routes(fleet, iam, gateway_url, ca_pem=AUTHORITY)),
    }
    servers, tasks = [], []
    for api, app in apps.items():
        listener = socket.create_server(("127.0.0.1", 0))
        cloud.ports[api] = listener.getsockname()[1]
        inner = noting(observed(app, api, iam, Faults(), Calls()), api, cloud.answers)
        server = uvicorn.Server(uvicorn.Config(inner, log_level="warning", lifespan="off"))
        servers.append(server)
        tasks.append(asyncio.run_coroutine_threadsafe(server.serve(sockets=[listener]), loop))
    fleet.container_host = f"127.0.0.1:{cloud.ports['container']}"
    try:
        until(lambda: all(server.started for server in servers))
        yield cloud
        check_answers(cloud.answers)
    finally:
        for server in servers:
            server.should_exit = True
        for task in tasks:
            task.result(PATIENCE)
        for part in (gke, fleet):
            asyncio.run_coroutine_threadsafe(part.cancel(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
