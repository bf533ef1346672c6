"""The real gcloud, started once: it imports its packages, makes its tree of commands, and forks each command.

It saves half a second of processor time for each command (`tests/forking.py`).
gcloud's own start script starts the server, with the Python that it chooses.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import importlib.util
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

from tests import forking

# What many commands import when they run. A version of gcloud may lack one of them.
CLIENTS = (
    "apitools.base.py.base_api",
    "google.oauth2.credentials",
    "googlecloudsdk.api_lib.container.api_adapter",
    "googlecloudsdk.api_lib.container.fleet.client",
    "googlecloudsdk.api_lib.pubsub.subscriptions",
    "googlecloudsdk.api_lib.pubsub.topics",
    "googlecloudsdk.command_lib.concepts.concept_managers",
    "googlecloudsdk.command_lib.container.flags",
    "googlecloudsdk.command_lib.iam.iam_util",
    "googlecloudsdk.command_lib.projects.util",
    "googlecloudsdk.command_lib.pubsub.resource_args",
    "googlecloudsdk.command_lib.util.concepts.concept_parsers",
    "googlecloudsdk.core.credentials.google_auth_credentials",
    "googlecloudsdk.core.credentials.requests",
    "googlecloudsdk.core.credentials.transports",
    "googlecloudsdk.core.document_renderers.render_document",
    "googlecloudsdk.core.updater.update_manager",
    "googlecloudsdk.generated_clients.apis.container.v1.container_v1_client",
    "googlecloudsdk.generated_clients.apis.gkehub.v1.gkehub_v1_client",
    "googlecloudsdk.generated_clients.apis.pubsub.v1.pubsub_v1_client",
    "proto",
)


@functools.cache
def server() -> forking.Server | None:
    """Return the server of this process; None where there can be none."""
    program = shutil.which("gcloud")
    if not forking.POSSIBLE or not program:
        return None
    found = forking.Server(
        "gcloud", ["gcloud"], {"PATH": os.environ["PATH"], "CLOUDSDK_PYTHON_ARGS": f"-S -m {__name__}"}
    )
    if found.is_ours:
        found.write_command(Path(found.directory, "gcloud"), program)
    return found


def path() -> str:
    """Return a PATH whose `gcloud` is forked; this process's own PATH where that is not possible."""
    here, forks = os.environ["PATH"], server()
    return here if forks is None else f"{forks.directory}{os.pathsep}{here}"


def _serve(program: str, listener: socket.socket) -> None:
    """Serve commands in gcloud's own Python; `program` is the file that its start script runs."""
    if not forking.is_needed(listener):
        return
    sys.path.remove(str(Path.cwd()))
    given = ("HOME", "PATH", "CLOUDSDK_PYTHON_ARGS")
    started = {name: value for name, value in os.environ.items() if name not in given}
    spec = importlib.util.spec_from_file_location("gcloud", program)
    assert spec is not None
    assert spec.loader is not None
    gcloud: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gcloud)
    main: Any = importlib.import_module("googlecloudsdk.gcloud_main")
    configurations: Any = importlib.import_module("googlecloudsdk.core.configurations.named_configs")
    for name in CLIENTS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    tree = main.CreateCLI([])
    main.CreateCLI = lambda *_: tree  # the linter would make two for each command that it checks
    gc.freeze()  # or each child's collector would look through all of it, and copy it
    words = forking.next_words(listener)
    os.environ.update(started)  # what the start script sets
    configurations.ActivePropertiesFile.Invalidate()  # its packages have read the server's
    sys.argv = [program, *words]
    forking.end(gcloud.main)


if __name__ == "__main__":
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
