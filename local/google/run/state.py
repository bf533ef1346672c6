"""Cloud Run services, and the functions that they were built from.

A function of the second generation is a service with a build. Left out: jobs, traffic splits, revisions as resources,
sources, builds. What runs the code is not here: `on_change` is called with a service that has a new revision.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from local.google.platform import Projects

Json = dict[str, Any]

STATES = ("ACTIVE", "FAILED", "DEPLOYING", "DELETING", "UNKNOWN")


def now() -> str:
    """Return the time as these APIs write it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Build:
    """The source of a function. `entry_point` is the name in the source, `object` is in `bucket`."""

    runtime: str
    entry_point: str
    bucket: str
    object: str
    generation: int = 1
    account: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Service:
    """A service. `url` is where it answers; `state` and `message` are its function's."""

    name: str  # projects/P/locations/L/services/S
    url: str
    account: str
    environment: Mapping[str, str]
    build: Build
    memory: str = "512Mi"
    cpu: str = "1"
    timeout: int = 60
    max_instances: int = 100
    concurrency: int = 1
    ingress: str = "ALLOW_ALL"
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    state: str = "ACTIVE"
    message: str = ""
    generation: int = 1
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)

    @property
    def short(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def project(self) -> str:
        return self.name.split("/")[1]

    @property
    def location(self) -> str:
        return self.name.split("/")[3]

    @property
    def revision(self) -> str:
        return f"{self.short}-{self.generation:05}-{self.uid[:3]}"

    @property
    def monitored_resource(self) -> Json:
        """What its log entries name as their resource: this revision (https://cloud.google.com/logging/docs/api/v2/resource-list)."""
        labels = {
            "project_id": self.project,
            "location": self.location,
            "service_name": self.short,
            "configuration_name": self.short,
            "revision_name": self.revision,
        }
        return {"type": "cloud_run_revision", "labels": labels}

    @property
    def function(self) -> str:
        """The full name of the function that the service was built for."""
        return self.name.replace("/services/", "/functions/")

    @property
    def etag(self) -> str:
        return hashlib.sha256(f"{self.uid}{self.generation}{self.updated}".encode()).hexdigest()[:12]


class Run:
    """All services by full name."""

    def __init__(self, projects: Projects, on_change: Callable[[Service], Awaitable[None]] | None = None) -> None:
        self.projects = projects
        self.services: dict[str, Service] = {}
        self.on_change = on_change
        self.operations: dict[str, Json] = {}

    def deploy(self, service: Service) -> None:
        """Add a service that already runs."""
        self.services[service.name] = service

    def service(self, name: str) -> Service:
        """Return a service by its full name or its function's; 404 if it does not exist."""
        found = self.services.get(name.replace("/functions/", "/services/"))
        if found is None:
            raise GoogleError(404, f"Resource '{name}' was not found")
        return found

    def at(self, project: str, location: str) -> list[Service]:
        """Return the services of a project; `-` stands for all locations."""
        return [
            service
            for service in self.services.values()
            if service.project == project and location in ("-", service.location)
        ]

    async def change(self, name: str, **changes: Any) -> Service:
        """Give a service a new revision with other fields (of `Service`), and start it."""
        service = self.service(name)
        made = replace(service, **changes, generation=service.generation + 1, updated=now())
        self.services[service.name] = made
        if self.on_change is not None and dict(made.environment) != dict(service.environment):
            await self.on_change(made)
        return made

    def set_state(self, name: str, state: str, message: str = "") -> None:
        """Set the state of a function; it continues to run."""
        if state not in STATES:
            raise ValueError(f"state {state!r} is not one of {', '.join(STATES)}")
        service = self.service(name)
        service.state, service.message = state, message

    def set_build_variables(self, name: str, variables: Mapping[str, str]) -> None:
        """Set the variables of a function's build; it continues to run."""
        service = self.service(name)
        service.build = replace(service.build, variables=dict(variables))

    def delete(self, name: str) -> None:
        """Remove a service; its URL then answers 404."""
        del self.services[self.service(name).name]
