"""The Logging API on the wire (logging v2): sinks, and reading entries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.schemas import message_body
from local.google.wire import GoogleError, google_api, require

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
        return JSONResponse(
            logging.create_sink(project, await message_body(request, "logging", "LogSink", "sink"), unique=unique)
        )

    async def get_sink(request: Request) -> JSONResponse:
        return JSONResponse(logging.sink(allowed(request, "sinks.get"), request.path_params["sink"]))

    async def update_sink(request: Request) -> JSONResponse:
        project = allowed(request, "sinks.update")
        paths = [path for path in request.query_params.get("updateMask", "").split(",") if path]
        return JSONResponse(
            logging.update_sink(
                project, request.path_params["sink"], await message_body(request, "logging", "LogSink", "sink"), paths
            )
        )

    async def delete_sink(request: Request) -> JSONResponse:
        logging.delete_sink(allowed(request, "sinks.delete"), request.path_params["sink"])
        return JSONResponse({})

    async def read(request: Request) -> JSONResponse:
        body = await message_body(request, "logging", "ListLogEntriesRequest")
        names = [str(name) for name in body.get("resourceNames", [])]
        if not names or any(not re.fullmatch(r"projects/[^/]+", name) for name in names):
            raise GoogleError(
                400, "resource_names must name projects (projects/[PROJECT_ID]); views are left out here."
            )
        projects = [logging.projects.id(name.removeprefix("projects/")) for name in names]
        for project in projects:
            require(request, iam, "logging.logEntries.list", project)
        order = str(body.get("orderBy") or "timestamp asc")
        if order not in ("timestamp asc", "timestamp desc"):
            raise GoogleError(400, f"Invalid order_by {order!r}: it is 'timestamp asc' or 'timestamp desc'.")
        try:
            size, start = int(body.get("pageSize") or 50), int(body.get("pageToken") or 0)
        except (TypeError, ValueError):
            raise GoogleError(400, "page_size is no number, or page_token is not one of an answer.") from None
        if not 0 < size <= 1000 or start < 0:
            raise GoogleError(400, "page_size must be from 1 to 1000.")
        found = logging.read(projects, str(body.get("filter", "")), newest_first=order.endswith("desc"))
        page = found[start : start + size]
        more = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
        return JSONResponse(({"entries": page} if page else {}) | more)

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
