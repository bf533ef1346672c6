"""`up` and `demo`: run a local cloud."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local import ports
from local.commands.options import UsageError, add_command, number, port, seconds, setting
from local.commands.seeds import read_seed
from local.control import ControlError

if TYPE_CHECKING:
    from local.commands.options import Commands


def add(commands: Commands) -> None:
    """Add the commands."""
    _up_options(add_command(commands, "up", _up, "start everything, write .local/env, run until Ctrl-C"))
    demo = "run the demo: clusters are created, changed and deleted, and Argo CD's list follows"
    _parts(add_command(commands, "demo", _demo, demo, directory=False))


def _parts(one: argparse.ArgumentParser) -> None:
    """Add the options for the parts that can be embedded or real."""
    one.add_argument(
        "--kube",
        choices=["embedded", "real"],
        default="embedded",
        help="real: a kube-apiserver per cluster, about 300 MB each (build it: python -m local.real build)",
    )
    one.add_argument(
        "--argocd",
        choices=["none", "real"],
        default="none",
        help="real: also Argo CD, with the examples of infra/argocd (needs --kube real)",
    )


def _up_options(up: argparse.ArgumentParser) -> None:
    up.add_argument(
        "--pubsub", choices=["embedded", "emulator"], default="embedded", help="emulator: the Cloud SDK's emulator"
    )
    _parts(up)
    up.add_argument(
        "--central", choices=["gke", "attached"], default="gke", help="attached: the central cluster is outside GKE"
    )
    up.add_argument(
        "--registration",
        choices=["create", "wait"],
        default="create",
        help="wait: the functions register no cluster (REGISTRATION)",
    )
    up.add_argument(
        "--staging",
        action="store_true",
        help="a second fleet, demo-staging, whose own functions write to the same Argo CD; its settings are in env-staging",
    )
    up.add_argument(
        "--spare", type=number(0, 20), default=1, help="kube-apiservers that are started in advance (default: 1)"
    )
    up.add_argument("--selector", default="", help="label selector of the clusters to register (CLUSTER_SELECTOR)")
    up.add_argument("--label-keys", default="", help="labels to copy to the Secret (LABEL_KEYS)")
    up.add_argument("--hold", type=number(0), default=600, help="seconds until an unselected cluster is removed (HOLD)")
    for what in ("create", "delete", "update", "membership"):
        default = 1.0 if what in ("create", "delete") else 0.2
        up.add_argument(
            f"--{what}-seconds", type=seconds, default=default, help=f"seconds that it takes (default: {default})"
        )
    up.add_argument(
        "--retry-min", type=_back_off, default=1.0, help="shortest delay of a redelivery in seconds (deployed: 10)"
    )
    up.add_argument(
        "--retry-max", type=_back_off, default=10.0, help="longest delay of a redelivery in seconds (deployed: 600)"
    )
    up.add_argument(
        "--attempts", type=number(5, 100), default=20, help="deliveries before a message is dead-lettered (5 to 100)"
    )
    up.add_argument(
        "--pull-seconds", type=seconds, default=3.0, help="how long a pull waits for a first message (default: 3.0)"
    )
    up.add_argument("--quotas", action="store_true", help="Connect Gateway enforces its quota: 2,400 requests a minute")
    up.add_argument("--token-seconds", type=number(1), default=3600, help="lifetime of access tokens in seconds")
    up.add_argument(
        "--sweep-every", type=seconds, default=60.0, help="seconds between sweeps (0: no schedule; deployed: 900)"
    )
    up.add_argument("--seed", type=Path, metavar="FILE", help="create the clusters of a file first (local/seed.py)")
    up.add_argument("--source", type=Path, metavar="FILE", help="the functions' main.py, if another one")
    up.add_argument(
        "--port",
        dest="ports",
        type=port,
        action="append",
        default=[],
        metavar="NAME=N",
        help=f"use another port than the fixed one: {', '.join(ports.APIS)}, 'metadata sweep', 'function sweep' …",
    )
    up.add_argument("--free-ports", action="store_true", help="use free ports, for several clouds at the same time")
    up.add_argument(
        "--setting",
        dest="settings",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the functions (docs/configuration.md)",
    )


def _back_off(text: str) -> float:
    """Read a wait of a retry policy, which Pub/Sub limits to 600 seconds."""
    wait = seconds(text)
    if wait > 600:
        raise argparse.ArgumentTypeError(f"{text!r} is more than 600 seconds")
    return wait


def _up(options: argparse.Namespace) -> int:
    # Only this command needs the whole cloud: the others stay quick.
    import uvloop

    from local import seed
    from local.cloud import Cloud
    from local.config import Config
    from local.control_api import control_app
    from local.functions import offered, settings_errors
    from local.google.pubsub.sdk import UnavailableError
    from local.processes import StartError
    from local.real.build import MissingError

    given = {f.name: getattr(options, f.name) for f in fields(Config) if getattr(options, f.name, None) is not None}
    fixed = {} if options.free_ports else ports.defaults()
    given["ports"] = fixed | {name: port for pair in options.ports for name, port in pair.items()}
    given["settings"] = {name: value for pair in options.settings for name, value in pair.items()}
    if options.retry_min > options.retry_max:
        raise UsageError("--retry-min must not exceed --retry-max")
    if options.seed is not None:
        given["seed"] = read_seed(options.seed)
        try:
            seed.checked(given["seed"])
        except ValueError as error:
            raise UsageError(f"--seed: {error}") from error
    if options.source is not None:
        try:
            offered(options.source)
        except OSError as error:
            raise UsageError(f"--source {options.source}: {error.strerror}") from error
        except (SyntaxError, ValueError) as error:  # ValueError: not text
            raise UsageError(f"--source {options.source} is not Python: {error}") from error
    config = Config(**given)
    if options.settings or options.selector or options.label_keys:
        errors = settings_errors(config.source, {**config.base_settings(), **config.settings})
        if errors:
            raise UsageError(errors)
    cloud = Cloud(config, control_app)

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
        try:
            _print_endpoints(cloud.endpoints(), cloud.directory)
            ends: list[asyncio.Future[Any]] = [cloud.died, stopping]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            print("stopping …", flush=True)
        finally:
            await cloud.stop()
        if cloud.died.done():
            print(f"local: {cloud.died.result()}", file=sys.stderr)
            return 1
        return 0

    try:
        return uvloop.run(run())
    except ports.PortInUseError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        what = f"{error.filename or config.directory}: {error.strerror or error}"
        raise ControlError(
            f"{what}. The local cloud writes into {config.directory}: make that possible, or take another --directory"
        ) from error
    except (MissingError, StartError, UnavailableError) as error:
        print(f"local: {error}", file=sys.stderr)
        return 1


def _demo(options: argparse.Namespace) -> int:
    from local import demo

    return demo.main(options)


def _print_endpoints(endpoints: dict[str, str], directory: Path) -> None:
    width = max(map(len, endpoints))
    for name, url in endpoints.items():
        print(f"  {name:{width}}  {url}")
    if "status page" in endpoints:
        print(f"\nstatus page: {endpoints['status page']}/")
    print(f"\nready: source {_short(directory / 'env')}; logs in {_short(directory / 'log')}; Ctrl-C stops", flush=True)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
