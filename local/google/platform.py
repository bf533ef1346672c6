"""What `gcloud` asks of serviceusage and cloudresourcemanager before it does anything, and who is which project number.

Every API here is enabled; enabling one is done at once. Folders, organisations and IAM policies are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.wire import GoogleError, google_api, json_body, require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from local.google.iam import Iam

SERVICES = (
    "cloudresourcemanager.googleapis.com",
    "connectgateway.googleapis.com",
    "container.googleapis.com",
    "gkeconnect.googleapis.com",
    "gkehub.googleapis.com",
    "pubsub.googleapis.com",
    "serviceusage.googleapis.com",
)


class Projects:
    """The projects there are: id and number, either of which the APIs take in paths. Those in `shut` answer 403 for ever."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self.numbers = dict(numbers)
        self.shut: set[str] = set()

    def id(self, project: str) -> str:
        """Return the id of a project named by id or number, or refuse.

        Google answers 403 and not 404 for a project that is not there, so that names cannot be tried out.
        """
        for id_, number in self.numbers.items():
            if project in (id_, str(number)) and id_ not in self.shut:
                return id_
        raise GoogleError(403, f"Permission denied on resource project {project} (or it may not exist).")

    def number(self, project: str) -> str:
        """Return the number, as the string that stands in JSON, of a project named by id or number."""
        return str(self.numbers[self.id(project)])


def platform_app(iam: Iam, projects: Projects, more: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application that answers for serviceusage.googleapis.com and cloudresourcemanager.googleapis.com.

    `more` are further routes of these two.
    """

    def project_of(request: Request, permission: str) -> str:
        project = projects.id(request.path_params["project"])
        require(request, iam, permission, project)
        return project

    def service(project: str, name: str) -> dict[str, Any]:
        if not name.endswith(".googleapis.com"):
            raise GoogleError(404, f"Not found or permission denied for service(s): {name}.")
        parent = f"projects/{projects.number(project)}"
        config = {"name": name, "title": name}
        return {"name": f"{parent}/services/{name}", "config": config, "state": "ENABLED", "parent": parent}

    async def get_service(request: Request) -> JSONResponse:
        project = project_of(request, "serviceusage.services.get")
        return JSONResponse(service(project, request.path_params["service"]))

    async def list_services(request: Request) -> JSONResponse:
        project = project_of(request, "serviceusage.services.list")
        return JSONResponse({"services": [service(project, name) for name in SERVICES]})

    async def batch_get_services(request: Request) -> JSONResponse:
        project = project_of(request, "serviceusage.services.get")
        names = [name.rpartition("/")[2] for name in request.query_params.getlist("names")]
        return JSONResponse({"services": [service(project, name) for name in names]})

    async def enable(request: Request) -> JSONResponse:
        project = project_of(request, "serviceusage.services.enable")
        found = service(project, request.path_params["service"])
        answer = {"@type": "type.googleapis.com/google.api.serviceusage.v1.EnableServiceResponse", "service": found}
        return JSONResponse({"name": "operations/noop.DONE_OPERATION", "done": True, "response": answer})

    def v1(project: str) -> dict[str, Any]:
        number = projects.number(project)
        return {"projectNumber": number, "projectId": project, "lifecycleState": "ACTIVE", "name": project}

    def v3(project: str) -> dict[str, Any]:
        number = projects.number(project)
        return {"name": f"projects/{number}", "projectId": project, "state": "ACTIVE", "displayName": project}

    def visible(request: Request) -> list[str]:
        """The projects that the caller may see: never 403, only fewer (cloudresourcemanager v3, projects.search)."""
        caller = request.scope.get("identity")
        if caller is None:
            raise GoogleError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")
        known = sorted(set(projects.numbers) - projects.shut)
        return [project for project in known if iam.allows(caller, "resourcemanager.projects.get", project)]

    async def get_v1(request: Request) -> JSONResponse:
        return JSONResponse(v1(project_of(request, "resourcemanager.projects.get")))

    async def get_v3(request: Request) -> JSONResponse:
        return JSONResponse(v3(project_of(request, "resourcemanager.projects.get")))

    async def list_v1(request: Request) -> JSONResponse:
        return JSONResponse({"projects": [v1(project) for project in visible(request)]})

    async def search_v3(request: Request) -> JSONResponse:
        return JSONResponse({"projects": [v3(project) for project in visible(request)]})

    async def test_iam_permissions(request: Request) -> JSONResponse:
        project = projects.id(request.path_params["project"])
        asked = (await json_body(request)).get("permissions", [])
        caller = request.scope.get("identity")
        return JSONResponse({"permissions": [name for name in asked if iam.allows(caller, name, project)]})

    return google_api(
        [
            *more,
            Route("/v1/projects/{project}/services:batchGet", batch_get_services),
            Route("/v1/projects/{project}/services", list_services),
            Route("/v1/projects/{project}/services/{service}:enable", enable, methods=["POST"]),
            Route("/v1/projects/{project}/services/{service}", get_service),
            Route("/v1/projects/{project}:testIamPermissions", test_iam_permissions, methods=["POST"]),
            Route("/v3/projects/{project}:testIamPermissions", test_iam_permissions, methods=["POST"]),
            Route("/v1/projects", list_v1),
            Route("/v3/projects:search", search_v3),
            Route("/v1/projects/{project}", get_v1),
            Route("/v3/projects/{project}", get_v3),
        ]
    )
