"""A function's process imports what it uses, and leaves out what the official clients import for others."""

from __future__ import annotations

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


@functools.cache
def loaded() -> frozenset[str]:
    """The modules of a process that has imported what the functions import."""
    found = frozenset(printed(f"import sys; {CLIENTS}; print(*sys.modules)").split())
    assert "main" in found
    return found


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


@pytest.mark.parametrize("name", sorted(LAZY))
def test_what_is_left_for_later_is_there_when_it_is_touched_after_all(name: str) -> None:
    touch = f"import importlib, main; found = importlib.import_module({name!r}); print(found.__doc__ is None, len(dir(found)) > 10)"
    plain = touch.replace(", main", "")
    assert printed(touch) == printed(plain)


@pytest.mark.parametrize("name", sorted(ABSENT))
def test_an_absent_package_raises_as_if_not_installed(name: str) -> None:
    program = f"import main\ntry:\n  import {name}\nexcept ModuleNotFoundError as error:\n  print(error.name)"
    assert printed(program) == name


@pytest.mark.parametrize("function", ["grant_rbac", "write_secret", "remove_secret", "revoke_rbac", "sweep"])
def test_who_only_reads_memberships_does_without_the_fleets_client(function: str) -> None:
    program = (
        f"import sys, main, functions.{function}, shared.clients.fleet; print('google.cloud.gkehub_v1' in sys.modules)"
    )
    assert printed(program) == "False"


def test_threads_that_need_a_lazy_module_at_once_all_get_it() -> None:
    """A proof that reaches Google's certificates was decoded; a half-loaded module would make it an invalid proof."""
    program = """
import base64, sys, threading, main
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
    assert printed(program) == "8"
