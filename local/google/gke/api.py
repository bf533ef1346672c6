"""The GKE API on the wire: container v1, and the beta versions that gcloud calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.gke.clusters import VERSION
from local.google.gke.names import cluster_name
from local.google.schemas import message_body
from local.google.wire import GoogleError, google_api, require

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

    from local.google.audit import AuditedCall
    from local.google.gke.state import Authorize, Gke
    from local.google.iam.state import Iam


def gke_app(gke: Gke, iam: Iam) -> Starlette:
    """Return the application that answers for container.googleapis.com."""
    return google_api(_Api(gke, iam).routes())


class _Api:
    def __init__(self, gke: Gke, iam: Iam) -> None:
        self._gke = gke
        self._iam = iam

    def _authorize(self, request: Request) -> Authorize:
        def authorize(call: AuditedCall) -> None:
            call.caller = request.scope.get("identity") or ""
            require(request, self._iam, call.permission, call.project)

        return authorize

    def routes(self) -> list[Route]:
        routes = []
        # `zones/` is the older form of every path (container.v1, projects.zones), which clients still send.
        for kind in ("locations", "zones"):
            base = "/{version}/projects/{project}/" + kind + "/{location}"
            one = base + "/clusters/{cluster}"
            routes += [
                Route(base + "/serverConfig", self._server_config),
                Route(base + "/serverconfig", self._server_config),
                Route(base + "/operations/{operation}", self._get_operation),
                Route(base + "/operations", self._list_operations),
                Route(base + "/clusters", self._create, methods=["POST"]),
                Route(base + "/clusters", self._list),
                Route(one + "/nodePools", self._node_pools),
                Route(one + "/resourceLabels", self._set_labels, methods=["POST"]),
                Route(one + ":setResourceLabels", self._set_labels, methods=["POST"]),
                Route(one, self._get),
                Route(one, self._update, methods=["PUT"]),
                Route(one, self._delete, methods=["DELETE"]),
            ]
        return routes

    def _place(self, request: Request) -> tuple[str, str, str]:
        """Return project id, location and version; a missing or shut project is refused."""
        version = request.path_params["version"]
        if version not in ("v1", "v1beta1", "v1alpha1"):
            raise GoogleError(404, f"no such version of the API: {version}")
        return self._gke.projects.id(request.path_params["project"]), request.path_params["location"], version

    def _named(self, request: Request) -> tuple[str, str]:
        project, location, version = self._place(request)
        return cluster_name(project, location, request.path_params["cluster"]), version

    async def _create(self, request: Request) -> JSONResponse:
        project, location, version = self._place(request)
        body = await message_body(request, "container", "CreateClusterRequest")
        cluster = body.get("cluster")
        if not isinstance(cluster, dict):
            raise GoogleError(400, "Must specify a cluster.")
        return JSONResponse(
            self._gke.create(project, location, cluster, version=version, authorize=self._authorize(request))
        )

    async def _delete(self, request: Request) -> JSONResponse:
        name, version = self._named(request)
        return JSONResponse(self._gke.delete(name, version=version, authorize=self._authorize(request)))

    async def _set_labels(self, request: Request) -> JSONResponse:
        name, version = self._named(request)
        body = await message_body(request, "container", "SetLabelsRequest")
        asked, fingerprint = body.get("resourceLabels", {}), body.get("labelFingerprint", "")
        return JSONResponse(
            self._gke.set_labels(name, asked, fingerprint, version=version, authorize=self._authorize(request))
        )

    async def _update(self, request: Request) -> JSONResponse:
        name, version = self._named(request)
        update = (await message_body(request, "container", "UpdateClusterRequest")).get("update", {})
        return JSONResponse(self._gke.update(name, update, version=version, authorize=self._authorize(request)))

    async def _get(self, request: Request) -> JSONResponse:
        name, _ = self._named(request)
        require(request, self._iam, "container.clusters.get", name.split("/")[1])
        if name in self._gke.stale:
            return JSONResponse(self._gke.stale[name])
        if name in self._gke.hidden_from_get:
            raise GoogleError(404, f"Not found: {name}.")
        return JSONResponse(self._gke.cluster(name))

    async def _list(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request)
        require(request, self._iam, "container.clusters.list", project)
        return JSONResponse(self._gke.lists(project, location))

    async def _node_pools(self, request: Request) -> JSONResponse:
        name, _ = self._named(request)
        require(request, self._iam, "container.clusters.get", name.split("/")[1])
        return JSONResponse({"nodePools": self._gke.cluster(name)["nodePools"]})

    async def _server_config(self, request: Request) -> JSONResponse:
        project, _, _ = self._place(request)
        require(request, self._iam, "container.clusters.list", project)
        channel = {"channel": "REGULAR", "defaultVersion": VERSION, "validVersions": [VERSION]}
        return JSONResponse(
            {
                "channels": [channel],
                "defaultClusterVersion": VERSION,
                "defaultImageType": "COS_CONTAINERD",
                "validImageTypes": ["COS_CONTAINERD", "UBUNTU_CONTAINERD"],
                "validMasterVersions": [VERSION],
                "validNodeVersions": [VERSION],
            }
        )

    async def _get_operation(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request)
        require(request, self._iam, "container.operations.get", project)
        name = f"projects/{project}/locations/{location}/operations/{request.path_params['operation']}"
        if name not in self._gke.operations:
            raise GoogleError(404, f"Not found: {name}.")
        return JSONResponse(self._gke.operations[name])

    async def _list_operations(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request)
        require(request, self._iam, "container.operations.list", project)
        found = [
            operation
            for name, operation in self._gke.operations.items()
            if name.startswith(f"projects/{project}/") and location in ("-", operation["location"])
        ]
        return JSONResponse({"operations": found} if found else {})
