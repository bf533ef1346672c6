"""`getIamPolicy`, `setIamPolicy` and `testIamPermissions` of a resource, the same in every API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.schemas import message_body
from local.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from local.google.iam.state import Iam


def policy_routes(path: str, iam: Iam, permissions: str, resource: Callable[[Request], str]) -> list[Route]:
    """Return the three routes below `path`.

    `permissions` is the beginning of their names (`pubsub.topics`); `resource` returns the resource's full name, or refuses.
    """

    def named(request: Request, verb: str) -> str:
        name = resource(request)
        caller = request.scope.get("identity")
        if caller is None:
            raise GoogleError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")
        permission = f"{permissions}.{verb}"
        if not iam.allows_on(caller, permission, name):
            raise GoogleError(403, f"Permission '{permission}' denied on resource '{name}' (or it may not exist).")
        return name

    async def get(request: Request) -> JSONResponse:
        await message_body(request, "cloudresourcemanager", "GetIamPolicyRequest")
        return JSONResponse(iam.policy(named(request, "getIamPolicy")))

    async def set_(request: Request) -> JSONResponse:
        name = named(request, "setIamPolicy")
        return JSONResponse(
            iam.set_policy(name, (await message_body(request, "iam", "SetIamPolicyRequest")).get("policy", {}))
        )

    async def test(request: Request) -> JSONResponse:
        name, caller = resource(request), request.scope.get("identity")
        asked = (await message_body(request, "iam", "TestIamPermissionsRequest")).get("permissions", [])
        granted = [permission for permission in asked if iam.allows_on(caller, permission, name)]
        return JSONResponse({"permissions": granted} if granted else {})

    return [
        Route(f"{path}:getIamPolicy", get, methods=["GET", "POST"]),
        Route(f"{path}:setIamPolicy", set_, methods=["POST"]),
        Route(f"{path}:testIamPermissions", test, methods=["POST"]),
    ]
