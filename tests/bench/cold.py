"""Cold starts: spawn → first answer to a real event, beside an empty function and one that imports the same clients.

Warm page cache, compiled modules; all three as `local/` (and nearly as Cloud Run) starts them. What is measured of ours
includes the first token, the connections and all the step's calls; what is not: fetching and starting a container.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from local.functions import Function
from tests.bench.cloud import ROOT, TEAMS, environment
from tests.bench.table import Noise, Row

if TYPE_CHECKING:
    from tests.chain.running import Chain

FLOORS = Path(__file__).parent / "floors" / "main.py"
SESSION, FLEET, KUBERNETES, PUBSUB = (
    "google.auth.transport.requests",
    "google.cloud.gkehub_v1",
    "kubernetes.client",
    "google.pubsub_v1.services.publisher",
)
# The official clients that each function uses for the event that it is given here.
CLIENTS = {
    "route_event": (PUBSUB,),
    "register_membership": (SESSION, FLEET, PUBSUB),
    "grant_rbac": (SESSION, KUBERNETES, PUBSUB),
    "write_secret": (SESSION, KUBERNETES, PUBSUB),
    "remove_secret": (SESSION, KUBERNETES, PUBSUB),
    "revoke_rbac": (SESSION, KUBERNETES, PUBSUB),
    "unregister_membership": (SESSION, FLEET, PUBSUB),
    "sweep": (SESSION, KUBERNETES),
}
OF_EMPTY, OF_CLIENTS = 2.5, 1.15


class Starts(NamedTuple):
    """Seconds of three cold starts, one directly after the other."""

    empty: float
    clients: float
    ours: float


def measured(chain: Chain, home: Path, rounds: int, targets: tuple[str, ...], noise: Noise) -> list[Row]:
    """The rows. Each round starts all of them, by turns. The cloud's own are stopped, and stay so."""
    living = chain.create_cluster("cold", project=TEAMS[0], labels={"env": "prod"})
    chain.onboarded(living)
    chain.wait_quiet()
    names = {target: target.replace("_", "-") for target in targets}
    for name in names.values():
        chain.stop_function(name)  # what is measured has the machine, and the message, for itself
    chain.add_event_rule("lose", times=0)
    starts: dict[str, list[Starts]] = {target: [] for target in targets}
    for round_ in range(-1, rounds):
        fresh = chain.create_cluster(f"cold-{round_ + 1}", project=TEAMS[0], labels={"env": "prod"})
        chain.running(fresh)
        for target, name in names.items():
            asked = living
            if target == "register_membership":  # registers it
                asked = fresh
            elif target in ("remove_secret", "revoke_rbac", "unregister_membership"):  # the last of them unregisters it
                if chain.state()["clusters"].get(fresh):
                    chain.delete_cluster(fresh, seconds=0)
                    chain.gone(fresh)
                asked = fresh
            body = json.dumps({} if target == "sweep" else {"cluster": asked})
            clients = {"BENCH_CLIENTS": ",".join(CLIENTS[target])}
            three = (
                _function("empty", FLOORS, home, {}),
                _function("clients", FLOORS, home, clients),
                _function(target, ROOT / "main.py", home, environment(chain, name, home)),
            )
            one = Starts(*(_answered(function, body, name) for function in three))
            if target in ("register_membership", "unregister_membership"):  # what is measured is that it acts
                assert bool(chain.membership(fresh)) is (target == "register_membership")
            if round_ >= 0:  # the first is not counted: it compiles, and fills the page cache
                starts[target].append(one)
            noise.sample()
    return [row for target in targets for row in _rows(names[target], starts[target])]


def _rows(name: str, starts: list[Starts]) -> list[Row]:
    taken = statistics.median(one.ours for one in starts)
    rows = []
    for text, hold in (("empty", OF_EMPTY), ("clients", OF_CLIENTS)):
        against = [getattr(one, text) for one in starts]
        # Start by start: the machine's speed changes from one minute to the next, and hits all three alike.
        ratio = statistics.median(one.ours / floor for one, floor in zip(starts, against, strict=True))
        label = "empty function" if text == "empty" else "same clients imported"
        rows.append(
            Row(
                f"cold start: {name}",
                f"{taken * 1000:,.0f} ms (median of {len(starts)})",
                f"{label}: {statistics.median(against) * 1000:,.0f} ms",
                ratio,
                f"<= {hold:g} x",
                ratio <= hold,
            )
        )
    return rows


def _function(target: str, source: Path, home: Path, variables: dict[str, str]) -> Function:
    return Function(target, source, home / f"{target}.log", {"HOME": str(home), **variables})


def _answered(function: Function, body: str, step: str) -> float:
    """Start it, and return the seconds until it has answered one event well."""
    function.close()
    data = _entry(json.loads(body)["cluster"]) if step == "route-event" else json.loads(body)
    message = {"data": base64.b64encode(json.dumps(data).encode()).decode(), "messageId": "1", "publishTime": _now()}
    push = {"message": message, "subscription": f"projects/demo-fleet/subscriptions/{step}"}
    headers = {"Content-Type": "application/json"}
    with function.log.open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            function.program(),
            cwd=ROOT,
            env=function.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            status = _posted(function.port, json.dumps(push), headers, began + 30)
            taken = time.perf_counter() - began
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert status == 200, f"{step} answered {status}:\n{function.tail()}"
    return taken


def _posted(port: int, body: str, headers: dict[str, str], deadline: float) -> int:
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", "/", body, headers)
            return connection.getresponse().status
        except ConnectionError:
            if time.perf_counter() > deadline:
                raise
            time.sleep(0.002)
        finally:
            connection.close()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _entry(cluster: str) -> dict[str, object]:
    """A CreateCluster entry that has ended well, as a log sink delivers it."""
    _, project, _, location, _, name = cluster.split("/")
    return {
        "logName": f"projects/{project}/logs/cloudaudit.googleapis.com%2Factivity",
        "resource": {
            "type": "gke_cluster",
            "labels": {"project_id": project, "location": location, "cluster_name": name},
        },
        "operation": {"id": "operation-1", "producer": "container.googleapis.com", "last": True},
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": "container.googleapis.com",
            "methodName": "google.container.v1.ClusterManager.CreateCluster",
            "resourceName": f"projects/{project}/zones/{location}/clusters/{name}",
        },
    }
