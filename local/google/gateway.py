"""Connect Gateway: the way to a member's Kubernetes API with a Google identity and no stored credentials.

It asks who is calling, whether that identity may use the gateway, and which member is meant; then the member hears from
an administrator who impersonates the caller, so that the member's own RBAC (on GKE also IAM) decides. On an attached
cluster it is the agent that impersonates, and RBAC decides about that as well
(https://cloud.google.com/kubernetes-engine/enterprise/multicluster-management/gateway). What the gateway refuses itself is a
Google error, never a Kubernetes `Status`. A caller may act as somebody else on GKE, where `container.clusters.impersonate`
allows it; elsewhere such headers do not count. Left out: exec, attach and port-forward (`gkehub.gateway.stream`), groups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from starlette.responses import JSONResponse

from local.google.wire import GoogleError, google_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from local.google.iam.state import Iam

AGENT = "system:serviceaccount:gke-connect:connect-agent-sa"
AGENT_GROUPS = ["system:serviceaccounts", "system:serviceaccounts:gke-connect", "system:authenticated"]

_PATH = re.compile(
    r"/v1(?:alpha1|beta1)?/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)"
    r"/(?P<collection>gkeMemberships|memberships)/(?P<membership>[^/]+)(?P<path>/.*)?"
)
_REGIONAL_HOST = re.compile(r"(?:(?P<location>[a-z0-9-]+)-)?connectgateway\.")
# https://cloud.google.com/kubernetes-engine/enterprise/multicluster-management/gateway/setup: roles by HTTP verb.
_PERMISSION = {"GET": "get", "HEAD": "get", "POST": "post", "PUT": "put", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Member:
    """A cluster that the gateway can reach: its API, the kind of membership, and the token it is spoken to with.

    `app` is any ASGI application that serves the Kubernetes API at the root; it may be a proxy to a real kube-apiserver.
    """

    app: ASGIApp
    collection: Literal["gkeMemberships", "memberships"]
    token: str
    project: str = ""  # of a GKE cluster: there Google's IAM says who may impersonate


def gateway_app(
    iam: Iam,
    fleets: Mapping[str, str],
    member: Callable[[str, str, str], Member | None],
    credentials: ASGIApp | None = None,
    admit: Callable[[], None] = lambda: None,
) -> ASGIApp:
    """Return the gateway of the fleets, by the number of their project.

    `member(project, location, membership id)` is None without a member, or if its agent is not connected.
    `credentials` answers
    `…/memberships/M:generateCredentials`, which shares this host with the gateway.
    `admit()` raises GoogleError for a request that exceeds the project's quota.
    """

    def route(scope: Scope) -> tuple[Member, str]:
        match = _PATH.fullmatch(scope["path"])
        if match is None:
            raise GoogleError(404, f"no such resource: {scope['path']}")
        caller: str | None = scope.get("identity")
        if caller is None:
            raise GoogleError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")
        # The real one knows a fleet by its project's number (gcloud, command_lib/container/fleet/gateway.py, asks for it).
        if match["project"] not in fleets:
            raise GoogleError(400, f"'{match['project']}' is not the number of the fleet's project.")
        project = fleets[match["project"]]
        permission = f"gkehub.gateway.{_PERMISSION.get(scope['method'], scope['method'].lower())}"
        if not iam.allows(caller, permission, project):
            raise GoogleError(403, f"Permission '{permission}' denied on resource 'projects/{project}' for '{caller}'.")
        admit()
        location, name = match["location"], match["membership"]
        hosts = [value.decode("latin-1") for header, value in scope["headers"] if header == b"host"]
        host = _REGIONAL_HOST.match(hosts[0]) if hosts else None
        if host and (host["location"] or "global") != location:
            raise GoogleError(404, f"{hosts[0]} does not serve location '{location}'.")
        found = member(project, location, name)
        if found is None or found.collection != match["collection"]:
            raise GoogleError(404, f"{match['collection']} '{name}' in '{location}' was not found or is not connected.")
        return found, match["path"] or "/"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if credentials is not None and scope["path"].endswith(":generateCredentials"):
            await credentials(scope, receive, send)
            return
        try:
            found, path = route(scope)
        except GoogleError as error:
            await google_error(error.code, error.message, error.status)(scope, receive, send)
            return
        another = _another(scope)
        if another and found.project:
            if not iam.allows(scope["identity"], "container.clusters.impersonate", found.project):
                await _may_not_impersonate(scope["identity"], another)(scope, receive, send)
                return
            scope = {**scope, "identity": another}
        headers = impersonating(scope, found.token)
        await found.app(
            {**scope, "path": path, "raw_path": _kubernetes_part(scope), "root_path": "", "headers": headers},
            receive,
            send,
        )

    return app


def _another(scope: Scope) -> str:
    """Return the user that a caller wants to act as (`kubectl --as`), or ''."""
    found = [value.decode("latin-1") for name, value in scope["headers"] if name == b"impersonate-user"]
    return found[0] if found else ""


def _may_not_impersonate(caller: str, another: str) -> JSONResponse:
    """The cluster's refusal, as kube-apiserver words it (apiserver/pkg/endpoints/filters/impersonation.go)."""
    message = f'users "{another}" is forbidden: User "{caller}" cannot impersonate resource "users" in API group "" at the cluster scope'
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    about = {"reason": "Forbidden", "details": {"name": another, "kind": "users"}, "code": 403}
    return JSONResponse({**status, **about}, status_code=403)


def impersonating(scope: Scope, token: str) -> list[tuple[bytes, bytes]]:
    """Return the request's headers for the member: the owner of `token` impersonates the caller.

    The caller's own headers for authentication and impersonation are dropped.
    """
    mine = [(b"authorization", f"Bearer {token}".encode()), (b"impersonate-user", scope["identity"].encode())]
    return [
        *((n, v) for n, v in scope["headers"] if n != b"authorization" and not n.startswith(b"impersonate-")),
        *mine,
    ]


def _kubernetes_part(scope: Scope) -> bytes:
    """Return the raw path behind the membership, still quoted: names such as `team%3Ayou` stay one segment."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return b"/" + b"/".join(raw.split(b"/")[8:])
