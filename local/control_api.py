"""The control API of a running cloud: JSON on loopback, for the owner of its token.

It is this project's, not Google's. `/do` calls a public method of a part by its name, `/set` changes a public attribute,
`GET /health` says that the cloud runs. Whoever may call `/do` runs code as the user, so a call needs the token of
`instance.json`, the `Host` of the port itself (no name that a web page made to point here), and no `Origin`.
"""

from __future__ import annotations

import inspect
import json
import secrets
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.listener import HOST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from local.cloud import Cloud

Json = dict[str, Any]
PARTS = ("gke", "fleet", "projects", "iam", "faults", "quotas", "eventarc", "logging", "run", "scheduler")


def control_app(cloud: Cloud) -> Starlette:
    """Return the control API of a cloud."""

    def part(name: str, attribute: str) -> Any:
        parts = {"cloud": cloud} | {part: getattr(cloud, part) for part in PARTS}
        if name not in parts or attribute.startswith("_") or not hasattr(parts[name], attribute):
            raise ValueError(f"{name} has no {attribute}")
        return parts[name]

    async def do(body: Json) -> Any:
        method = getattr(part(body["part"], body["method"]), body["method"])
        result = method(*body.get("more", []), **body.get("arguments", {}))
        return await result if inspect.isawaitable(result) else result

    async def set_(body: Json) -> None:
        on, name, value = part(body["part"], body["name"]), body["name"], body["value"]
        before = getattr(on, name)
        if isinstance(before, set):
            value = set(value)
        elif isinstance(before, dict):
            value = {key: set(one) if isinstance(one, list) else one for key, one in value.items()}
        setattr(on, name, value)

    def route(path: str, work: Callable[[Json], Awaitable[Any]]) -> Route:
        async def answer(request: Request) -> JSONResponse:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not secrets.compare_digest(given.encode(), cloud.token.encode()):
                return JSONResponse({"error": "the token of instance.json is missing or wrong"}, status_code=401)
            try:
                return JSONResponse(_plain(await work(await request.json())))
            except Exception as error:  # the caller reads it
                return JSONResponse({"error": f"{type(error).__name__}: {error}"}, status_code=400)

        return Route(path, answer, methods=["POST"])

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "running" if cloud.started else "starting"}, 200 if cloud.started else 503)

    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False)
    return Starlette(routes=[route("/do", do), route("/set", set_), Route("/health", health)], middleware=[hosts])


def _plain(value: Any) -> Any:
    """Make what the parts return fit for JSON."""

    def other(one: Any) -> Any:
        if isinstance(one, (set, frozenset)):
            return sorted(one)
        return vars(one) if hasattr(one, "__dict__") else str(one)

    return json.loads(json.dumps(value, default=other))
