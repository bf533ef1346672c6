"""`ops list`: every cluster in one line, problems first. Reads only, with the operator's identity."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from ops import overview
from ops.doctor.api import Api
from ops.overview import Row
from ops.page.board import row_json
from ops.page.reading import read_log
from ops.page.view import View, select
from ops.partial import SECONDS, survey_in_parts
from ops.plan import check_project, unread
from ops.survey import connected
from ops.terminal import UNREAD, one_line, pluralize, table, width
from ops.unread import by_cause

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

PROBLEM: Final = 2
WIDE: Final = 160  # columns of a line that no terminal shows
NARROW_REASON: Final = 20


def run(options: argparse.Namespace) -> int:
    """List the clusters; 0 no cluster has a problem, 2 some have, 3 something could not be read."""
    services = connected()
    seen = survey_in_parts(services)
    if options.project:
        check_project(options.project, seen, services.settings)
    log = read_log(Api(services.session, os.environ, SECONDS), services.settings.pubsub_project, services.now())
    view = View(q=options.search, project=options.project, stage="problems" if options.problems else "", size=10**6)
    rows = select(overview.rows(seen, services.settings, log.known), view).rows
    missing = unread(seen, services.settings, options.project) | ({"the log": log.unread} if log.unread else {})
    print(json.dumps(as_json(rows, missing), indent=2) if options.json else as_text(rows, missing))
    return UNREAD if missing else PROBLEM if any(row.stage.is_problem for row in rows) else 0


def as_text(rows: Sequence[Row], missing: Mapping[str, str]) -> str:
    """Return the table, and below it each list that could not be read, with the reason; a row only names the list."""
    reasons = {why: f"{what} could not be read" for what, why in missing.items()}
    head = ("CLUSTER", "PROJECT", "LOCATION", "STATE", "WHY")
    lines = [(row.name.short, row.name.project, row.name.location, row.stage.text) for row in rows]
    taken = sum(max((len(line[index]) for line in (*lines, head)), default=0) + 2 for index in range(4))
    most = max((width() or WIDE) - taken, NARROW_REASON)
    whole = [
        (*line, one_line(reasons.get(row.reason, row.reason), most)) for line, row in zip(lines, rows, strict=True)
    ]
    problems = sum(row.stage.is_problem for row in rows)
    parts = [table(head, whole)] if whole else []
    parts += [f"unknown: {what}: {why}" for what, why in by_cause(missing)]
    return "\n\n".join([*parts, f"{pluralize(len(rows), 'cluster')}, {problems} with a problem."])


def as_json(rows: Sequence[Row], missing: Mapping[str, str]) -> dict[str, object]:
    """Return the list for programs."""
    return {"clusters": [row_json(row) for row in rows], "unread": dict(missing)}
