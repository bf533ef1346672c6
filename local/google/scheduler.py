"""Cloud Scheduler (v1): jobs that publish to a topic.

A job that is enabled runs every `every` seconds, and when somebody asks for it (`gcloud scheduler jobs run`). Time is short
here, so its own schedule is kept and shown, and not followed. Left out: HTTP and App Engine targets, retries of a job.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.schemas import message_body
from local.google.wire import GoogleError, google_api, require

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.applications import Starlette
    from starlette.requests import Request

    from local.google.iam.state import Iam
    from local.google.platform import Projects

Json = dict[str, Any]

_JOB = re.compile(r"projects/[^/]+/locations/[^/]+/jobs/[A-Za-z0-9_-]{1,500}")


class Scheduler:
    """All jobs by full name. A job calls `publish(topic, data, attributes)`. `every` 0: no job runs on schedule."""

    def __init__(self, publish: Callable[[str, bytes, dict[str, str]], Awaitable[None]], every: float = 0.0) -> None:
        self.jobs: dict[str, Json] = {}
        self.every = every
        self._publish = publish
        self._clock: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Run the enabled jobs from now on, the first time after `every` seconds."""
        if self.every:
            self._clock = asyncio.create_task(self._run_on_time())

    async def close(self) -> None:
        """Stop the schedule."""
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.wait([self._clock])

    async def _run_on_time(self) -> None:
        while True:
            due = datetime.now(UTC) + timedelta(seconds=self.every)
            for job in self.jobs.values():
                job["scheduleTime"] = _text(due)
            await asyncio.sleep(self.every)
            for name in [name for name, job in self.jobs.items() if job["state"] == "ENABLED"]:
                try:
                    await self.run(name)
                except Exception as error:  # the topic may be deleted; the other jobs go on
                    if name in self.jobs:
                        self.jobs[name].update(lastAttemptTime=_now(), status={"code": 5, "message": str(error)})

    def as_json(self) -> list[Json]:
        """All jobs, and how often they run here."""
        shown = ("name", "state", "schedule", "lastAttemptTime", "scheduleTime", "status")
        return [{"every": self.every} | {key: job.get(key) for key in shown} for _, job in sorted(self.jobs.items())]

    def create(self, job: Json) -> Json:
        """Create a job."""
        name = str(job.get("name", ""))
        if not _JOB.fullmatch(name):
            raise GoogleError(400, f"Job name {name!r} must be projects/P/locations/L/jobs/J.")
        if name in self.jobs:
            raise GoogleError(409, f"Job {name} already exists.")
        if "topicName" not in job.get("pubsubTarget", {}) or not job.get("schedule"):
            raise GoogleError(400, "A job here needs a schedule and a pubsubTarget with a topicName.")
        made = {"timeZone": "Etc/UTC", **job, "state": "ENABLED", "userUpdateTime": _now()}
        self.jobs[name] = made
        return made

    def job(self, name: str) -> Json:
        """Return the job itself, not a copy; 404 if it does not exist."""
        if name not in self.jobs:
            raise GoogleError(404, "Job not found.")
        return self.jobs[name]

    def set_state(self, name: str, state: str) -> Json:
        """Pause a job (PAUSED) or resume it (ENABLED)."""
        job = self.job(name)
        job.update(state=state, userUpdateTime=_now())
        return job

    async def run(self, name: str) -> Json:
        """Run a job now, paused or not."""
        job = self.job(name)
        target = job["pubsubTarget"]
        try:
            data = base64.b64decode(target.get("data", ""))
        except binascii.Error as error:
            raise GoogleError(400, f"Job data is not base64: {error}") from error
        await self._publish(target["topicName"], data, dict(target.get("attributes", {})))
        job.update(lastAttemptTime=_now(), status={})
        return job


def scheduler_app(scheduler: Scheduler, iam: Iam, projects: Projects) -> Starlette:
    """Return the application that answers for cloudscheduler.googleapis.com."""

    def parent(request: Request, permission: str) -> str:
        project = projects.id(request.path_params["project"])
        require(request, iam, f"cloudscheduler.{permission}", project)
        return f"projects/{project}/locations/{request.path_params['location']}"

    def named(request: Request, permission: str) -> str:
        return f"{parent(request, permission)}/jobs/{request.path_params['job']}"

    async def list_locations(request: Request) -> JSONResponse:
        project = projects.id(request.path_params["project"])
        require(request, iam, "cloudscheduler.locations.list", project)
        places = sorted({name.split("/")[3] for name in scheduler.jobs if name.split("/")[1] == project})
        found = [{"name": f"projects/{project}/locations/{place}", "locationId": place} for place in places]
        return JSONResponse({"locations": found} if found else {})

    async def list_jobs(request: Request) -> JSONResponse:
        start = f"{parent(request, 'jobs.list')}/".replace("/locations/-/", "/locations/")
        found = [job for name, job in sorted(scheduler.jobs.items()) if name.startswith(start)]
        return JSONResponse({"jobs": found} if found else {})

    async def create(request: Request) -> JSONResponse:
        parent(request, "jobs.create")
        return JSONResponse(scheduler.create(await message_body(request, "cloudscheduler", "Job", "job")))

    async def get(request: Request) -> JSONResponse:
        return JSONResponse(scheduler.job(named(request, "jobs.get")))

    async def delete(request: Request) -> JSONResponse:
        del scheduler.jobs[scheduler.job(named(request, "jobs.delete"))["name"]]
        return JSONResponse({})

    async def pause(request: Request) -> JSONResponse:
        await message_body(request, "cloudscheduler", "PauseJobRequest")
        return JSONResponse(scheduler.set_state(named(request, "jobs.pause"), "PAUSED"))

    async def resume(request: Request) -> JSONResponse:
        await message_body(request, "cloudscheduler", "ResumeJobRequest")
        return JSONResponse(scheduler.set_state(named(request, "jobs.enable"), "ENABLED"))

    async def run(request: Request) -> JSONResponse:
        await message_body(request, "cloudscheduler", "RunJobRequest")
        return JSONResponse(await scheduler.run(named(request, "jobs.run")))

    jobs = "/v1/projects/{project}/locations/{location}/jobs"
    return google_api(
        [
            Route("/v1/projects/{project}/locations", list_locations),
            Route(jobs, list_jobs),
            Route(jobs, create, methods=["POST"]),
            Route(f"{jobs}/{{job}}:pause", pause, methods=["POST"]),
            Route(f"{jobs}/{{job}}:resume", resume, methods=["POST"]),
            Route(f"{jobs}/{{job}}:run", run, methods=["POST"]),
            Route(f"{jobs}/{{job}}", get),
            Route(f"{jobs}/{{job}}", delete, methods=["DELETE"]),
        ]
    )


def _now() -> str:
    return _text(datetime.now(UTC))


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
