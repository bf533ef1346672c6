"""`logs`: the functions' log entries, one line each."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from local.commands.options import CLUSTERS_SHORT, add_command, filled, logging_function, number, running_cloud
from local.commands.tables import one_line
from local.names import FLEET

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from local.commands.options import Commands

Json = dict[str, Any]
PAUSE_SECONDS = 0.3
_FUNCTIONS = 'resource.type="cloud_run_revision"'


def add(commands: Commands) -> None:
    """Add the command."""
    logs = add_command(commands, "logs", _logs, "show the log entries of the functions, one line each")
    logs.add_argument("--follow", action="store_true", help="continue with new entries until Ctrl-C")
    logs.add_argument(
        "--cluster", type=filled, default=None, help=f"only those of a cluster or a membership: {CLUSTERS_SHORT}"
    )
    logs.add_argument(
        "--step", type=logging_function, default=None, help="only entries of this function, like write-secret"
    )
    logs.add_argument(
        "--last", type=number(0), default=40, help="how many earlier entries to show (default: 40; 0: all)"
    )


def _logs(options: argparse.Namespace) -> None:
    cloud = running_cloud(options)
    seen: set[str] = set()

    def new() -> list[Json]:
        found = cloud.do("logging", "read", [FLEET], filter_text(options.step or ""))
        found = [entry for entry in found if entry["insertId"] not in seen and is_of(entry, options.cluster or "")]
        seen.update(entry["insertId"] for entry in found)
        return found

    found = new()[-options.last :]
    _print(found)
    if not found and not options.follow:
        print("local: no entry: `python -m local status` shows the functions and clusters", file=sys.stderr)
    while options.follow:
        time.sleep(PAUSE_SECONDS)
        _print(new())


def filter_text(step: str) -> str:
    """Return the filter for the entries of one function, or of all."""
    escaped = step.replace("\\", "\\\\").replace('"', '\\"')
    return f'{_FUNCTIONS} resource.labels.service_name="{escaped}"' if step else _FUNCTIONS


def is_of(entry: Json, cluster: str) -> bool:
    """Whether an entry names a cluster or membership by its full name, or its last part; '' takes all."""
    labels = entry.get("labels") or {}
    names = {str(labels.get(key) or "") for key in ("cluster", "membership")}
    return not cluster or cluster in names or cluster in {name.rpartition("/")[2] for name in names}


def line(entry: Json) -> str:
    """Return an entry as one line: time (UTC), severity, function, decision, cluster, message."""
    labels, payload = entry.get("labels") or {}, entry.get("jsonPayload") or {}
    name = str(labels.get("cluster") or labels.get("membership") or "").rpartition("/")[2]
    severity = str(entry.get("severity") or "")
    parts = (
        f"{str(entry['timestamp'])[11:23]:12}",
        f"{'' if severity in ('INFO', 'DEFAULT') else severity:8}",
        f"{entry['resource']['labels']['service_name']:21}",
        f"{payload.get('decision') or '':14}",
        f"{name:12}",
        "; ".join(str(payload.get("message") or entry.get("textPayload") or "").splitlines()),
    )
    return one_line(" ".join(parts)).rstrip()


def _print(entries: Iterable[Json]) -> None:
    for entry in entries:
        print(line(entry))
    sys.stdout.flush()
