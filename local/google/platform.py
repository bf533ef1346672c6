"""Projects, their policies and their enabled APIs: cloudresourcemanager and serviceusage.

Enabling and disabling an API is done at once, and a disabled one refuses calls. Left out: folders and organisations,
creating projects.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.resource_policies import policy_routes
from local.google.schemas import message_body
from local.google.wire import GoogleError, google_api, require

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

    from local.google.iam.state import Iam

Json = dict[str, Any]

_PROJECT = re.compile(r"/projects/([^/:]+)")


# The APIs that a project has from the beginning.
SERVICES = tuple(
    f"{name}.googleapis.com"
    for name in (
        "artifactregistry",
        "cloudasset",
        "cloudbuild",
        "cloudfunctions",
        "cloudresourcemanager",
        "cloudscheduler",
        "connectgateway",
        "container",
        "eventarc",
        "gkeconnect",
        "gkehub",
        "iam",
        "iamcredentials",
        "logging",
        "monitoring",
        "pubsub",
        "run",
        "serviceusage",
        "storage",
    )
)


class Projects:
    """The projects there are: id and number, and the APIs accept either in paths. Those in `shut` always answer 403.

    `enabled` are the APIs of each project (`run.googleapis.com`).
    """

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self.numbers = dict(numbers)
        self.shut: set[str] = set()
        self.enabled = {id_: set(SERVICES) for id_ in numbers}

    def id(self, project: str) -> str:
        """Return the id of a project named by id or number, or refuse.

        Google answers 403 and not 404 for a project that is not there, so that names cannot be tried out.
        """
        for id_, number in self.numbers.items():
            if project in (id_, str(number)) and id_ not in self.shut:
                return id_
        raise GoogleError(403, f"Permission denied on resource project {project} (or it may not exist).")

    def number(self, project: str) -> str:
        """Return the number, as a string for JSON, of a project named by id or number."""
        return str(self.numbers[self.id(project)])

    def enable(self, project: str, *services: str) -> None:
        """Enable APIs (`run.googleapis.com`) in a project."""
        self.enabled.setdefault(self.id(project), set(SERVICES)).update(services)

    def disable(self, project: str, *services: str) -> None:
        """Disable APIs in a project: calls about it are refused."""
        self.enabled.setdefault(self.id(project), set(SERVICES)).difference_update(services)

    def has(self, project: str, service: str) -> bool:
        """Whether an API is enabled in a project (an id)."""
        return service in self.enabled.get(project, SERVICES)


def where_enabled(app: ASGIApp, projects: Projects, service: str) -> ASGIApp:
    """Wrap the application of an API: it refuses calls about projects in which it is disabled.

    Google asks this of the caller's project too (its quota project); here only the project in the path counts.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        match = _PROJECT.search(scope["path"]) if scope["type"] == "http" else None
        found = next((id_ for id_, n in projects.numbers.items() if match and match[1] in (id_, str(n))), None)
        if found is None or projects.has(found, service):
            await app(scope, receive, send)
            return
        consumer = f"projects/{projects.numbers[found]}"
        reason: Json = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "SERVICE_DISABLED",
            "domain": "googleapis.com",
            "metadata": {"service": service, "consumer": consumer},
        }
        message = f"{service} has not been used in project {projects.numbers[found]} before or it is disabled."
        error = {"code": 403, "message": message, "status": "PERMISSION_DENIED", "details": [reason]}
        await JSONResponse({"error": error}, 403)(scope, receive, send)

    return wrapped


def platform_app(iam: Iam, projects: Projects, more: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application that answers for serviceusage.googleapis.com and cloudresourcemanager.googleapis.com.

    `more` are further routes of these two.
    """
    return google_api([*more, *_service_usage(iam, projects), *_resource_manager(iam, projects)])


def _service_usage(iam: Iam, projects: Projects) -> list[Route]:
    def project_of(request: Request, permission: str) -> str:
        project = projects.id(request.path_params["project"])
        require(request, iam, permission, project)
        return project

    def service(project: str, name: str) -> Json:
        if not name.endswith(".googleapis.com"):
            raise GoogleError(404, f"Not found or permission denied for service(s): {name}.")
        parent = f"projects/{projects.number(project)}"
        state = "ENABLED" if projects.has(project, name) else "DISABLED"
        return {
            "name": f"{parent}/services/{name}",
            "config": {"name": name, "title": name},
            "state": state,
            "parent": parent,
        }

    def changed(project: str, names: Iterable[str], kind: str) -> JSONResponse:
        found = [service(project, name) for name in names]
        answer: Json = {"@type": f"type.googleapis.com/google.api.serviceusage.v1.{kind}Response"}
        answer |= {"services": found} if kind.startswith("Batch") else {"service": found[0]}
        return JSONResponse({"name": "operations/noop.DONE_OPERATION", "done": True, "response": answer})

    async def get_service(request: Request) -> JSONResponse:
        project = project_of(request, "serviceusage.services.get")
        return JSONResponse(service(project, request.path_params["service"]))

    async def list_services(request: Request) -> JSONResponse:
        project = project_of(request, "serviceusage.services.list")
        every = {*SERVICES, *(name for names in projects.enabled.values() for name in names)}
        found = [service(project, name) for name in sorted(every)]
        state = request.query_params.get("filter", "").removeprefix("state:")
        return JSONResponse({"services": [one for one in found if state in ("", one["state"])]})

    async def batch_get_services(request: Request) -> JSONResponse:
        project = project_of(request, "serviceusage.services.get")
        names = [name.rpartition("/")[2] for name in request.query_params.getlist("names")]
        return JSONResponse({"services": [service(project, name) for name in names]})

    async def enable(request: Request) -> JSONResponse:
        project, name = project_of(request, "serviceusage.services.enable"), request.path_params["service"]
        await message_body(request, "serviceusage", "EnableServiceRequest")
        service(project, name)
        projects.enable(project, name)
        return changed(project, [name], "EnableService")

    async def batch_enable(request: Request) -> JSONResponse:
        project = project_of(request, "serviceusage.services.enable")
        names = (await message_body(request, "serviceusage", "BatchEnableServicesRequest")).get("serviceIds", [])
        projects.enable(project, *names)
        return changed(project, names, "BatchEnableServices")

    async def disable(request: Request) -> JSONResponse:
        project, name = project_of(request, "serviceusage.services.disable"), request.path_params["service"]
        await message_body(request, "serviceusage", "DisableServiceRequest")
        service(project, name)
        projects.disable(project, name)
        return changed(project, [name], "DisableService")

    base = "/v1/projects/{project}/services"
    return [
        Route(f"{base}:batchGet", batch_get_services),
        Route(f"{base}:batchEnable", batch_enable, methods=["POST"]),
        Route(base, list_services),
        Route(f"{base}/{{service}}:enable", enable, methods=["POST"]),
        Route(f"{base}/{{service}}:disable", disable, methods=["POST"]),
        Route(f"{base}/{{service}}", get_service),
    ]


def _resource_manager(iam: Iam, projects: Projects) -> list[Route]:
    def v1(project: str) -> Json:
        number = projects.number(project)
        return {"projectNumber": number, "projectId": project, "lifecycleState": "ACTIVE", "name": project}

    def v3(project: str) -> Json:
        number = projects.number(project)
        return {"name": f"projects/{number}", "projectId": project, "state": "ACTIVE", "displayName": project}

    def allowed(request: Request) -> str:
        project = projects.id(request.path_params["project"])
        require(request, iam, "resourcemanager.projects.get", project)
        return project

    def visible(request: Request) -> list[str]:
        """The projects that the caller may see: never 403, only fewer (cloudresourcemanager v3, projects.search)."""
        caller = request.scope.get("identity")
        if caller is None:
            raise GoogleError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")
        known = sorted(set(projects.numbers) - projects.shut)
        return [project for project in known if iam.allows(caller, "resourcemanager.projects.get", project)]

    async def get_v1(request: Request) -> JSONResponse:
        return JSONResponse(v1(allowed(request)))

    async def get_v3(request: Request) -> JSONResponse:
        return JSONResponse(v3(allowed(request)))

    async def list_v1(request: Request) -> JSONResponse:
        return JSONResponse({"projects": [v1(project) for project in visible(request)]})

    async def search_v3(request: Request) -> JSONResponse:
        return JSONResponse({"projects": [v3(project) for project in visible(request)]})

    async def ancestry(request: Request) -> JSONResponse:
        await message_body(request, "cloudresourcemanager", "GetAncestryRequest")
        return JSONResponse({"ancestor": [{"resourceId": {"type": "project", "id": allowed(request)}}]})

    def name(request: Request) -> str:
        return f"projects/{projects.id(request.path_params['project'])}"

    return [
        *policy_routes("/v1/projects/{project}", iam, "resourcemanager.projects", name),
        *policy_routes("/v3/projects/{project}", iam, "resourcemanager.projects", name),
        Route("/v1/projects/{project}:getAncestry", ancestry, methods=["POST"]),
        Route("/v1/projects", list_v1),
        Route("/v3/projects:search", search_v3),
        Route("/v1/projects/{project}", get_v1),
        Route("/v3/projects/{project}", get_v3),
    ]
