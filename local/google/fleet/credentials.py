"""The gateway's own method: the kubeconfig that `gcloud container fleet memberships get-credentials` writes."""

from __future__ import annotations

import base64
import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.wire import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from local.google.fleet.state import Fleet
    from local.google.iam.state import Iam

Json = dict[str, Any]


def generate_credentials_routes(
    fleet: Fleet,
    iam: Iam,
    gateway_url: Callable[[Json], str],
    *,
    ca_pem: str = "",
    hook: str = "gke-gcloud-auth-plugin",
) -> list[Route]:
    """Return the routes of the gateway's own method, for `gcloud container fleet memberships get-credentials`.

    `gateway_url(membership)` is the URL of the member's Kubernetes API; `ca_pem`, if given, is written into the kubeconfig
    (the real gateway needs none). https://cloud.google.com/kubernetes-engine/fleet-management/docs/reference/connectgateway
    """

    async def generate(request: Request) -> JSONResponse:
        project = fleet.projects.id(request.path_params["project"])
        require(request, iam, "gkehub.gateway.generateCredentials", project)
        location, id_ = request.path_params["location"], request.path_params["membership"]
        membership = fleet.membership(f"projects/{project}/locations/{location}/memberships/{id_}")
        url = gateway_url(deepcopy(membership))
        context = f"connectgateway_{project}_{location}_{id_}"
        cluster = {"server": url}
        if ca_pem:
            cluster["certificate-authority-data"] = base64.b64encode(ca_pem.encode()).decode()
        plugin = {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": hook,
            "provideClusterInfo": True,
            "interactiveMode": "IfAvailable",
        }
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": context, "user": {"exec": plugin}}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "current-context": context,
        }
        # JSON is YAML
        text = base64.b64encode(json.dumps(kubeconfig).encode()).decode()
        return JSONResponse({"kubeconfig": text, "endpoint": url})

    return [
        Route(
            "/{version}/projects/{project}/locations/{location}/memberships/{membership}:generateCredentials", generate
        )
    ]
