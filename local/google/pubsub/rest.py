"""Pub/Sub over REST, for `gcloud pubsub` and `curl`: the same methods, transcoded as google.api.http says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.pubsub.service import METHODS, Method
from local.google.resource_policies import policy_routes
from local.google.wire import GoogleError, google_api, json_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette
    from starlette.requests import Request

    from local.google.iam.state import Iam
    from local.google.pubsub.broker import Broker


def rest_app(broker: Broker, iam: Iam | None = None) -> Starlette:
    """Return the application.

    A call with an identity needs its permission; one without passes, because the client libraries send none to an emulator.
    """
    policies = []
    if iam is not None:
        for kind in ("topics", "subscriptions"):
            path = f"/v1/projects/{{project}}/{kind}/{{id}}"
            policies += policy_routes(path, iam, f"pubsub.{kind}", _named(broker, kind))
    methods = [Route(method.path, _endpoint(broker, method, iam), methods=[method.verb]) for method in METHODS]
    return google_api([*policies, *methods])


def _named(broker: Broker, kind: str) -> Callable[[Request], str]:
    def named(request: Request) -> str:
        name = f"projects/{request.path_params['project']}/{kind}/{request.path_params['id']}"
        if kind == "topics":
            broker.topic_labels(name)
        else:
            broker.subscription(name)
        return name

    return named


def _endpoint(broker: Broker, method: Method, iam: Iam | None) -> Any:
    async def endpoint(request: Request) -> JSONResponse:
        caller, resource = request.scope.get("identity"), _resource(method, request)
        if iam is not None and caller is not None and not iam.allows_on(caller, method.permission, resource):
            raise GoogleError(403, f"User not authorized to perform this action: {method.permission} on {resource}.")
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
        setattr(target, name, resource)
        return JSONResponse(json_format.MessageToDict(await method.call(broker, message)))

    return endpoint


def _resource(method: Method, request: Request) -> str:
    project = f"projects/{request.path_params['project']}"
    if "id" not in request.path_params:
        return project
    collection = "topics" if "/topics/" in method.path else "subscriptions"
    return f"{project}/{collection}/{request.path_params['id']}"
