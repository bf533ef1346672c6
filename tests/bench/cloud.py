"""The local cloud that calls, latency, burst and cold starts are measured on: all in one, so that they can be compared."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.registrars import STAGING
from tests.chain.running import APPS, FLEET, Chain, email, running

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
TEAMS = tuple(f"team-{number}" for number in range(10))
APIS = ("container", "gkehub", "connectgateway")
ONBOARDING = ("route-event", "register-membership", "grant-rbac", "write-secret")


@contextmanager
def cloud(directory: Path, *options: str) -> Iterator[Chain]:
    """Run it with ten more source projects; clusters and memberships take no time of their own."""
    sources = ",".join((FLEET, APPS, *TEAMS))
    at_once = ("--create-seconds", "0", "--membership-seconds", "0", "--update-seconds", "0", "--delete-seconds", "0")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with running(directory, *at_once, "--setting", f"SOURCE_PROJECTS={sources}", *options) as chain:
        numbers = {FLEET: 100000000001, APPS: 100000000002, STAGING.project: STAGING.number}
        chain.set("projects", "numbers", numbers | {team: 100000000100 + n for n, team in enumerate(TEAMS)})
        for team in TEAMS:
            chain.do("cloud", "add_source", project=team)
        for name, role in json.loads((ROOT / "infra" / "roles.json").read_text()).items():
            for team in TEAMS:
                chain.do("iam", "grant", email(name), team, *role["source"])
        yield chain


def environment(chain: Chain, identity: str, home: Path) -> dict[str, str]:
    """What a process of the cloud may see: the functions' settings, and the metadata server that says who it is."""
    metadata = chain.state()["endpoints"][f"metadata of {identity}"].partition("//")[2]
    authority = str(chain.directory / "ca.pem")
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": str(home),
        **chain.do("cloud", "settings"),
        "GCE_METADATA_HOST": metadata,
        "GCE_METADATA_IP": metadata,
        "SSL_CERT_FILE": authority,
        "REQUESTS_CA_BUNDLE": authority,
    }


def outside(chain: Chain, since: float) -> list[Json]:
    """The functions' calls of the three APIs; Pub/Sub and waiting for operations are not counted."""
    functions = {email(name) for name in chain.state()["functions"]}
    return [
        call
        for call in chain.calls(since)
        if call["api"] in APIS and call["caller"] in functions and "/operations/" not in call["path"]
    ]


@dataclass(frozen=True)
class Way:
    """When a cluster was RUNNING (its audit entry was written), and when each step on its way was done."""

    running: float
    steps: tuple[float, ...]

    @property
    def hops(self) -> list[float]:
        """Seconds of each step, with its delivery."""
        return [after - before for before, after in zip((self.running, *self.steps), self.steps, strict=False)]

    @property
    def whole(self) -> float:
        """Seconds from RUNNING to the end of `write_secret`: it has read the cluster once more, and logged it."""
        return self.steps[-1] - self.running


def events(chain: Chain, method: str) -> dict[str, float]:
    """When the last audit entry of a method was written, by cluster."""
    found = {}
    for event in chain.do("eventarc", "since"):
        name, _, cluster = event["name"].partition(" ")
        if name == method:
            found[cluster] = event["at"]
    return found


def done(chain: Chain, function: str, decision: str = "") -> dict[str, float]:
    """When a function first logged each cluster, in lines with this decision."""
    found: dict[str, float] = {}
    for line in chain.lines(function):
        cluster = line["logging.googleapis.com/labels"].get("cluster")
        if cluster and decision in ("", line["decision"]):
            found.setdefault(cluster, datetime.fromisoformat(line["time"]).timestamp())
    return found


def ways(chain: Chain, clusters: list[str]) -> list[Way]:
    """The ways of clusters that have arrived."""
    ran = events(chain, "CreateCluster.finished")
    times = [done(chain, "route-event", "routed")]
    times += [done(chain, step) for step in ONBOARDING[1:]]
    return [Way(ran[name], tuple(each[name] for each in times)) for name in clusters]
