"""The APIs of Cloud Run (v2, and v1 as gcloud uses it) and of Cloud Functions (v2) on the wire.

Changes that are carried out: environment variables, service account, ingress, limits; and deletion. A change of code is
refused: nothing here builds.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.resource_policies import policy_routes
from local.google.run import messages
from local.google.schemas import message_body
from local.google.wire import GoogleError, google_api, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette
    from starlette.requests import Request

    from local.google.iam.state import Iam
    from local.google.run.state import Run, Service

Json = dict[str, Any]

_LOCATION = "projects/{project}/locations/{location}"
_NAMESPACE = "/apis/serving.knative.dev/v1/namespaces/{project}/services"
# Field of a function's serviceConfig → field of a service.
_SETTABLE = {
    "environmentVariables": "environment",
    "serviceAccountEmail": "account",
    "ingressSettings": "ingress",
    "availableMemory": "memory",
    "availableCpu": "cpu",
    "timeoutSeconds": "timeout",
    "maxInstanceCount": "max_instances",
    "maxInstanceRequestConcurrency": "concurrency",
}


def run_app(run: Run, iam: Iam) -> Starlette:
    """Return the application that answers for run.googleapis.com."""
    api = _Api(run, iam)
    return google_api(
        [
            *policy_routes(f"/v2/{_LOCATION}/services/{{service}}", iam, "run.services", api.resource),
            *policy_routes(f"/v1/{_LOCATION}/services/{{service}}", iam, "run.services", api.resource),
            Route(f"/v2/{_LOCATION}/operations/{{operation}}", api.get_operation),
            Route("/{version}/projects/{project}/locations", api.list_locations),
            Route(f"/v2/{_LOCATION}/services", api.list_v2),
            Route(f"/v2/{_LOCATION}/services/{{service}}", api.get_v2),
            Route(f"/v2/{_LOCATION}/services/{{service}}", api.delete_v2, methods=["DELETE"]),
            Route(f"/v1/{_LOCATION}/services", api.list_v1),
            Route(_NAMESPACE, api.list_v1),
            Route(f"{_NAMESPACE}/{{service}}", api.get_v1),
            Route(f"{_NAMESPACE}/{{service}}", api.replace_v1, methods=["PUT"]),
            Route(f"{_NAMESPACE}/{{service}}", api.delete_v1, methods=["DELETE"]),
        ]
    )


def functions_app(run: Run, iam: Iam) -> Starlette:
    """Return the application that answers for cloudfunctions.googleapis.com."""
    api = _Api(run, iam)
    return google_api(
        [
            *policy_routes(f"/v2/{_LOCATION}/functions/{{service}}", iam, "cloudfunctions.functions", api.resource),
            Route("/{version}/projects/{project}/locations", api.list_locations),
            Route(f"/v2/{_LOCATION}/operations/{{operation}}", api.get_operation),
            Route(f"/v2/{_LOCATION}/functions", api.list_functions),
            Route(f"/v2/{_LOCATION}/functions/{{service}}", api.get_function),
            Route(f"/v2/{_LOCATION}/functions/{{service}}", api.patch_function, methods=["PATCH"]),
            Route(f"/v2/{_LOCATION}/functions/{{service}}", api.delete_function, methods=["DELETE"]),
            # gcloud asks for functions of the first generation as well.
            Route(f"/v1/{_LOCATION}/functions", api.no_first_generation),
        ]
    )


class _Api:
    def __init__(self, run: Run, iam: Iam) -> None:
        self._run = run
        self._iam = iam

    def resource(self, request: Request) -> str:
        """The service's full name, for its policy (a function's is kept with its service)."""
        return self._named(request).name

    def _project(self, request: Request) -> str:
        return self._run.projects.id(request.path_params["project"])

    def _named(self, request: Request) -> Service:
        project, short = self._project(request), request.path_params["service"]
        if "location" in request.path_params:
            return self._run.service(f"projects/{project}/locations/{request.path_params['location']}/services/{short}")
        # The Knative form names no region: the real API has a host for each.
        for service in self._run.at(project, "-"):
            if service.short == short:
                return service
        raise GoogleError(
            404, f"Resource '{short}' of kind 'SERVICE' in region '-' in project '{project}' does not exist"
        )

    def _allowed(self, request: Request, permission: str) -> Service:
        require(request, self._iam, permission, self._project(request))
        return self._named(request)

    def _list(self, request: Request, permission: str) -> list[Service]:
        project = self._project(request)
        require(request, self._iam, permission, project)
        return self._run.at(project, request.path_params.get("location", "-"))

    async def list_locations(self, request: Request) -> JSONResponse:
        project = self._project(request)
        require(request, self._iam, "run.locations.list", project)
        places = sorted({service.location for service in self._run.at(project, "-")})
        found = [{"name": f"projects/{project}/locations/{place}", "locationId": place} for place in places]
        return JSONResponse({"locations": found} if found else {})

    # Cloud Run

    async def list_v2(self, request: Request) -> JSONResponse:
        found = self._list(request, "run.services.list")
        return _answer("services", found, messages.run_v2)

    async def get_v2(self, request: Request) -> JSONResponse:
        return JSONResponse(messages.run_v2(self._allowed(request, "run.services.get")))

    async def delete_v2(self, request: Request) -> JSONResponse:
        service = self._allowed(request, "run.services.delete")
        self._run.delete(service.name)
        return self._done(service, "google.cloud.run.v2.Service", messages.run_v2(service))

    def _v1(self, service: Service) -> Json:
        return messages.run_v1(service, self._run.projects.number(service.project))

    async def list_v1(self, request: Request) -> JSONResponse:
        found = [self._v1(service) for service in self._list(request, "run.services.list")]
        return JSONResponse({"apiVersion": "serving.knative.dev/v1", "kind": "ServiceList", "items": found})

    async def get_v1(self, request: Request) -> JSONResponse:
        return JSONResponse(self._v1(self._allowed(request, "run.services.get")))

    async def replace_v1(self, request: Request) -> JSONResponse:
        service = self._allowed(request, "run.services.update")
        spec = (await message_body(request, "run", "Service")).get("spec", {}).get("template", {}).get("spec", {})
        container = (spec.get("containers") or [{}])[0]
        changed = await self._run.change(
            service.name,
            environment={one["name"]: one.get("value", "") for one in container.get("env", [])},
            account=spec.get("serviceAccountName", service.account),
            concurrency=spec.get("containerConcurrency", service.concurrency),
            timeout=spec.get("timeoutSeconds", service.timeout),
        )
        return JSONResponse(self._v1(changed))

    async def delete_v1(self, request: Request) -> JSONResponse:
        self._run.delete(self._allowed(request, "run.services.delete").name)
        return JSONResponse({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    # Cloud Functions

    async def list_functions(self, request: Request) -> JSONResponse:
        found = self._list(request, "cloudfunctions.functions.list")
        return _answer("functions", found, messages.function)

    async def no_first_generation(self, request: Request) -> JSONResponse:
        require(request, self._iam, "cloudfunctions.functions.list", self._project(request))
        return JSONResponse({})

    async def get_function(self, request: Request) -> JSONResponse:
        return JSONResponse(messages.function(self._allowed(request, "cloudfunctions.functions.get")))

    async def patch_function(self, request: Request) -> JSONResponse:
        service = self._allowed(request, "cloudfunctions.functions.update")
        body = await message_body(request, "cloudfunctions", "Function", "function")
        mask = [path for path in request.query_params.get("updateMask", "").split(",") if path]
        settings = body.get("serviceConfig", {})
        paths = [path.split(".")[1] for path in mask if path.startswith("serviceConfig.")]
        if "serviceConfig" in mask or not mask:
            paths += [key for key in settings if key in _SETTABLE]
        others = [path for path in mask if path.partition(".")[0] not in ("serviceConfig", "labels")]
        unknown = [path for path in paths if path not in _SETTABLE]
        if others or unknown:
            raise GoogleError(501, f"not made here: {', '.join(others + unknown)}")
        changes: Json = {_SETTABLE[path]: settings[path] for path in paths if path in settings}
        if "environmentVariables" in paths:
            changes.setdefault("environment", {})
        if "labels" in body and (not mask or "labels" in mask):
            changes["labels"] = body["labels"]
        changed = await self._run.change(service.name, **changes)
        return self._done(changed, "google.cloud.functions.v2.Function", messages.function(changed))

    async def delete_function(self, request: Request) -> JSONResponse:
        service = self._allowed(request, "cloudfunctions.functions.delete")
        self._run.delete(service.name)
        return self._done(service, "", {})

    # Operations are done when they are answered.

    def _done(self, service: Service, kind: str, response: Json) -> JSONResponse:
        parent = service.name.partition("/services/")[0]
        operation: Json = {
            "name": f"{parent}/operations/operation-{uuid.uuid4()}",
            "done": True,
            "response": {"@type": f"type.googleapis.com/{kind or 'google.protobuf.Empty'}", **response},
        }
        self._run.operations[operation["name"]] = operation
        return JSONResponse(operation)

    async def get_operation(self, request: Request) -> JSONResponse:
        project = self._project(request)
        name = f"projects/{project}/locations/{request.path_params['location']}/operations/{request.path_params['operation']}"
        if name not in self._run.operations:
            raise GoogleError(404, f"Resource '{name}' was not found")
        return JSONResponse(self._run.operations[name])


def _answer(key: str, found: list[Service], message: Callable[[Service], Json]) -> JSONResponse:
    return JSONResponse({key: [message(service) for service in found]} if found else {})
