"""Everything in a local cloud, as one JSON document."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

from local.clusters import settled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.apis import Apis
    from local.clusters import Clusters
    from local.deployment import Deployment

Json = dict[str, Any]


async def state(
    apis: Apis, clusters: Clusters, deployments: Iterable[Deployment], central: str, namespace: str
) -> Json:
    """Return what people and tests look at. Of a Secret's data it has `name` and `server` only."""
    queues = {f"{one.registrar.prefix}{name}": queue for one in deployments for name, queue in one.queues().items()}
    return {
        "clusters": {
            name: {key: cluster.get(key) for key in ("status", "id", "resourceLabels", "fleet", "autopilot")}
            for name, cluster in sorted(apis.gke.clusters.items())
        },
        "memberships": {
            name: {
                "state": membership["state"]["code"],
                "connected": apis.fleet.connected(name),
                "cluster": membership.get("endpoint", {}).get("gkeCluster", {}).get("resourceLink"),
                "uniqueId": membership["uniqueId"],
                "labels": membership.get("labels", {}),
            }
            for name, membership in sorted(apis.fleet.memberships.items())
        },
        "secrets": await _secrets(clusters, central, namespace),
        "queues": queues,
        "dead_letters": queues["dead-letters"]["backlog"] if queues else None,
        "functions": {
            f"{one.registrar.prefix}{name}": {
                "pid": f.pid,
                "asleep": f.is_asleep,
                "url": one.url(name),
                "log": str(f.log),
            }
            for one in deployments
            for name, f in one.functions.items()
        },
        "faults": apis.faults.as_json(),
        "events": apis.eventarc.as_json(),
        "schedules": apis.scheduler.as_json(),
    }


async def _secrets(clusters: Clusters, central: str, namespace: str) -> list[Json]:
    host = clusters.members.get(central)
    shown = ("name", "uid", "resourceVersion", "labels", "annotations")
    return [
        {key: secret["metadata"].get(key) for key in shown}
        | {
            f"data.{key}": b64decode(value).decode(errors="replace")
            for key, value in (secret.get("data") or {}).items()
            if key in ("name", "server")
        }
        for secret in (await settled(host.objects("secrets", namespace)) if host else [])
    ]
