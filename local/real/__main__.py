"""The command line of the real parts: `python -m local.real build`, and `run COMMAND` with a cluster to talk to."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from local.processes import StartError
from local.real import build
from local.reserved_port import HOST


def command_line() -> argparse.ArgumentParser:
    """Return the parser of `python -m local.real`."""
    parser = argparse.ArgumentParser(prog="python -m local.real", description="kube-apiserver and Argo CD themselves.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    one = commands.add_parser("build", help="build what is not in the cache yet")
    one.add_argument("parts", nargs="*", choices=[*build.PARTS, []], help="default: all of them")
    run = commands.add_parser(
        "run", help="run a command with KUBE_API_SERVER, KUBE_API_TOKEN and KUBE_API_CA of a fresh real cluster"
    )
    run.add_argument("line", nargs=argparse.REMAINDER, metavar="COMMAND …")
    return parser


def main() -> int:
    """Run one command and return its exit code."""
    options = command_line().parse_args()
    try:
        if options.command == "run":
            return asyncio.run(_run(options.line[options.line[:1] == ["--"] :]))
        parts = [build.PARTS[name] for name in options.parts] or list(build.PARTS.values())
        build.require(*parts)  # before minutes are spent on the first
        for part in parts:
            before = build.built(part)
            home = build.build(part)
            if before:
                print(f"{part.name} {part.version}: {home}")
    except (build.MissingError, StartError) as error:
        print(f"local.real: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(line: list[str]) -> int:
    from local.certificates import Authority
    from local.real.kubernetes import ControlPlanes

    with tempfile.TemporaryDirectory(prefix="real-") as folder:
        authority, home = Authority(), Path(folder)
        files = {name: home / name for name in ("server.pem", "server.key", "ca.pem")}
        for file, content in zip(files.values(), (*authority.issue(HOST, "localhost"), authority.pem), strict=True):
            file.touch(mode=0o600)
            file.write_bytes(content)
        planes = ControlPlanes(home / "kubernetes", *files.values(), spare=0)
        try:
            await planes.start()
            cluster = planes.cluster("run", None)
            await cluster.ready()
            variables = {
                "KUBE_API_SERVER": cluster.url,
                "KUBE_API_TOKEN": cluster.admin_token,
                "KUBE_API_CA": str(files["ca.pem"]),
            }
            process = await asyncio.create_subprocess_exec(*line, env=os.environ | variables)
            return await process.wait()
        finally:
            await planes.stop()


if __name__ == "__main__":
    sys.exit(main())
