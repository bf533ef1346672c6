"""A function's process imports what it uses, and leaves out what the official clients import for others."""

from __future__ import annotations

import atexit
import functools
import subprocess
import sys
from pathlib import Path

import pytest

from shared.runtime.lazy_imports import ABSENT, LAZY

ROOT = Path(__file__).parents[2]
CLIENTS = (
    "import main, google.auth, google.auth.transport.requests,"
    " shared.clients.registration, shared.clients.gateway, shared.clients.publisher"
)


def printed(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.stdout.strip()


# Each program, a line, has a process of its own, forked from one that has imported `main` and nothing else.
FORKING = """
import os, sys, main
for program in sys.stdin:
    if os.fork() == 0:
        exec(eval(program), {})
        sys.exit()
    print("\\0", os.wait()[1], flush=True)
"""


@functools.cache
def after_main() -> subprocess.Popen[str]:
    """The process that forks."""
    pipe, command = subprocess.PIPE, [sys.executable, "-c", FORKING]
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    atexit.register(process.communicate)
    return process


def printed_after_main(program: str) -> str:
    """What a program prints in a process that has imported `main`."""
    process = after_main()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{program!r}\n")
    process.stdin.flush()
    lines: list[str] = []
    for line in process.stdout:
        if line == "\0 0\n":
            return "".join(lines).strip()
        lines.append(line)
        assert not line.startswith("\0"), "".join(lines)
    raise AssertionError("".join(lines))


@functools.cache
def loaded() -> frozenset[str]:
    """The modules of a process that has imported what the functions import."""
    found = frozenset(printed_after_main(f"import sys; {CLIENTS}; print(*sys.modules)").split())
    assert "main" in found
    return found


def touch(name: str) -> str:
    return f"import importlib; found = importlib.import_module({name!r}); print(found.__doc__ is None, len(dir(found)) > 10)"


@pytest.mark.parametrize(
    "package",
    [
        "aiohttp",
        "cryptography",
        "dateutil",
        "oauthlib",
        "pydantic",
        "websocket",
        "yaml.loader",
        "kubernetes.client.models",
    ],
)
def test_a_function_starts_without(package: str) -> None:
    assert package not in loaded()


def test_other_processes_import_as_always() -> None:
    assert (
        printed(
            "import sys, shared.clients.registration, shared.clients.gateway; print('cryptography' in sys.modules, 'yaml.loader' in sys.modules)"
        )
        == "True True"
    )


def test_what_is_left_for_later_is_there_when_it_is_touched_after_all() -> None:
    """Each module is touched in a process in which no other one was: a module may import the next."""
    names = sorted(LAZY)
    lazily = [printed_after_main(touch(name)) for name in names]
    eagerly = printed("\n".join(map(touch, names))).splitlines()
    assert dict(zip(names, lazily, strict=True)) == dict(zip(names, eagerly, strict=True))


def test_an_absent_package_raises_as_if_not_installed() -> None:
    absent = sorted(ABSENT)
    programs = [f"try:\n  import {name}\nexcept ModuleNotFoundError as error:\n  print(error.name)" for name in absent]
    assert [printed_after_main(program) for program in programs] == absent


def test_who_only_reads_memberships_does_without_the_fleets_client() -> None:
    functions = ["grant_rbac", "write_secret", "remove_secret", "revoke_rbac", "sweep"]
    program = "\n".join(
        [
            "import sys, shared.clients.fleet",
            *(f"import functions.{name}; print('google.cloud.gkehub_v1' in sys.modules)" for name in functions),
        ]
    )
    assert printed_after_main(program).split() == ["False"] * len(functions)


def test_reading_starts_without_the_publishers_packages() -> None:
    program = (
        "import sys, main, functions.write_secret, functions.sweep, shared.clients.argocd_secrets, shared.clients.fleet,"
        " shared.clients.gke, shared.clients.grant_signer; print(*sys.modules)"
    )
    assert {"google.api_core", "google.protobuf", "grpc"} & {*printed_after_main(program).split()} == set()


def test_the_collector_does_not_run_while_the_clients_load() -> None:
    program = f"import gc, main; before = gc.get_stats(); {CLIENTS}; print(gc.get_stats() == before)"
    assert printed_after_main(program) == "True"


def test_threads_that_need_a_lazy_module_at_once_all_get_it() -> None:
    """A proof that reaches Google's certificates was decoded; a half-loaded module would make it an invalid proof."""
    program = """
import base64, sys, threading
from shared.clients.grant_signer import GrantSigner

class Signer(GrantSigner):
    def _fetch(self, request):
        raise LookupError("asked for the certificates")

def verify():
    start.wait()
    try:
        Signer("a@b").verify_grant(token, "audience")
    except LookupError:
        decoded.append(1)

sys.setswitchinterval(1e-6)
part = base64.urlsafe_b64encode(b'{"kid": "k"}').decode()
token, decoded, start = f"{part}.{part}.{part}", [], threading.Barrier(8)
threads = [threading.Thread(target=verify) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(decoded))
"""
    assert printed_after_main(program) == "8"
