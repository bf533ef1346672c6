"""The command line of the local cloud: `python -m local …`, for people; tests and the demo use `control.LocalCloud`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local import environment
from local.control import ControlError, LocalCloud
from local.google.events import EFFECTS as EVENT_EFFECTS
from local.google.faults import EFFECTS as FAULT_EFFECTS

if TYPE_CHECKING:
    from collections.abc import Sequence

CLUSTERS_SHORT = "the full name, or its last part where only one has it"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = command_line().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except (environment.NotRunningError, ControlError, OSError) as error:
        print(f"local: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def command_line() -> argparse.ArgumentParser:
    """Return the parser of `python -m local`; building it has no side effect."""
    parser = argparse.ArgumentParser(
        prog="python -m local", description="Google Cloud on a laptop, with the functions."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.add_argument(
            "--directory", type=Path, help="where it keeps its files (default: $LOCAL_CLOUD for commands, else .local)"
        )
        one.set_defaults(run=run)
        return one

    _up_options(command("up", _up, "start everything, write .local/env, run until Ctrl-C"))
    _parts(command("demo", _demo, "tell the story: clusters come, change and go, and Argo CD's list follows"))
    status = command("status", _status, "show clusters, memberships, Secrets, queues, functions, faults and events")
    status.add_argument("--json", action="store_true", help="all of it, as JSON")

    calls = command("calls", _calls, "show the calls that the APIs have answered")
    calls.add_argument("--last", type=int, default=40, help="how many (default: 40)")

    fault = command("fault", _fault, "let calls of the emulated APIs fail")
    fault.add_argument("action", choices=["add", "list", "clear"])
    fault.add_argument("--effect", choices=FAULT_EFFECTS, default="status")
    fault.add_argument("--api", default="*", help="container, gkehub, connectgateway, kubernetes, pubsub, platform")
    fault.add_argument("--call", default="*", help="pattern, like 'PATCH */secrets/*'")
    fault.add_argument("--caller", default="*", help="pattern on the e-mail, like 'write-secret@*'")
    fault.add_argument("--status", type=int, default=503, help="the HTTP status of the effect `status`")
    fault.add_argument("--seconds", type=float, default=300.0, help="how long `slow` and `timeout` take")
    fault.add_argument("--skip", type=int, default=0, help="let so many calls pass first")
    fault.add_argument("--times", type=int, default=1, help="how many calls to hit (0: until cleared)")

    event = command("event", _event, "let events be lost, repeated, delayed or held")
    event.add_argument("action", choices=[*EVENT_EFFECTS, "release", "list", "clear"])
    event.add_argument("--event", default="*", help="pattern, like 'DeleteCluster.*blue' or 'membership.updated *'")
    event.add_argument("--copies", type=int, default=5, help="how often `repeat` sends it in all")
    event.add_argument("--seconds", type=float, default=5.0, help="how long `delay` waits")
    event.add_argument("--skip", type=int, default=0, help="let so many events pass first")
    event.add_argument("--times", type=int, default=1, help="how many events to hit (0: until cleared)")
    event.add_argument("--order", help="for `release`: places among the held, like 2,0,1 (default: as they came)")

    attach = command("attach", _attach, "bring a cluster that is not GKE into the fleet")
    attach.add_argument("name")
    attach.add_argument("--location", default="global")
    attach.add_argument("--labels", type=_pairs, default={}, help="k=v,k=v")
    attach.add_argument("--admit", action="store_true", help="let it admit the functions' identities at once")

    admit = command(
        "admit",
        _on_membership("admit"),
        "let an attached cluster admit the functions (what `gcloud container fleet memberships generate-gateway-rbac --apply` does)",
    )
    admit.add_argument("membership", help=CLUSTERS_SHORT)
    admit.add_argument(
        "--users", type=lambda text: text.split(","), help="e-mails (default: the functions that write there)"
    )
    for name, text in (
        ("disconnect", "let the agent of a member be lost"),
        ("reconnect", "let it be back"),
        ("detach", "take a membership away"),
    ):
        command(name, _on_membership(name), text).add_argument("membership", help=CLUSTERS_SHORT)

    function = command("function", _function, "kill, stop or start a function")
    function.add_argument("action", choices=["kill", "stop", "start"])
    function.add_argument("name", help="like write-secret")

    do = command("do", _do, "call what a part offers to tests and people, like `do gke fail_next what=delete`")
    do.add_argument(
        "part", help="gke, fleet, projects, iam, eventarc or cloud: the class of that name says what it offers"
    )
    do.add_argument("method")
    do.add_argument("arguments", nargs="*", metavar="[NAME=]VALUE", help="JSON, or a plain word")
    return parser


def _parts(one: argparse.ArgumentParser) -> None:
    """What can be had embedded, or as itself."""
    one.add_argument(
        "--kube",
        choices=["embedded", "real"],
        default="embedded",
        help="real: a kube-apiserver per cluster (python -m local.real build; some 300 MB each)",
    )
    one.add_argument(
        "--argocd",
        choices=["none", "real"],
        default="none",
        help="real: Argo CD beside it, with the fleet's stories of infra/argocd (needs --kube real)",
    )


def _up_options(up: argparse.ArgumentParser) -> None:
    up.add_argument("--pubsub", choices=["embedded", "emulator"], default="embedded", help="emulator: the Cloud SDK's")
    _parts(up)
    up.add_argument("--central", choices=["gke", "attached"], default="gke", help="attached: it is not a GKE cluster")
    up.add_argument("--spare", type=int, default=1, help="real servers that wait for the next cluster")
    up.add_argument("--selector", default="", help="label selector of the clusters to take in (CLUSTER_SELECTOR)")
    up.add_argument("--label-keys", default="", help="labels to take over (LABEL_KEYS)")
    up.add_argument(
        "--hold", type=int, default=600, help="seconds until a cluster that is not wanted is removed (HOLD)"
    )
    for what in ("create", "delete", "update", "membership"):
        default = 1.0 if what in ("create", "delete") else 0.2
        up.add_argument(
            f"--{what}-seconds", type=float, default=default, help=f"how long it takes (default: {default})"
        )
    up.add_argument("--retry-min", type=float, default=1.0, help="shortest wait of a redelivery (deployed: 10)")
    up.add_argument("--retry-max", type=float, default=10.0, help="longest wait of a redelivery (deployed: 600)")
    up.add_argument("--attempts", type=int, default=20, help="deliveries before a message is dead-lettered (5 to 100)")
    up.add_argument("--token-seconds", type=int, default=3600, help="lifetime of the identities' tokens")
    up.add_argument("--source", type=Path, help="another main.py")
    up.add_argument(
        "--port",
        dest="ports",
        type=_pairs,
        action="append",
        default=[],
        metavar="NAME=N",
        help="a fixed port: container, gkehub, connectgateway, kubernetes, platform, pubsub, pubsub-grpc, control (default: free ones)",
    )
    up.add_argument(
        "--setting",
        dest="settings",
        type=lambda text: dict([text.split("=", 1)]),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other setting of the functions",
    )


def _pairs(text: str) -> dict[str, str]:
    pairs = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    if not pairs:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form k=v,k=v")
    return pairs


def _find(options: argparse.Namespace) -> LocalCloud:
    return LocalCloud.from_env(options.directory)


def _up(options: argparse.Namespace) -> int:
    # Only this command needs the whole cloud: the others stay quick.
    from local.cloud import Cloud
    from local.config import Config
    from local.control import control_app
    from local.google.pubsub.sdk import UnavailableError
    from local.processes import StartError
    from local.real.build import MissingError

    given = {f.name: getattr(options, f.name) for f in fields(Config) if getattr(options, f.name, None) is not None}
    given["ports"] = {name: int(port) for pair in options.ports for name, port in pair.items()}
    given["settings"] = {name: value for pair in options.settings for name, value in pair.items()}
    cloud = Cloud(Config(**given), control_app)

    async def run() -> int:
        stop = asyncio.Event()
        for signal_ in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signal_, stop.set)
        starting, stopping = asyncio.create_task(cloud.start()), asyncio.create_task(stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
            return 0
        await starting
        # What start-up has made stays: the collector need not look at it again and again while requests wait.
        gc.freeze()
        _tell(cloud.endpoints(), cloud.directory)
        ends: list[asyncio.Future[Any]] = [cloud.died, stopping]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        print("stopping …", flush=True)
        await cloud.stop()
        if cloud.died.done():
            print(f"local: {cloud.died.result()}", file=sys.stderr)
            return 1
        return 0

    try:
        return asyncio.run(run())
    except (MissingError, StartError, UnavailableError) as error:
        print(f"local: {error}", file=sys.stderr)
        return 1


def _demo(options: argparse.Namespace) -> int:
    from local import demo

    return demo.main(options)


def _tell(endpoints: dict[str, str], directory: Path) -> None:
    width = max(map(len, endpoints))
    for name, url in endpoints.items():
        print(f"  {name:{width}}  {url}")
    print(f"\nready: source {_short(directory / 'env')}; logs in {_short(directory / 'log')}; Ctrl-C stops", flush=True)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _status(options: argparse.Namespace) -> None:
    state = _find(options).state()
    if options.json:
        print(json.dumps(state, indent=2))
        return
    _table(
        "clusters",
        ["name", "status", "labels"],
        [[n, c["status"], _labels(c["resourceLabels"])] for n, c in state["clusters"].items()],
    )
    _table(
        "memberships",
        ["name", "state", "cluster"],
        [
            [
                name,
                m["state"] if m["connected"] else f"{m['state']}, agent lost",
                (m["cluster"] or "attached").removeprefix("//container.googleapis.com/"),
            ]
            for name, m in state["memberships"].items()
        ],
    )
    _table(
        "Secrets",
        ["name", "held", "server"],
        [
            [s["data.name"], (s["annotations"] or {}).get("fleet-registrar/held", ""), s["data.server"]]
            for s in state["secrets"]
            if "data.server" in s
        ],
    )
    _table(
        "queues",
        ["subscription", "waiting", "in flight", "delivered", "dead-lettered"],
        [[n, q["backlog"], q["in_flight"], q["deliveries"], q["dead_lettered"]] for n, q in state["queues"].items()],
    )
    _table(
        "functions",
        ["name", "pid", "log"],
        [[n, f["pid"] or "not running", f["log"]] for n, f in state["functions"].items()],
    )
    _table(
        "faults",
        ["id", "effect", "api", "call", "caller", "hits"],
        [[f[k] for k in ("id", "effect", "api", "call", "caller", "hits")] for f in state["faults"]],
    )
    _table(
        "events on their way",
        ["event", "state", "attempts", "answer"],
        [
            [e["name"], e["state"], e["attempts"], e["answer"]]
            for e in state["events"]["log"]
            if e["state"] in ("waiting", "held", "dropped")
        ],
    )


def _table(title: str, heads: list[str], rows: list[list[Any]]) -> None:
    print(f"\n{title}: {'' if rows else 'none'}")
    lines = [[str(cell) for cell in row] for row in ([heads, *rows] if rows else [])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _labels(labels: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in (labels or {}).items())


def _calls(options: argparse.Namespace) -> None:
    keys = ("status", "method", "path", "caller")
    _table(
        "calls",
        ["api", *keys],
        [[c["api"], *(c[key] for key in keys)] for c in _find(options).calls()[-options.last :]],
    )


def _fault(options: argparse.Namespace) -> None:
    cloud = _find(options)
    if options.action == "clear":
        cloud.remove_faults()
    elif options.action == "list":
        print(json.dumps(cloud.state()["faults"], indent=2))
    else:
        given = {
            key: getattr(options, key)
            for key in ("effect", "api", "call", "caller", "status", "seconds", "skip", "times")
        }
        print(cloud.add_fault(**given)["id"])


def _event(options: argparse.Namespace) -> None:
    cloud = _find(options)
    match options.action:
        case "clear":
            cloud.remove_knobs()
        case "list":
            print(json.dumps(cloud.state()["events"], indent=2))
        case "release":
            order = [int(place) for place in options.order.split(",")] if options.order else None
            print("\n".join(cloud.release(order)))
        case effect:
            given = {key: getattr(options, key) for key in ("event", "copies", "seconds", "skip", "times")}
            print(cloud.add_knob(effect, **given)["id"])


def _attach(options: argparse.Namespace) -> None:
    print(_find(options).attach(options.name, options.location, options.labels, admit=options.admit))


def _on_membership(method: str) -> Any:
    def run(options: argparse.Namespace) -> None:
        cloud = _find(options)
        found = [name for name in cloud.state()["memberships"] if options.membership in (name, name.rpartition("/")[2])]
        if len(found) != 1:
            raise ControlError(
                f"{options.membership} names {len(found)} memberships: {', '.join(found) or 'see status'}"
            )
        more = {"users": options.users} if method == "admit" else {}
        getattr(cloud, method)(found[0], **more)

    return run


def _function(options: argparse.Namespace) -> None:
    _find(options).do("cloud", f"{options.action}_function", name=options.name)


def _do(options: argparse.Namespace) -> None:
    plain = [_value(argument) for argument in options.arguments if "=" not in argument]
    pairs = (argument.partition("=") for argument in options.arguments if "=" in argument)
    named = {name: _value(text) for name, _, text in pairs}
    answer = _find(options).do(options.part, options.method, *plain, **named)
    if answer is not None:
        print(json.dumps(answer, indent=2))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
