"""`status` and `calls`: the state of a running cloud, and the calls that it has answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from local.commands.options import add_command, number, running_cloud
from local.commands.tables import print_table

if TYPE_CHECKING:
    import argparse

    from local.commands.options import Commands


def add(commands: Commands) -> None:
    """Add the commands."""
    everything = "show clusters, memberships, Secrets, queues, functions, schedules, faults and events"
    status = add_command(commands, "status", _status, everything)
    status.add_argument("--json", action="store_true", help="everything as JSON")

    calls = add_command(commands, "calls", _calls, "show the calls that the APIs have answered")
    calls.add_argument("--last", type=number(1), default=40, help="how many calls (default: 40)")


def _status(options: argparse.Namespace) -> None:
    state = running_cloud(options).state()
    if options.json:
        print(json.dumps(state, indent=2))
        return
    print_table(
        "clusters",
        ["name", "status", "labels"],
        [[_short(n), c["status"], _labels(c["resourceLabels"])] for n, c in state["clusters"].items()],
    )
    print_table(
        "memberships",
        ["name", "state", "cluster"],
        [
            [
                _short(name),
                m["state"] if m["connected"] else f"{m['state']}, agent lost",
                _short((m["cluster"] or "attached").removeprefix("//container.googleapis.com/")),
            ]
            for name, m in state["memberships"].items()
        ],
    )
    print_table(
        "Secrets",
        ["cluster", "held", "member"],
        [
            [s["data.name"], (s["annotations"] or {}).get("fleet-registrar/held", ""), _member(s["data.server"])]
            for s in state["secrets"]
            if "data.server" in s
        ],
    )
    print_table(
        "queues",
        ["subscription", "waiting", "in flight", "delivered", "dead letters"],
        [[n, q["backlog"], q["in_flight"], q["deliveries"], q["dead_lettered"]] for n, q in state["queues"].items()],
    )
    print_table(
        "functions",
        ["name", "pid", "log"],
        [
            [
                n,
                f["pid"] or ("starts at its first call" if f["asleep"] else "not running"),
                f"log/{Path(f['log']).name}",
            ]
            for n, f in state["functions"].items()
        ],
    )
    print_table(
        "schedules",
        ["job", "state", "runs here", "last", "next"],
        [
            [
                s["name"].rpartition("/")[2],
                s["state"],
                f"every {s['every']:g} s" if s["every"] else "when asked",
                _time(s["lastAttemptTime"]) if s["lastAttemptTime"] else "never",
                _time(s["scheduleTime"]) if s["every"] and s["state"] == "ENABLED" else "",
            ]
            for s in state["schedules"]
        ],
    )
    print_table(
        "faults",
        ["id", "effect", "api", "call", "caller", "hits"],
        [[f[k] for k in ("id", "effect", "api", "call", "caller", "hits")] for f in state["faults"]],
    )
    print_table(
        "events on their way",
        ["event", "state", "attempts", "answer"],
        [
            [e["name"], e["state"], e["attempts"], e["answer"]]
            for e in state["events"]["log"]
            if e["state"] in ("waiting", "held", "dropped")
        ],
    )


def _time(text: str) -> str:
    """A time of the API, to the second."""
    return f"{text[:19]}Z"


def _short(name: str) -> str:
    """`projects/P/locations/L/clusters/C` as `P/L/C`; other names as they are."""
    parts = name.split("/")
    return "/".join(parts[1::2]) if len(parts) == 6 else name


def _member(server: str) -> str:
    """`https://HOST/v1/projects/N/locations/L/gkeMemberships/M` as `L/gkeMemberships/M`; other URLs as they are."""
    return server.partition("/locations/")[2] or server


def _labels(labels: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in (labels or {}).items())


def _calls(options: argparse.Namespace) -> None:
    keys = ("status", "method", "path", "caller")
    print_table(
        "calls",
        ["api", *keys],
        [[c["api"], *(c[key] for key in keys)] for c in running_cloud(options).calls()[-options.last :]],
    )
