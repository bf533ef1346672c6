"""A cluster that answers one byte at a time costs its own message, not the instance that serves the others.

`grant-rbac` runs as it is deployed: functions-framework and gunicorn with four threads, and a stub for Google and the clusters.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.reserved_port import ReservedPort
from tests.unit.stub import Handler, Stub, sends, serving
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
THREADS = 4
FLEET = "projects/demo-fleet/locations/global/memberships"
# The function itself, with less patience: its own 20 s would make this test long. `good` answers at once, also on a busy machine.
SOURCE = "from shared.clients import transport\ntransport.ANSWER_SECONDS = 4.0\nfrom main import grant_rbac\n"


def google(stub: Stub, handler: Handler) -> None:
    """Answer as the metadata server, the fleet, the gateway and two clusters: `good`, and `slow`, which drips."""
    path = handler.path.partition("?")[0]
    flavor: Any = {"Metadata_Flavor": "Google"}
    if path.endswith("/token"):
        sends({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}, **flavor)(handler)
    elif path.startswith("/computeMetadata") and "recursive" in handler.path:
        sends({"email": "grant-rbac@x.iam.gserviceaccount.com", "aliases": [], "scopes": []}, **flavor)(handler)
    elif path == "/" or path.startswith("/computeMetadata"):
        sends(b"x", Content_Type="text/plain", **flavor)(handler)
    elif "/memberships/slow/" in path:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stub.stopped.wait(0.2):
            handler.wfile.write(b" ")
    elif "/memberships/good/" in path:
        sends({"error": {"code": 503, "status": "UNAVAILABLE", "message": "no cluster here"}}, 503)(handler)
    else:
        name = path.rpartition("/")[2]
        sends({"name": f"{FLEET}/{name}", "uniqueId": name, "state": {"code": "READY"}})(handler)


@pytest.fixture
def function(tmp_path: Path) -> Iterator[tuple[Stub, int]]:
    with ExitStack() as stack:
        stub = stack.enter_context(serving())
        stub.give(lambda handler: google(stub, handler))
        host = stub.url.removeprefix("http://")
        (tmp_path / "impatient.py").write_text(SOURCE)
        reserved = ReservedPort()
        stack.callback(reserved.release)
        port = reserved.number
        endpoints = ("CONTAINER", "GKEHUB", "CONNECTGATEWAY")
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "FLEET_PROJECT": "demo-fleet",
            "FLEET_PROJECT_NUMBER": "1",
            "CENTRAL_MEMBERSHIP": f"{FLEET}/central",
            "ARGOCD_SERVICE_ACCOUNT": "argocd@demo-fleet.iam.gserviceaccount.com",
            **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": f"{stub.url}/" for name in endpoints},
            "PUBSUB_EMULATOR_HOST": host,
            **dict.fromkeys(("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT"), host),
            "THREADS": str(THREADS),
            "CLOUD_RUN_TIMEOUT_SECONDS": "240",
        }
        command = [sys.executable, "-m", "functions_framework", "--target", "grant_rbac", "--source", "impatient.py"]
        log = stack.enter_context((tmp_path / "log").open("wb"))
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            start_new_session=True,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: answers(port))
            yield stub, port
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_dripping_cluster_leaves_the_instance_to_others(function: tuple[Stub, int]) -> None:
    stub, port = function
    assert push(port, "good") == 503
    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(push, [port] * THREADS, ["slow"] * THREADS)) == [503] * THREADS
    assert push(port, "good") == 503
    reached = [seen.path for seen in stub.seen if "clusterrolebindings" in seen.path]
    assert [("slow" if "/slow/" in path else "good") for path in reached] == ["good", *["slow"] * THREADS, "good"]


def push(port: int, membership: str) -> int:
    """Deliver a message about a membership, as Pub/Sub pushes it; the answer's status, or TimeoutError after 100 s."""
    message: dict[str, Any] = {
        "data": base64.b64encode(json.dumps({"membership": f"{FLEET}/{membership}"}).encode()).decode(),
        "messageId": "1",
        "publishTime": "2026-11-24T09:00:00Z",
        "attributes": {},
    }
    body = json.dumps({"message": message, "subscription": "projects/demo-fleet/subscriptions/grant-rbac"})
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=100)) as connection:
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        return connection.getresponse().status


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
