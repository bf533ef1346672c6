"""Eventarc: triggers, and the events that they deliver to services.

Events go as CloudEvents in binary mode, at least once, with back-off, and are dropped after 24 hours
(https://cloud.google.com/eventarc/docs/retry-events). Left out: channels, the transport topics as resources, destinations
but Cloud Run, path patterns, the minutes until a trigger is active, and the right to receive events.
"""

from __future__ import annotations

import itertools
import json
import random
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import aiohttp

from local.google.audit import event_data, event_name
from local.google.events import Event, Events, LostError, NotTakenError
from local.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

AUDIT = "google.cloud.audit.log.v1.written"
MEMBERSHIP = "google.cloud.gkehub.membership.v1."
SCHEMA = "https://googleapis.github.io/google-cloudevents/jsonschema/google/events/cloud/"


class Eventarc(Events):
    """All triggers by full name, and the events on their way.

    `url(service, region, project)` returns where a Cloud Run service answers, or refuses; `oidc(account, audience)`
    returns the token that a call carries.
    """

    def __init__(
        self,
        url: Callable[[str, str, str], str],
        oidc: Callable[[str, str], str],
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.triggers: dict[str, Json] = {}
        self._url = url
        self._oidc = oidc
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None

    # Triggers

    def create_trigger(self, name: str, trigger: Json) -> Json:
        """Create a trigger (full name)."""
        if name in self.triggers:
            raise GoogleError(409, f"Resource '{name}' already exists")
        filters = {one.get("attribute"): one.get("value") for one in trigger.get("eventFilters", [])}
        if "type" not in filters:
            raise GoogleError(400, "event_filters must name the attribute 'type'.")
        if filters["type"] == AUDIT and not {"serviceName", "methodName"} <= filters.keys():
            raise GoogleError(400, "A trigger for audit entries needs serviceName and methodName.")
        if not trigger.get("destination", {}).get("cloudRun", {}).get("service"):
            raise GoogleError(501, "Only destinations on Cloud Run are made here.")
        now = _now()
        made = trigger | {"name": name, "uid": str(uuid.uuid4()), "createTime": now, "updateTime": now}
        made["etag"] = f'"{uuid.uuid4()}"'
        self.triggers[name] = made
        return made

    def trigger(self, name: str) -> Json:
        """Return the trigger itself, not a copy; 404 if it does not exist."""
        if name not in self.triggers:
            raise GoogleError(404, f"Resource '{name}' was not found")
        return self.triggers[name]

    def update_trigger(self, name: str, trigger: Json, paths: list[str]) -> Json:
        """Replace fields of a trigger."""
        before = self.trigger(name)
        for path in paths:
            key = path.partition(".")[0]
            if key not in ("serviceAccount", "destination", "labels", "eventFilters"):
                raise GoogleError(400, f"Field {path} of a trigger cannot be changed.")
            before[key] = trigger[key]
        before.update(updateTime=_now(), etag=f'"{uuid.uuid4()}"')
        return before

    # Events

    def audit(self, entry: Json) -> None:
        """Deliver an audit entry to the matching triggers of its project."""
        payload, log_name = entry["protoPayload"], entry["logName"]
        method, resource, project = payload["methodName"], payload["resourceName"], log_name.split("/")[1]
        attributes = {"type": AUDIT, "serviceName": payload["serviceName"], "methodName": method}
        headers = {
            "ce-id": f"{log_name}{entry.get('insertId', next(self._ids))}",
            "ce-type": AUDIT,
            "ce-source": f"//cloudaudit.googleapis.com/projects/{project}/logs/{unquote(log_name).rpartition('/')[2]}",
            "ce-subject": f"{payload['serviceName']}/{resource}",
            "ce-servicename": payload["serviceName"],
            "ce-methodname": method,
            "ce-resourcename": resource,
            "ce-recordedtime": entry.get("timestamp") or _now(),
            "ce-dataschema": f"{SCHEMA}audit/v1/LogEntryData.json",
        }
        # Entries of all locations arrive in `global`; a trigger in a region sees its own.
        locations = {"global", *payload.get("resourceLocation", {}).get("currentLocations", [])}
        body = json.dumps(event_data(entry)).encode()
        for trigger in self._matching(project, locations, attributes | {"resourceName": resource}):
            self._bring(event_name(entry), trigger, headers, body)

    def membership(self, kind: str, membership: Json) -> None:
        """Deliver a membership event: `created`, `updated` or `deleted`, the last without a payload (google-cloudevents)."""
        full = membership["name"]
        parent, _, short = full.partition("/memberships/")
        _, project, _, location = parent.split("/")
        headers = {
            "ce-id": f"{short}-{next(self._ids)}-{random.getrandbits(64):016x}",
            "ce-type": MEMBERSHIP + kind,
            "ce-source": f"//gkehub.googleapis.com/{parent}",
            "ce-subject": f"memberships/{short}",
            "ce-membership": short,
            "ce-dataschema": f"{SCHEMA}gkehub/v1/MembershipEventData.json",
        }
        body = json.dumps({} if kind == "deleted" else {"payload": membership}).encode()
        attributes = {"type": MEMBERSHIP + kind, "membership": short}
        for trigger in self._matching(project, {location}, attributes):
            self._bring(f"membership.{kind} {full}", trigger, headers, body)

    def _matching(self, project: str, locations: set[str], attributes: dict[str, str]) -> list[str]:
        """Return the triggers of a project, in one of the locations, whose filters match."""
        found = []
        for full, trigger in self.triggers.items():
            _, owner, _, location, *_ = full.split("/")
            filters = {one["attribute"]: one["value"] for one in trigger["eventFilters"]}
            if owner == project and location in locations and filters.items() <= attributes.items():
                found.append(full)
        return found

    def _bring(self, name: str, trigger: str, headers: dict[str, str], body: bytes) -> None:
        at = time.time()
        self.take(Event(name, at, lambda: self._post(trigger, at, headers, body)))

    async def close(self) -> None:
        """Stop; undelivered events are lost, like all state."""
        await super().close()
        if self._session is not None:
            await self._session.close()

    async def _post(self, full: str, at: float, headers: dict[str, str], body: bytes) -> str:
        trigger = self.triggers.get(full)
        if trigger is None:
            raise LostError("the trigger was deleted")
        cloud_run = trigger["destination"]["cloudRun"]
        url = self._url(cloud_run["service"], cloud_run.get("region", ""), full.split("/")[1])
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(total=600))
        account = trigger.get("serviceAccount", "")
        sent = {
            "ce-specversion": "1.0",
            "ce-time": datetime.fromtimestamp(at, UTC).isoformat(),
            "content-type": trigger.get("eventDataContentType", "application/json"),
            **({"authorization": f"Bearer {self._oidc(account, url)}"} if account else {}),
            **headers,
        }
        async with self._session.post(f"{url}{cloud_run.get('path', '')}", data=body, headers=sent) as answer:
            await answer.read()
            if not 200 <= answer.status < 300:
                raise NotTakenError(str(answer.status))
            return str(answer.status)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
