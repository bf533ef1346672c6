"""A fleet as a document: which clusters a cloud begins with (`--seed FILE`), and what `local export` writes.

```yaml
clusters:                       # on GKE
  - name: blue
    location: europe-west1      # default
    project: demo-fleet         # default
    labels: {env: prod}
    fleet: true                 # as --enable-fleet; default: false
    autopilot: true             # default: false
    status: DEGRADED            # default: RUNNING
attached:                       # outside GKE
  - name: edge
    location: global            # default
    labels: {env: edge}
    admitted: true              # a person has granted the functions access; default: false
```
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from local.central import admission_to_attached
from local.clusters import settled
from local.google.gke.clusters import STATUSES
from local.identities import service_account
from local.names import FLEET, REGION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from local.clusters import Clusters
    from local.google.fleet.state import Fleet
    from local.google.gke.state import Gke

Json = dict[str, Any]
PRESENT = 60.0  # seconds until a cluster must exist


class SeedError(ValueError):
    """A document is wrong; the message says what and where."""


@dataclass(frozen=True)
class GkeCluster:
    """A cluster on GKE."""

    name: str
    location: str = REGION
    project: str = FLEET
    labels: dict[str, str] = field(default_factory=dict)
    fleet: bool = False
    autopilot: bool = False
    status: str = "RUNNING"


@dataclass(frozen=True)
class Attached:
    """A cluster outside GKE."""

    name: str
    location: str = "global"
    labels: dict[str, str] = field(default_factory=dict)
    admitted: bool = False


@dataclass(frozen=True)
class Seed:
    """A fleet."""

    clusters: list[GkeCluster]
    attached: list[Attached]


Member = TypeVar("Member", GkeCluster, Attached)


def checked(document: Any) -> Seed:
    """Read a document. Raises SeedError with the first field that is wrong."""
    if not isinstance(document, dict):
        raise SeedError("the seed is not an object with `clusters` and `attached`")
    unknown = sorted(map(str, document.keys() - {"clusters", "attached"}))
    if unknown:
        raise SeedError(f"the seed has unknown keys: {', '.join(unknown)}; known: clusters, attached")
    found = Seed(_items(document, "clusters", GkeCluster), _items(document, "attached", Attached))
    for cluster in found.clusters:
        if cluster.status not in STATUSES:
            raise SeedError(f"cluster {cluster.name}: status {cluster.status!r} is not one of {', '.join(STATUSES)}")
    return found


def _items(document: Json, key: str, kind: type[Member]) -> list[Member]:
    items = document.get(key) or []
    if not isinstance(items, list):
        raise SeedError(f"`{key}` of the seed is not a list")
    return [_item(key, item, kind) for item in items]


def _item(key: str, item: Any, kind: type[Member]) -> Member:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise SeedError(f"an item of `{key}` in the seed has no name: {item!r}")
    types: dict[str, type] = {"str": str, "bool": bool}
    known = {one.name: types.get(str(one.type), dict) for one in fields(kind)}
    for name, value in item.items():
        if name not in known:
            raise SeedError(f"{item['name']} has the unknown key {name}; known: {', '.join(known)}")
        if not isinstance(value, known[name]):
            raise SeedError(f"{item['name']}: {name} is {value!r}, which is not a {known[name].__name__}")
        if isinstance(value, dict) and not all(isinstance(text, str) for pair in value.items() for text in pair):
            raise SeedError(f"{item['name']}: a label is not text: {value!r}")
    return kind(**item)


async def create(gke: Gke, attach: Callable[..., Awaitable[str]], seed: Seed) -> None:
    """Create the clusters at once, and return when all exist in their status. `attach` is the cloud's method."""
    names = {}
    for one in seed.clusters:
        cluster: Json = {"name": one.name, "resourceLabels": one.labels}
        cluster |= {"autopilot": {"enabled": True}} if one.autopilot else {}
        cluster |= {"fleet": {"project": FLEET}} if one.fleet else {}
        gke.create(one.project, one.location, cluster, seconds=0)
        names[f"projects/{one.project}/locations/{one.location}/clusters/{one.name}"] = one
    for attached in seed.attached:
        await attach(attached.name, attached.location, attached.labels, admit=attached.admitted)
    deadline = asyncio.get_running_loop().time() + PRESENT
    for name, one in names.items():
        while gke.cluster(name)["status"] == "PROVISIONING":
            if asyncio.get_running_loop().time() > deadline:
                raise SeedError(f"{name} is not running after {PRESENT:g} s")
            await asyncio.sleep(0.01)
        if one.status != "RUNNING":
            await gke.set_status(name, one.status)


async def document(gke: Gke, fleet: Fleet, clusters: Clusters, without: Collection[str]) -> Json:
    """Return the document of all clusters except those named in `without` (by full name, or by membership)."""
    found = Seed([], [])
    for name, cluster in sorted(gke.clusters.items()):
        if name not in without:
            _, project, _, location, _, short = name.split("/")
            found.clusters.append(
                GkeCluster(
                    short,
                    location,
                    project,
                    dict(cluster["resourceLabels"]),
                    bool(cluster.get("fleet", {}).get("project")),
                    bool(cluster.get("autopilot", {}).get("enabled")),
                    cluster["status"],
                )
            )
    for name, membership in sorted(fleet.memberships.items()):
        if name not in without and name in clusters.members:
            _, _, _, location, _, short = name.split("/")
            admitted = await _is_admitted(clusters, name)
            found.attached.append(Attached(short, location, dict(membership.get("labels", {})), admitted))
    return asdict(found)


async def _is_admitted(clusters: Clusters, membership: str) -> bool:
    grant = admission_to_attached(service_account("grant-rbac", FLEET), membership.rpartition("/")[2])
    wanted = {item["metadata"]["name"] for item in grant if item["kind"] == "ClusterRoleBinding"}
    bindings = await settled(clusters.members[membership].objects("clusterrolebindings"))
    return wanted <= {item["metadata"]["name"] for item in bindings}
