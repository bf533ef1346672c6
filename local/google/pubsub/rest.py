"""Pub/Sub over REST, for `gcloud pubsub` and `curl`: the same methods, transcoded as google.api.http says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.pubsub.service import METHODS, Method
from local.google.wire import GoogleError, google_api, json_body

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

    from local.google.pubsub.broker import Broker


def rest_app(broker: Broker) -> Starlette:
    """Return the application; it asks for no credentials, whoever mounts it may."""
    return google_api([Route(method.path, _endpoint(broker, method), methods=[method.verb]) for method in METHODS])


def _endpoint(broker: Broker, method: Method) -> Any:
    async def endpoint(request: Request) -> JSONResponse:
        message = method.request.pb()()
        if method.verb in ("GET", "DELETE"):
            fields = {field.json_name for field in message.DESCRIPTOR.fields}
            body: dict[str, Any] = {key: value for key, value in request.query_params.items() if key in fields}
        else:
            body = await json_body(request)
        try:
            json_format.ParseDict(body, message)
        except json_format.ParseError as error:
            raise GoogleError(400, f"Invalid JSON payload received. {error}") from error
        parents, _, name = method.field.rpartition(".")
        target = getattr(message, parents) if parents else message
        setattr(target, name, _resource(method, request))
        return JSONResponse(json_format.MessageToDict(await method.call(broker, message)))

    return endpoint


def _resource(method: Method, request: Request) -> str:
    project = f"projects/{request.path_params['project']}"
    if "id" not in request.path_params:
        return project
    collection = "topics" if "/topics/" in method.path else "subscriptions"
    return f"{project}/{collection}/{request.path_params['id']}"
