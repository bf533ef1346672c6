"""The Eventarc API on the wire (eventarc v1): triggers."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.schemas import message_body
from local.google.wire import GoogleError, google_api, require

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

    from local.google.eventarc import Eventarc
    from local.google.iam.state import Iam
    from local.google.platform import Projects

Json = dict[str, Any]


def eventarc_app(eventarc: Eventarc, iam: Iam, projects: Projects) -> Starlette:
    """Return the application that answers for eventarc.googleapis.com."""
    operations: dict[str, Json] = {}

    def parent(request: Request, permission: str) -> str:
        project = projects.id(request.path_params["project"])
        require(request, iam, f"eventarc.{permission}", project)
        return f"projects/{project}/locations/{request.path_params['location']}"

    def named(request: Request, permission: str) -> str:
        return f"{parent(request, permission)}/triggers/{request.path_params['trigger']}"

    def done(name: str, verb: str, response: Json) -> JSONResponse:
        full = f"{name.partition('/triggers/')[0]}/operations/operation-{uuid.uuid4()}"
        kind = "type.googleapis.com/google.cloud.eventarc.v1."
        operations[full] = {
            "name": full,
            "metadata": {"@type": f"{kind}OperationMetadata", "target": name, "verb": verb, "apiVersion": "v1"},
            "done": True,
            "response": {"@type": f"{kind}Trigger", **response},
        }
        return JSONResponse(operations[full])

    async def list_triggers(request: Request) -> JSONResponse:
        start = f"{parent(request, 'triggers.list')}/".replace("/locations/-/", "/locations/")
        found = [trigger for name, trigger in sorted(eventarc.triggers.items()) if name.startswith(start)]
        return JSONResponse({"triggers": found} if found else {})

    async def create(request: Request) -> JSONResponse:
        id_ = request.query_params.get("triggerId", "")
        name = f"{parent(request, 'triggers.create')}/triggers/{id_}"
        if not id_:
            raise GoogleError(400, "trigger_id is required.")
        return done(
            name, "create", eventarc.create_trigger(name, await message_body(request, "eventarc", "Trigger", "trigger"))
        )

    async def get(request: Request) -> JSONResponse:
        return JSONResponse(eventarc.trigger(named(request, "triggers.get")))

    async def patch(request: Request) -> JSONResponse:
        name = named(request, "triggers.update")
        paths = [path for path in request.query_params.get("updateMask", "").split(",") if path]
        return done(
            name,
            "update",
            eventarc.update_trigger(name, await message_body(request, "eventarc", "Trigger", "trigger"), paths),
        )

    async def delete(request: Request) -> JSONResponse:
        name = named(request, "triggers.delete")
        trigger = eventarc.trigger(name)
        del eventarc.triggers[name]
        return done(name, "delete", trigger)

    async def get_operation(request: Request) -> JSONResponse:
        full = f"{parent(request, 'operations.get')}/operations/{request.path_params['operation']}"
        if full not in operations:
            raise GoogleError(404, f"Resource '{full}' was not found")
        return JSONResponse(operations[full])

    base = "/v1/projects/{project}/locations/{location}"
    return google_api(
        [
            Route(f"{base}/operations/{{operation}}", get_operation),
            Route(f"{base}/triggers", list_triggers),
            Route(f"{base}/triggers", create, methods=["POST"]),
            Route(f"{base}/triggers/{{trigger}}", get),
            Route(f"{base}/triggers/{{trigger}}", patch, methods=["PATCH"]),
            Route(f"{base}/triggers/{{trigger}}", delete, methods=["DELETE"]),
        ]
    )
