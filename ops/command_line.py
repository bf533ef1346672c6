"""The command line of an operator: `python -m ops …`, in production and on the local cloud.

It reads the settings that the functions have, from the environment, and works with the operator's own Google identity. A user
error is one line, with exit code 1. Wrong settings have a line each, and then the commands that help.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from ops import local_cloud
from ops.pace import CALLS_PER_CLUSTER, CLUSTERS_A_MINUTE, GATEWAY_REQUESTS
from ops.terminal import UNREAD, HelpFormatter, MistakeError, OutputError, UnreadError, guarded, one_line
from shared.values.errors import ReconcileError
from shared.values.settings import SettingsError
from shared.values.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHORT = "full name, its membership's full name, or a short name that only one cluster has"


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    with guarded():
        return _run(arguments)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        return command_line().parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()  # the help, the version
        raise


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = _parsed(arguments)
        stopped = local_cloud.stopped(os.environ)
        if stopped:
            print(f"ops: {stopped}", file=sys.stderr)
            return 1
        code = int(pkgutil.resolve_name(options.run)(options))  # imported now: `--help` needs no client
        sys.stdout.flush()
    except (BrokenPipeError, OutputError) as error:
        # The reader closed the pipe, or the disk is full; Python would report that once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, OutputError):
            print(f"ops: {error}", file=sys.stderr)
        return 1
    except UnreadError as error:
        print(f"ops: {one_line(str(error))}", file=sys.stderr)
        return UNREAD
    except SettingsError as error:
        print("\n".join(_settings_faults(error)), file=sys.stderr)
        return 1
    except (MistakeError, ReconcileError) as error:
        print(f"ops: {one_line(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ops: interrupted; requests that were published before are not undone", file=sys.stderr)
        return 130
    return code


def _settings_faults(error: SettingsError) -> list[str]:
    """Return a line for each wrong setting, and then the commands that help."""
    from ops import advice, remedies

    faults = [f"  {one_line(fault)}" for fault in error.faults]
    return ["ops: the settings are wrong:", *faults, *advice.lines(remedies.own_settings())]


class _Parser(argparse.ArgumentParser):
    """Ends a usage error with one line and 1: 2 is an answer of `plan` and `explain`."""

    def __init__(self, **more: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, **more)

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"ops: {one_line(message)}. See: {self.prog} --help\n")


class _Filled(argparse.Action):
    """Refuses an empty value: otherwise an unset variable of the shell would select everything."""

    def __call__(
        self, parser: argparse.ArgumentParser, to: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if not all(map(str.strip, [values] if isinstance(values, str) else values)):
            parser.error(f"argument {option or self.metavar}: the value is empty")
        setattr(to, self.dest, values)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _seconds(text: str) -> float:
    from ops.terminal import seconds

    try:
        return seconds(text)
    except MistakeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def command_line() -> argparse.ArgumentParser:
    """Return the parser of `python -m ops`; building it has no side effect."""
    parser = _Parser(
        prog="python -m ops",
        description="Operate Fleet Registrar. The settings are those of the functions; they come from the environment.",
        epilog="On the local cloud, first:\n  source .local/env",
    )
    parser.add_argument("--version", action="version", version=f"fleet-registrar {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(
        name: str,
        text: str,
        example: str = "",
        run: str = "",
        *,
        json: str = "as JSON",
        to: argparse._SubParsersAction[_Parser] = commands,
    ) -> _Parser:
        """Add the command of `ops.NAME:run`; `run` names another function."""
        one = to.add_parser(name, help=text, description=text, epilog=f"example:\n  python -m ops {example or name}")
        one.set_defaults(run=run or f"ops.{name}:run")
        if json:
            one.add_argument("--json", action="store_true", help=json)
        return one

    plan = command(
        "plan",
        "show what a sweep would do; exit code 0: nothing differs, 2: something does, 3: something could not be read, 1: error",
        "plan --project team-a",
    )
    narrower = plan.add_mutually_exclusive_group()
    narrower.add_argument("--project", action=_Filled, default="", help="only this project's clusters")
    narrower.add_argument("--cluster", action=_Filled, default="", help=f"only this cluster: {_SHORT}")

    status = command(
        "status",
        "show functions, queues, the last sweep, dead letters and what is wrong; exit code 0: everything works, 2: something"
        " is wrong, 3: something could not be read, 1: error",
        json="",
    )
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON (docs/status.schema.json)")
    form.add_argument("--html", action=_Filled, metavar="FILE", default="", help="write the status page into one file")

    serve = command(
        "serve",
        "serve the status page on loopback; it reads with your identity and writes nothing",
        json="",
    )
    serve.add_argument("--port", type=_port, default=8070, help="where it listens (default: 8070; 0: a free one)")

    listed = command(
        "list",
        "list every cluster in one line, problems first; exit code 0: no problem, 2: some clusters have one, 3: something could not be read,"
        " 1: error",
        "list --problems",
        "ops.listing:run",
    )
    listed.add_argument("--problems", action="store_true", help="only clusters with a problem")
    listed.add_argument("--project", action=_Filled, default="", help="only this project's clusters")
    listed.add_argument(
        "--search", action=_Filled, metavar="TEXT", default="", help="only clusters whose line has these words"
    )

    wait = command(
        "wait",
        "wait until a cluster is in Argo CD, or is removed from it; exit code 0: it is, 2: timeout, 1: error",
        "wait blue --for=onboarded --timeout=10m",
    )
    wait.add_argument("cluster", action=_Filled, metavar="CLUSTER", help=_SHORT)
    wait.add_argument("--for", dest="goal", choices=("onboarded", "offboarded"), required=True, help="what to wait for")
    wait.add_argument("--timeout", type=_seconds, default=600.0, help="such as 90s, 10m, 1h (default: 10m)")

    explain = command(
        "explain",
        "explain why a cluster is, or is not, in Argo CD; exit code 0: it is, 2: it is not, or something differs, 3: unknown,"
        " because something could not be read, 1: error",
        "explain projects/team-a/locations/europe-west1/clusters/blue",
    )
    explain.add_argument("cluster", action=_Filled, metavar="CLUSTER", help=_SHORT)

    backfill = command(
        "backfill",
        "request every selected cluster that has no Secret of its own; exit code 0: done, 3: something could not be read, 1:"
        " error",
        "backfill --project team-a --dry-run",
    )
    backfill.add_argument("--project", action=_Filled, default="", help="only this project's clusters")
    backfill.add_argument("--dry-run", action="store_true", help="show the clusters, publish nothing")
    _rate(backfill)

    adopt = command(
        "adopt",
        "take over the cluster Secrets that other tools wrote for selected clusters: uid, names, shard, project and added"
        " labels stay; exit code 0: done, 3: something could not be read, 1: error, or some failed",
        "adopt --dry-run",
    )
    adopt.add_argument("--dry-run", action="store_true", help="show the Secrets, write nothing")
    adopt.add_argument(
        "--change-server",
        action="store_true",
        help="also Secrets whose server changes to the gateway's URL: Applications that name the old server lose their cluster",
    )
    _rate(adopt)

    shards = command(
        "shards",
        "show how clusters are distributed over Argo CD's controllers, and a shard for each Secret without one; exit code 0:"
        " every Secret has one, 2: some have none or a wrong one, 1: error",
    )
    shards.add_argument("--assign", action="store_true", help="write these shards to the Secrets that have none")
    _rate(shards)

    command(
        "orphans",
        "list the Applications whose cluster Argo CD does not have; exit code 0: none, 2: some, 3: something could not be"
        " read, 1: error",
    )

    doctor = command(
        "doctor",
        "check the whole deployment and show the command that repairs each fault; writes nothing; exit code 0: all checks pass,"
        " 2: warnings, or something could not be read, 1: failures",
        run="ops.doctor.command:run",
    )
    doctor.add_argument(
        "--canary",
        action=_Filled,
        metavar="CLUSTER",
        default="",
        help=f"also publish one redundant request for this cluster and follow it through the logs: {_SHORT}",
    )

    for name, run, text in (
        ("pause", "ops.pause:run_pause", "stop the pushes to a step; its messages wait in the subscription"),
        ("resume", "ops.pause:run_resume", "restore the pushes to a paused step: endpoint, identity and audience"),
    ):
        step = command(name, text, f"{name} write-secret", run)
        step.add_argument("step", metavar="STEP", help="a function's name, such as write-secret")

    dead = commands.add_parser(
        "dead-letters",
        help="list, show, replay and discard failed messages",
        description="Failed messages. Only one operator at a time, because listing leases them.",
        epilog="example:\n  python -m ops dead-letters list",
    )
    actions = dead.add_subparsers(required=True, metavar="ACTION", parser_class=_Parser)

    def letters(name: str, text: str, example: str, *, json: str = "as JSON") -> _Parser:
        return command(name, text, f"dead-letters {example}", f"ops.dead_letters:run_{name}", json=json, to=actions)

    listed = letters(
        "list", "list the letters, grouped by cluster, step and reason", "list", json="as JSON, every letter"
    )
    listed.add_argument("--unfolded", action="store_true", help="one line for each letter")
    letters("show", "show the whole letter and what to do", "show 1a2b3c4d").add_argument(
        "id", action=_Filled, metavar="ID"
    )
    text = "publish letters to the step that wrote them, and remove them when Pub/Sub has accepted them"
    replay = letters("replay", text, "replay 1a2b3c4d", json="")
    drop = letters("drop", "discard letters for good, after a question", "drop 1a2b3c4d", json="")
    for several in (replay, drop):
        several.add_argument("ids", action=_Filled, metavar="ID", nargs="*")
        several.add_argument("--all", action="store_true", help="all of them")
        several.add_argument(
            "--reason", action=_Filled, default="", help="with --all: those whose reason has this text"
        )
    replay.add_argument("--body", action=_Filled, default="", help="the repaired body of one letter: JSON, or a file")
    replay.add_argument("--dry-run", action="store_true", help="show what would be published, publish nothing")
    replay.add_argument("--yes", action="store_true", help="also letters with control keys, such as leave or release")
    replay.add_argument("--json", action="store_true", help="as JSON")
    drop.add_argument("--yes", action="store_true", help="do not ask")
    drop.add_argument("--json", action="store_true", help="as JSON; needs --yes")
    return parser


def _rate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate",
        type=_positive,
        default=CLUSTERS_A_MINUTE,
        help=f"clusters a minute (default: {CLUSTERS_A_MINUTE}; Connect Gateway takes {GATEWAY_REQUESTS} requests a minute,"
        f" each cluster makes about {CALLS_PER_CLUSTER})",
    )
