"""The IAM API on the wire (iam v1): roles, and service accounts with their policies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.iam.roles import PREDEFINED
from local.google.iam.state import same_etag
from local.google.resource_policies import policy_routes
from local.google.schemas import message_body
from local.google.wire import GoogleError, google_api, require

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

    from local.google.iam.state import Iam
    from local.google.platform import Projects

Json = dict[str, Any]

_ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")
_ACCOUNT_ID = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")


def iam_app(iam: Iam, projects: Projects) -> Starlette:
    """Return the application that answers for iam.googleapis.com."""
    api = _Api(iam, projects)
    account = "/v1/projects/{project}/serviceAccounts/{email}"
    return google_api(
        [
            *policy_routes(account, iam, "iam.serviceAccounts", api.account_name),
            Route("/v1/projects/{project}/serviceAccounts", api.list_accounts),
            Route("/v1/projects/{project}/serviceAccounts", api.create_account, methods=["POST"]),
            Route(f"{account}:disable", api.disable_account, methods=["POST"]),
            Route(f"{account}:enable", api.enable_account, methods=["POST"]),
            Route(account, api.get_account),
            Route(account, api.delete_account, methods=["DELETE"]),
            Route("/v1/roles", api.list_predefined),
            Route("/v1/roles/{role}", api.get_predefined),
            Route("/v1/projects/{project}/roles", api.list_roles),
            Route("/v1/projects/{project}/roles", api.create_role, methods=["POST"]),
            Route("/v1/projects/{project}/roles/{role}:undelete", api.undelete_role, methods=["POST"]),
            Route("/v1/projects/{project}/roles/{role}", api.get_role),
            Route("/v1/projects/{project}/roles/{role}", api.patch_role, methods=["PATCH"]),
            Route("/v1/projects/{project}/roles/{role}", api.delete_role, methods=["DELETE"]),
        ]
    )


class _Api:
    def __init__(self, iam: Iam, projects: Projects) -> None:
        self._iam = iam
        self._projects = projects

    # Service accounts

    def _account(self, request: Request) -> Json:
        """Return an account by e-mail or unique id; its project may be `-`."""
        asked, project = request.path_params["email"], request.path_params["project"]
        for email, account in self._iam.accounts.items():
            if asked in (email, account["uniqueId"]):
                if project != "-" and self._projects.id(project) != account["projectId"]:
                    break
                return account
        raise GoogleError(404, f"Service account {asked} does not exist.")

    def account_name(self, request: Request) -> str:
        return str(self._account(request)["name"])

    def _allowed(self, request: Request, permission: str) -> Json:
        project = request.path_params["project"]
        if project != "-":
            require(request, self._iam, permission, self._projects.id(project))
        account = self._account(request)
        require(request, self._iam, permission, account["projectId"])
        return account

    async def list_accounts(self, request: Request) -> JSONResponse:
        project = self._projects.id(request.path_params["project"])
        require(request, self._iam, "iam.serviceAccounts.list", project)
        found = [account for _, account in sorted(self._iam.accounts.items()) if account["projectId"] == project]
        return JSONResponse({"accounts": found} if found else {})

    async def create_account(self, request: Request) -> JSONResponse:
        project = self._projects.id(request.path_params["project"])
        require(request, self._iam, "iam.serviceAccounts.create", project)
        body = await message_body(request, "iam", "CreateServiceAccountRequest")
        id_ = str(body.get("accountId", ""))
        if not _ACCOUNT_ID.fullmatch(id_):
            raise GoogleError(400, f"Service account id {id_!r} has 6 to 30 lower-case letters, digits and dashes.")
        email = f"{id_}@{project}.iam.gserviceaccount.com"
        if email in self._iam.accounts:
            raise GoogleError(409, f"Service account {id_} already exists within project projects/{project}.")
        return JSONResponse(self._iam.create_account(email, body.get("serviceAccount", {}).get("displayName", "")))

    async def get_account(self, request: Request) -> JSONResponse:
        return JSONResponse(self._allowed(request, "iam.serviceAccounts.get"))

    async def delete_account(self, request: Request) -> JSONResponse:
        del self._iam.accounts[self._allowed(request, "iam.serviceAccounts.delete")["email"]]
        return JSONResponse({})

    async def disable_account(self, request: Request) -> JSONResponse:
        await message_body(request, "iam", "DisableServiceAccountRequest")
        self._allowed(request, "iam.serviceAccounts.disable")["disabled"] = True
        return JSONResponse({})

    async def enable_account(self, request: Request) -> JSONResponse:
        await message_body(request, "iam", "EnableServiceAccountRequest")
        self._allowed(request, "iam.serviceAccounts.enable").pop("disabled", None)
        return JSONResponse({})

    # Roles

    async def list_predefined(self, _request: Request) -> JSONResponse:
        return JSONResponse({"roles": [{"name": name, "title": name, "stage": "GA"} for name in sorted(PREDEFINED)]})

    async def get_predefined(self, request: Request) -> JSONResponse:
        name = f"roles/{request.path_params['role']}"
        if name not in PREDEFINED:
            raise GoogleError(404, f"The role named {name} was not found.")
        permissions = sorted(PREDEFINED[name])
        return JSONResponse({"name": name, "title": name, "stage": "GA", "includedPermissions": permissions})

    def _parent(self, request: Request, permission: str) -> str:
        project = self._projects.id(request.path_params["project"])
        require(request, self._iam, permission, project)
        return f"projects/{project}"

    def _role(self, request: Request, permission: str) -> Json:
        name = f"{self._parent(request, permission)}/roles/{request.path_params['role']}"
        if name not in self._iam.roles:
            raise GoogleError(404, f"The role named {name} was not found.")
        return self._iam.roles[name]

    async def list_roles(self, request: Request) -> JSONResponse:
        parent, asked = self._parent(request, "iam.roles.list"), request.query_params
        hidden = set() if asked.get("view") == "FULL" else {"includedPermissions"}
        found = [
            {key: value for key, value in role.items() if key not in hidden}
            for name, role in sorted(self._iam.roles.items())
            if name.startswith(f"{parent}/roles/")
            and (not role.get("deleted") or asked.get("showDeleted", "").lower() == "true")
        ]
        return JSONResponse({"roles": found} if found else {})

    async def create_role(self, request: Request) -> JSONResponse:
        body = await message_body(request, "iam", "CreateRoleRequest")
        id_, role = str(body.get("roleId", "")), body.get("role", {})
        name = f"{self._parent(request, 'iam.roles.create')}/roles/{id_}"
        if not _ROLE_ID.fullmatch(id_):
            raise GoogleError(400, f"The role_id {id_!r} has 3 to 64 letters, digits, underscores and periods.")
        if name in self._iam.roles:
            raise GoogleError(409, f"A role named {id_} in {name.partition('/roles/')[0]} already exists.")
        return JSONResponse(
            self._iam.define_role(name, set(role.get("includedPermissions", [])), role.get("title", ""))
        )

    async def get_role(self, request: Request) -> JSONResponse:
        return JSONResponse(self._role(request, "iam.roles.get"))

    async def patch_role(self, request: Request) -> JSONResponse:
        role = self._role(request, "iam.roles.update")
        body = await message_body(request, "iam", "Role", "role")
        if body.get("etag") and not same_etag(body["etag"], role["etag"]):
            raise GoogleError(409, f"The role {role['name']} was changed meanwhile.", "ABORTED")
        mask = [path for path in request.query_params.get("updateMask", "").split(",") if path]
        for key in ("title", "description", "stage"):
            if key in body and (not mask or key in mask):
                role[key] = body[key]
        if not mask or "includedPermissions" in mask or "included_permissions" in mask:
            self._iam.define_role(role["name"], set(body.get("includedPermissions", [])))
        return JSONResponse(role)

    async def delete_role(self, request: Request) -> JSONResponse:
        role = self._role(request, "iam.roles.delete")
        role["deleted"] = True
        return JSONResponse(role)

    async def undelete_role(self, request: Request) -> JSONResponse:
        await message_body(request, "iam", "UndeleteRoleRequest")
        role = self._role(request, "iam.roles.undelete")
        role.pop("deleted", None)
        return JSONResponse(role)
