"""The fleet API on the wire: gkehub v1, and the beta versions that gcloud calls."""

from __future__ import annotations

import re
import uuid
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.fleet import audit
from local.google.fleet.memberships import CONTAINER, MEMBERSHIP_ID, resource_link, timestamp
from local.google.schemas import message_body
from local.google.wire import GoogleError, google_api, require

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.applications import Starlette
    from starlette.requests import Request

    from local.google.fleet.state import Fleet
    from local.google.iam.state import Iam

    Json = dict[str, Any]
    Call = Callable[[], Awaitable[Json]]


def fleet_app(fleet: Fleet, iam: Iam, keep: Callable[[Json], None] = lambda _entry: None) -> Starlette:
    """Return the application that answers for gkehub.googleapis.com; `keep` takes its audit entries."""
    return google_api(_Api(fleet, iam, keep).routes())


class _Api:
    def __init__(self, fleet: Fleet, iam: Iam, keep: Callable[[Json], None]) -> None:
        self._fleet = fleet
        self._iam = iam
        self._keep = keep

    def routes(self) -> list[Route]:
        base = "/{version}/projects/{project}/locations/{location}"
        one = base + "/memberships/{membership}"
        return [
            Route(base + "/operations/{operation}", self._get_operation),
            Route(base + "/operations", self._list_operations),
            Route(one + "/bindings/{binding}", self._delete_binding, methods=["DELETE"]),
            Route(one + "/bindings", self._create_binding, methods=["POST"]),
            Route(one + "/bindings", self._list_bindings),
            Route(base + "/memberships", self._create, methods=["POST"]),
            Route(base + "/memberships", self._list),
            Route(one, self._get),
            Route(one, self._patch, methods=["PATCH"]),
            Route(one, self._delete, methods=["DELETE"]),
        ]

    async def _audited(self, request: Request, verb: str, id_: str, change: Call) -> JSONResponse:
        """Make a change of a membership, and leave the entry that says who made it, or was refused."""
        path, caller = request.path_params, request.scope.get("identity")
        try:
            operation = await change()
        except GoogleError as error:
            if caller and path["project"] in self._fleet.projects.numbers:
                name = f"projects/{path['project']}/locations/{path['location']}/memberships/{id_}"
                self._keep(audit.entry(verb, path["version"], name, caller, error=error))
            raise
        name = operation["metadata"]["target"]
        self._keep(audit.entry(verb, path["version"], name, caller or "", operation=operation["name"]))
        return JSONResponse(operation)

    def _place(self, request: Request, permission: str) -> tuple[str, str, str]:
        """Return project id, location and version of an allowed call."""
        version = request.path_params["version"]
        if version not in ("v1", "v1beta", "v1beta1", "v1alpha"):
            raise GoogleError(404, f"no such version of the API: {version}")
        project = self._fleet.projects.id(request.path_params["project"])
        require(request, self._iam, permission, project)
        return project, request.path_params["location"], version

    def _named(self, request: Request, permission: str) -> tuple[str, str]:
        project, location, version = self._place(request, permission)
        return f"projects/{project}/locations/{location}/memberships/{request.path_params['membership']}", version

    async def _create(self, request: Request) -> JSONResponse:
        id_ = request.query_params.get("membershipId", "")

        async def change() -> Json:
            project, location, version = self._place(request, "gkehub.memberships.create")
            name = f"projects/{project}/locations/{location}/memberships/{id_}"
            request_id = _request_id(request)
            return self._fleet.create(
                name,
                await message_body(request, "gkehub", "Membership", "resource"),
                request_id=request_id,
                version=version,
            )

        return await self._audited(request, "Create", id_, change)

    async def _get(self, request: Request) -> JSONResponse:
        name, _ = self._named(request, "gkehub.memberships.get")
        if name in self._fleet.hidden_from_get:
            raise GoogleError(404, f"Resource '{name}' was not found")
        shown = self._fleet.as_answer(self._fleet.membership(name))
        # With an endpoint override, these two commands compare the link with one that has the override's host in it.
        command = re.search(r"command/\S+memberships\.(un)?register\b", request.headers.get("user-agent", ""))
        if command and resource_link(shown) and self._fleet.container_host:
            host, link = self._fleet.container_host.strip("/"), resource_link(shown)
            shown = deepcopy(shown)
            shown["endpoint"]["gkeCluster"]["resourceLink"] = link.replace(f"//{CONTAINER}/", f"//{host}/", 1)
        return JSONResponse(shown)

    async def _list(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request, "gkehub.memberships.list")
        asked = request.query_params
        try:
            size = int(asked.get("pageSize", "0"))
        except ValueError as error:
            raise GoogleError(400, "Invalid value at 'page_size' (TYPE_INT32).") from error
        where, token = asked.get("filter", ""), asked.get("pageToken", "")
        return JSONResponse(self._fleet.lists(project, location, where=where, size=size, token=token))

    async def _patch(self, request: Request) -> JSONResponse:
        async def change() -> Json:
            name, version = self._named(request, "gkehub.memberships.update")
            paths = [_camel(path) for path in request.query_params.get("updateMask", "").split(",") if path]
            return self._fleet.patch(
                name, await message_body(request, "gkehub", "Membership", "resource"), paths, version=version
            )

        return await self._audited(request, "Update", request.path_params["membership"], change)

    async def _delete(self, request: Request) -> JSONResponse:
        async def change() -> Json:
            name, version = self._named(request, "gkehub.memberships.delete")
            force = request.query_params.get("force", "").lower() == "true"
            return self._fleet.delete(name, force=force, request_id=_request_id(request), version=version)

        return await self._audited(request, "Delete", request.path_params["membership"], change)

    async def _create_binding(self, request: Request) -> JSONResponse:
        name, version = self._named(request, "gkehub.membershipbindings.create")
        self._fleet.membership(name)
        id_ = request.query_params.get("membershipBindingId", "")
        body = await message_body(request, "gkehub", "MembershipBinding", "membership_binding")
        full = f"{name}/bindings/{id_}"
        if not MEMBERSHIP_ID.fullmatch(id_) or not isinstance(body.get("scope"), str):
            raise GoogleError(400, "a binding needs a valid membership_binding_id and a scope")
        if id_ in self._fleet.bindings.get(name, {}):
            raise GoogleError(409, f"Resource '{full}' already exists")
        now = timestamp()
        binding = {
            "name": full,
            "scope": body["scope"],
            "uid": str(uuid.uuid4()),
            "createTime": now,
            "updateTime": now,
            "state": {"code": "READY"},
        }
        self._fleet.bindings.setdefault(name, {})[id_] = binding
        operation = self._fleet.changes.begin(full, "create", version)
        self._fleet.changes.end(operation, response=binding, kind="MembershipBinding")
        return JSONResponse(operation)

    async def _list_bindings(self, request: Request) -> JSONResponse:
        name, _ = self._named(request, "gkehub.membershipbindings.list")
        found = list(self._fleet.bindings.get(name, {}).values())
        return JSONResponse({"membershipBindings": found} if found else {})

    async def _delete_binding(self, request: Request) -> JSONResponse:
        name, version = self._named(request, "gkehub.membershipbindings.delete")
        id_ = request.path_params["binding"]
        if self._fleet.bindings.get(name, {}).pop(id_, None) is None:
            raise GoogleError(404, f"Resource '{name}/bindings/{id_}' was not found")
        operation = self._fleet.changes.begin(f"{name}/bindings/{id_}", "delete", version)
        self._fleet.changes.end(operation)
        return JSONResponse(operation)

    async def _get_operation(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request, "gkehub.operations.get")
        name = f"projects/{project}/locations/{location}/operations/{request.path_params['operation']}"
        if name not in self._fleet.operations:
            raise GoogleError(404, f"Resource '{name}' was not found")
        return JSONResponse(self._fleet.operations[name])

    async def _list_operations(self, request: Request) -> JSONResponse:
        project, location, _ = self._place(request, "gkehub.operations.list")
        start = f"projects/{project}/locations/"
        found = [
            operation
            for name, operation in self._fleet.operations.items()
            if name.startswith(start) and location in ("-", name.split("/")[3])
        ]
        return JSONResponse({"operations": found} if found else {})


def _request_id(request: Request) -> str:
    """Return the caller's id of a request, by which a retry is known: a UUID, and not the zero one (gkehub.v1)."""
    given = request.query_params.get("requestId", "")
    if given:
        try:
            valid = uuid.UUID(given).int != 0
        except ValueError:
            valid = False
        if not valid:
            raise GoogleError(400, f'request_id "{given}" is not a valid UUID')
    return given


def _camel(path: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), path)
