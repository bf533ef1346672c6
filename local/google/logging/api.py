"""The Logging API on the wire (logging v2): sinks, and reading entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.wire import GoogleError, google_api, json_body, require

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

    from local.google.iam.state import Iam
    from local.google.logging.state import Logging

Json = dict[str, Any]


def logging_app(logging: Logging, iam: Iam) -> Starlette:
    """Return the application that answers for logging.googleapis.com."""

    def allowed(request: Request, permission: str) -> str:
        project = logging.projects.id(request.path_params["project"])
        require(request, iam, f"logging.{permission}", project)
        return project

    async def list_sinks(request: Request) -> JSONResponse:
        project = allowed(request, "sinks.list")
        found = [sink for (owner, _), sink in sorted(logging.sinks.items()) if owner == project]
        return JSONResponse({"sinks": found} if found else {})

    async def create_sink(request: Request) -> JSONResponse:
        project = allowed(request, "sinks.create")
        unique = request.query_params.get("uniqueWriterIdentity", "").lower() == "true"
        return JSONResponse(logging.create_sink(project, await json_body(request), unique=unique))

    async def get_sink(request: Request) -> JSONResponse:
        return JSONResponse(logging.sink(allowed(request, "sinks.get"), request.path_params["sink"]))

    async def update_sink(request: Request) -> JSONResponse:
        project = allowed(request, "sinks.update")
        paths = [path for path in request.query_params.get("updateMask", "").split(",") if path]
        return JSONResponse(logging.update_sink(project, request.path_params["sink"], await json_body(request), paths))

    async def delete_sink(request: Request) -> JSONResponse:
        logging.delete_sink(allowed(request, "sinks.delete"), request.path_params["sink"])
        return JSONResponse({})

    async def read(request: Request) -> JSONResponse:
        body = await json_body(request)
        names = [str(name) for name in body.get("resourceNames", [])]
        if not names or any(not name.startswith("projects/") for name in names):
            raise GoogleError(400, "resource_names must name projects (projects/[PROJECT_ID]).")
        size, text = int(body.get("pageSize") or 50), str(body.get("filter", ""))
        newest = body.get("orderBy", "timestamp asc") == "timestamp desc"
        found: list[Json] = []
        for name in names:
            project = logging.projects.id(name.split("/")[1])
            require(request, iam, "logging.logEntries.list", project)
            found += logging.read(project, text, newest_first=newest, most=size)
        return JSONResponse({"entries": found[:size]} if found else {})

    sinks = "/v2/projects/{project}/sinks"
    return google_api(
        [
            Route("/v2/entries:list", read, methods=["POST"]),
            Route(sinks, list_sinks),
            Route(sinks, create_sink, methods=["POST"]),
            Route(f"{sinks}/{{sink}}", get_sink),
            Route(f"{sinks}/{{sink}}", update_sink, methods=["PUT", "PATCH"]),
            Route(f"{sinks}/{{sink}}", delete_sink, methods=["DELETE"]),
        ]
    )
