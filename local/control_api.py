"""The control API of a running cloud: JSON on loopback, for the owner of its token.

It is this project's, not Google's. `/do` calls a public method of a part by its name, `/set` changes a public attribute,
`GET /health` says that the cloud runs. A caller of `/do` runs code as the user, so a call needs the token of
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

from local.google.wire import GoogleError
from local.reserved_port import HOST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from local.cloud import Cloud

Json = dict[str, Any]
PARTS = ("gke", "fleet", "projects", "iam", "faults", "quotas", "eventarc", "logging", "run", "scheduler")


def control_app(cloud: Cloud) -> Starlette:
    """Return the control API of a cloud."""

    parts = {"cloud": cloud} | {part: getattr(cloud, part) for part in PARTS}

    def part(name: str, attribute: str) -> Any:
        if name not in parts:
            raise _WrongCallError(f"there is no part {name}: {', '.join(parts)}")
        if attribute.startswith("_") or not hasattr(parts[name], attribute):
            raise _WrongCallError(f"{name} has no {attribute}: {', '.join(_methods(parts[name]))}")
        return parts[name]

    async def do(body: Json) -> Any:
        method = getattr(part(body["part"], body["method"]), body["method"])
        more, arguments = body.get("more", []), body.get("arguments", {})
        try:
            inspect.signature(method).bind(*more, **arguments)
        except TypeError as error:
            wanted = _arguments(method)
            raise _WrongCallError(f"{body['part']} {body['method']}: {error}; arguments: {wanted}") from error
        result = method(*more, **arguments)
        return await result if inspect.isawaitable(result) else result

    async def offered(_body: Json) -> Json:
        return {
            name: {method: _arguments(call) for method, call in _methods(one).items()} for name, one in parts.items()
        }

    async def set_(body: Json) -> None:
        on, name, value = part(body["part"], body["name"]), body["name"], body["value"]
        before = getattr(on, name)
        if isinstance(before, set):
            value = set(value)
        elif isinstance(before, dict):
            value = {key: set(one) if isinstance(one, list) else one for key, one in value.items()}
        setattr(on, name, value)

    def route(path: str, work: Callable[[Json], Awaitable[Any]], method: str = "POST") -> Route:
        async def answer(request: Request) -> JSONResponse:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not secrets.compare_digest(given.encode(), cloud.token.encode()):
                return JSONResponse(
                    {
                        "error": "the token is missing or wrong: instance.json in the directory of the running cloud has it"
                    },
                    status_code=401,
                )
            try:
                return _Answer(await work(await request.json() if method == "POST" else {}))
            except _WrongCallError as error:
                return JSONResponse({"error": str(error)}, status_code=422)
            except (TypeError, ValueError, GoogleError) as error:  # a value that the method refuses
                return JSONResponse({"error": f"{error}"}, status_code=422)
            except Exception as error:  # the caller reads it
                return JSONResponse({"error": f"{type(error).__name__}: {error}"}, status_code=400)

        return Route(path, answer, methods=[method])

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "running" if cloud.started else "starting"}, 200 if cloud.started else 503)

    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False)
    routes = [route("/do", do), route("/set", set_), route("/parts", offered, "GET"), Route("/health", health)]
    return Starlette(routes=routes, middleware=[hosts])


class _WrongCallError(Exception):
    """There is no such part, method or argument."""


def _methods(part: Any) -> dict[str, Callable[..., Any]]:
    """The public methods of a part, by name."""
    names = (name for name in dir(type(part)) if not name.startswith("_"))
    return {name: getattr(part, name) for name in names if inspect.isroutine(getattr(type(part), name))}


def _arguments(method: Callable[..., Any]) -> str:
    """The parameters of a method, like `name, status, [message=]`."""
    shown = []
    for name, one in inspect.signature(method).parameters.items():
        if one.kind is one.VAR_KEYWORD:
            shown.append("NAME=VALUE …")
        elif one.kind is one.VAR_POSITIONAL:
            shown.append(f"[{name} …]")
        elif one.default is one.empty:
            shown.append(name)
        else:
            shown.append(f"[{name}={'' if one.default is None else one.default}]")
    return ", ".join(shown)


class _Answer(JSONResponse):
    """A part's result as JSON: sets as lists, objects as their attributes."""

    def render(self, content: Any) -> bytes:
        def other(one: Any) -> Any:
            if isinstance(one, (set, frozenset)):
                return sorted(one)
            return vars(one) if hasattr(one, "__dict__") else str(one)

        return json.dumps(content, default=other, separators=(",", ":")).encode()
