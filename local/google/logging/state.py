"""Log entries of all projects, and their sinks.

Left out: buckets, views, exclusions, and sinks of folders and organisations. A sink writes only to Pub/Sub; one that has
another destination is kept and shown, and writes nothing.
"""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local.google.logging import filters
from local.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from local.google.platform import Projects

Json = dict[str, Any]

_SINK = re.compile(r"[A-Za-z0-9_.-]{1,100}")
TOPIC = "pubsub.googleapis.com/"


class Logging:
    """All entries (the last 100,000) and all sinks by project and name.

    `publish(topic, entry, writer)` carries an entry on; `sources` return more entries when somebody reads.
    """

    def __init__(self, projects: Projects, publish: Callable[[str, Json, str], None]) -> None:
        self.projects = projects
        self.entries: deque[Json] = deque(maxlen=100_000)
        self.sinks: dict[tuple[str, str], Json] = {}
        self.sources: list[Callable[[], Iterable[Json]]] = []
        self._publish = publish

    def write(self, entry: Json) -> None:
        """Store an entry, and export it through the matching sinks of its project."""
        self.entries.append(entry)
        project = str(entry["logName"]).split("/")[1]
        for (owner, _), sink in list(self.sinks.items()):
            if owner != project or sink.get("disabled") or not sink["destination"].startswith(TOPIC):
                continue
            if filters.parse(sink.get("filter", ""))(entry):
                self._publish(sink["destination"].removeprefix(TOPIC), entry, sink["writerIdentity"])

    def read(self, projects: Sequence[str], text: str = "", *, newest_first: bool = False) -> list[Json]:
        """Return the entries of some projects that match a filter."""
        matches = filters.parse(text)
        found = [
            entry
            for source in (self.entries, *(source() for source in self.sources))
            for entry in source
            if str(entry["logName"]).split("/")[1] in projects and matches(entry)
        ]
        found.sort(key=lambda entry: str(entry["timestamp"]).replace("+00:00", "Z"), reverse=newest_first)
        return found

    def create_sink(self, project: str, sink: Json, *, unique: bool = True) -> Json:
        """Create a sink; `unique` gives it its own writer identity."""
        name = str(sink.get("name", ""))
        if not _SINK.fullmatch(name):
            raise GoogleError(400, f"Sink name {name!r} has 1 to 100 letters, digits, underscores, dashes and periods.")
        if (project, name) in self.sinks:
            raise GoogleError(409, f"Sink {name} already exists.")
        number = self.projects.number(project)
        agent = f"service-{number}@gcp-sa-logging.iam.gserviceaccount.com"
        made = self._checked(sink) | {
            "name": name,
            "createTime": _now(),
            "updateTime": _now(),
            "writerIdentity": f"serviceAccount:{agent}"
            if unique
            else "serviceAccount:cloud-logs@system.gserviceaccount.com",
        }
        self.sinks[project, name] = made
        return made

    def sink(self, project: str, name: str) -> Json:
        """Return the sink itself, not a copy; 404 if it does not exist."""
        if (project, name) not in self.sinks:
            raise GoogleError(404, f"Sink {name} does not exist")
        return self.sinks[project, name]

    def update_sink(self, project: str, name: str, sink: Json, paths: Iterable[str]) -> Json:
        """Replace fields of a sink (all of destination and filter where no path is named)."""
        before = self.sink(project, name)
        paths = list(paths) or ["destination", "filter", "includeChildren", "disabled", "description"]
        changed = before | {path: sink[path] for path in paths if path in sink}
        before.update(self._checked(changed), updateTime=_now())
        return before

    def delete_sink(self, project: str, name: str) -> None:
        """Delete a sink; 404 if it does not exist."""
        self.sink(project, name)
        del self.sinks[project, name]

    def _checked(self, sink: Json) -> Json:
        if "/" not in str(sink.get("destination", "")):
            raise GoogleError(400, f"Destination {sink.get('destination')!r} is invalid.")
        filters.parse(sink.get("filter", ""))
        return dict(sink)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
