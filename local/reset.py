"""Restores the state right after the start, in under a second: no process is restarted needlessly.

Attributes of the emulated APIs that are data are copied after the start, and put back. Access tokens stay valid, because
the functions keep theirs. A push that is on its way is cut, and a call that a function has begun may still arrive.
"""

from __future__ import annotations

import asyncio
from collections import deque
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from local.google.iam.tokens import Tokens
from local.google.pubsub.broker import Broker
from local.google.tasks import Tasks
from local.kubernetes.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from local.apis import Apis
    from local.clusters import Clusters
    from local.deployment import Deployment

DATA = (dict, list, set, deque, str, int, float, bool, type(None))


class Snapshot:
    """The state of a cloud whose central cluster is `central` (a key of the members), to `restore`."""

    def __init__(self, apis: Apis, clusters: Clusters, deployments: Sequence[Deployment], central: str) -> None:
        self._apis = apis
        self._clusters = clusters
        self._deployments = deployments
        self._central = central
        self._parts = [(part, _copied(part)) for part in _reachable(_parts(apis))]
        self._variables = [
            {name: dict(function.variables) for name, function in deployment.functions.items()}
            for deployment in deployments
        ]
        member = clusters.members[central]
        self._objects = member.store.snapshot() if isinstance(member, Cluster) else None
        self._pubsub = apis.broker.configuration() if apis.broker is not None else None

    async def restore(self) -> None:
        """Undo everything since the snapshot. Raises ValueError where a part of the cloud is not embedded."""
        broker, central = self._apis.broker, self._clusters.members.get(self._central)
        if broker is None or self._pubsub is None or self._objects is None or not isinstance(central, Cluster):
            raise ValueError("reset needs the embedded Pub/Sub and Kubernetes API: stop the cloud and start it again")
        for part in (self._apis.gke, self._apis.fleet, self._apis.eventarc):
            await part.cancel()
        await broker.reset(self._pubsub)
        for name in [name for name in self._clusters.members if name != self._central]:
            self._clusters.remove(name)
        for part, before in self._parts:
            _put_back(part, before)
        central.store.restore(self._objects)
        before_all = zip(self._deployments, self._variables, strict=True)
        every = [(deployment, name, before) for deployment, kept in before_all for name, before in kept.items()]
        await asyncio.gather(*(_restart(*one) for one in every))
        for deployment, name, _ in every:
            deployment.functions[name].clear_log()
        self._apis.calls.log.clear()


async def _restart(deployment: Deployment, name: str, before: Mapping[str, str]) -> None:
    """Start a function that was stopped, or that was deployed with other settings."""
    function = deployment.functions[name]
    if function.variables != before:
        await function.stop()
        function.variables, function.deployed = dict(before), set()
    elif function.is_asleep:
        return
    await deployment.start_function(name)


def _parts(apis: Apis) -> list[Any]:
    return [
        *(apis.gke, apis.fleet, apis.projects, apis.iam, apis.quotas, apis.faults),
        *(apis.eventarc, apis.logging, apis.run, apis.scheduler),
    ]


def _reachable(parts: Iterable[Any]) -> Iterator[Any]:
    """The parts and their objects of the emulated APIs, each once."""
    left, seen = list(parts), set[int]()
    while left:
        part = left.pop()
        if id(part) in seen or isinstance(part, (Tasks, Tokens, Broker)):
            continue
        seen.add(id(part))
        yield part
        left += [value for value in vars(part).values() if _is_part(value)]


def _is_part(value: Any) -> bool:
    return type(value).__module__.startswith("local.google.") and hasattr(value, "__dict__") and not callable(value)


def _copied(part: Any) -> dict[str, Any]:
    """The attributes that are data. A list of callables is wiring."""
    return {
        name: deepcopy(value)
        for name, value in vars(part).items()
        if isinstance(value, DATA) and not (isinstance(value, list) and any(map(callable, value)))
    }


def _put_back(part: Any, before: Mapping[str, Any]) -> None:
    """Set the attributes; collections keep their identity, because others may hold them."""
    for name, value in before.items():
        now = getattr(part, name)
        if isinstance(value, (dict, set)) and isinstance(now, type(value)):
            now.clear()
            now.update(deepcopy(value))
        elif isinstance(value, (list, deque)) and isinstance(now, type(value)):
            now.clear()
            now.extend(deepcopy(value))
        else:
            setattr(part, name, deepcopy(value))
