"""A local cloud for other projects' tests: a pytest fixture, and the clusters that an ApplicationSet selects.

`from local.testing import cloud` in a test module or conftest.py. One cloud runs for all tests of the process, on free ports;
each test begins with an empty one.
"""

from __future__ import annotations

import atexit
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from local.control import LocalCloud
from local.names import CENTRAL_CLUSTER, ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRETS = "/api/v1/namespaces/argocd/secrets"
QUICK = ("--create-seconds=0.1", "--delete-seconds=0.1", "--membership-seconds=0.1", "--sweep-every=0")
_OPERATORS = {"In": "in", "NotIn": "notin"}
_running: list[LocalCloud] = []


@pytest.fixture
def cloud() -> LocalCloud:
    """Return an empty local cloud."""
    if not _running:
        _running.append(_start())
    _running[0].reset()
    return _running[0]


def selected(cloud: LocalCloud, selector: Mapping[str, Any]) -> list[str]:
    """Return the names of the clusters that the cluster generator of an ApplicationSet finds by its selector.

    `selector` has `matchLabels` and `matchExpressions`; the Kubernetes API of the central cluster evaluates it.
    """
    terms = ["argocd.argoproj.io/secret-type=cluster"]
    terms += [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
    for one in selector.get("matchExpressions", []):
        key, operator = one["key"], one["operator"]
        if operator in _OPERATORS:
            terms.append(f"{key} {_OPERATORS[operator]} ({','.join(one['values'])})")
        else:
            terms.append(key if operator == "Exists" else f"!{key}")
    path = f"{SECRETS}?labelSelector={quote(','.join(terms))}"
    status, found = cloud.kubernetes(CENTRAL_CLUSTER, "GET", path)
    if status != 200:
        raise ValueError(f"selector {dict(selector)}: {found.get('message')}")
    names = {secret["metadata"]["name"] for secret in found["items"]}
    return sorted(secret["data.name"] for secret in cloud.secrets() if secret["name"] in names)


def _start() -> LocalCloud:
    """Start a cloud that ends with this process; return it once it is ready."""
    folder = tempfile.TemporaryDirectory(prefix="local-cloud-")
    command = [sys.executable, "-m", "local", "up", "--free-ports", "--directory", folder.name, *QUICK]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def stop() -> None:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        folder.cleanup()

    atexit.register(stop)
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if line.startswith("ready:"):
            return LocalCloud.from_env(Path(folder.name))
    raise RuntimeError(f"the local cloud did not start:\n{''.join(lines)}")
