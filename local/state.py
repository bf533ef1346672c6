"""Everything in a local cloud, as one JSON document."""

from __future__ import annotations

import functools
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from local.clusters import settled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from local.apis import Apis
    from local.clusters import Clusters
    from local.deployment import Deployment

Json = dict[str, Any]


async def state(
    apis: Apis,
    clusters: Clusters,
    deployments: Iterable[Deployment],
    central: str,
    namespace: str,
    *,
    only: Collection[str] = (),
) -> Json:
    """Return what people and tests look at, or some parts of it by name. Of a Secret's data it has `name` and `server` only."""
    queues = functools.cache(lambda: _queues(deployments))
    parts: dict[str, Callable[[], Any]] = {
        "clusters": lambda: _clusters(apis),
        "memberships": lambda: _memberships(apis),
        "secrets": lambda: _secrets(clusters, central, namespace),
        "queues": queues,
        "dead_letters": lambda: queues().get("dead-letters", {}).get("backlog"),
        "functions": lambda: _functions(deployments),
        "faults": apis.faults.as_json,
        "events": apis.eventarc.as_json,
        "schedules": apis.scheduler.as_json,
    }
    return {name: await settled(part()) for name, part in parts.items() if not only or name in only}


def _clusters(apis: Apis) -> Json:
    return {
        name: {key: cluster.get(key) for key in ("status", "id", "resourceLabels", "fleet", "autopilot")}
        for name, cluster in sorted(apis.gke.clusters.items())
    }


def _memberships(apis: Apis) -> Json:
    return {
        name: {
            "state": membership["state"]["code"],
            "connected": apis.fleet.connected(name),
            "cluster": membership.get("endpoint", {}).get("gkeCluster", {}).get("resourceLink"),
            "uniqueId": membership["uniqueId"],
            "labels": membership.get("labels", {}),
        }
        for name, membership in sorted(apis.fleet.memberships.items())
    }


def _queues(deployments: Iterable[Deployment]) -> Json:
    return {f"{one.registrar.prefix}{name}": queue for one in deployments for name, queue in one.queues().items()}


def _functions(deployments: Iterable[Deployment]) -> Json:
    return {
        f"{one.registrar.prefix}{name}": {
            "pid": f.pid,
            "asleep": f.is_asleep,
            "url": one.url(name),
            "log": str(f.log),
        }
        for one in deployments
        for name, f in one.functions.items()
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
