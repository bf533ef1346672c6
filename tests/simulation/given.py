"""Worlds in which a cluster is onboarded, and what a test reads and does there."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from functions import remove_secret, write_secret
from shared.values.messages import StepRequest
from shared.values.names import ClusterName, MembershipName
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable


BLUE = ClusterName("demo-apps", "europe-west1", "blue")
OWN = BLUE.membership("demo-fleet")
EDGE = MembershipName("demo-fleet", "global", "edge")
SECRET = "demo-apps.europe-west1.blue"
SECRETS = "api/v1/namespaces/argocd/secrets"
HELD = "fleet-registrar/held"


def onboarded(*, attached: bool = False) -> World:
    world = World()
    world.create(BLUE, {"env": "prod"})
    world.publish("register-membership", {"cluster": str(BLUE)})
    if attached:
        world.attach(EDGE, {"env": "prod"})
        world.publish("register-membership", {"membership": str(EDGE)})
    world.settle()
    assert SECRET in world.secrets()
    return world


def removed(world: World, request: StepRequest | None = None) -> Any:
    request = request or StepRequest(BLUE)
    name = request.cluster or request.membership
    if request.leave and name is not None:
        request = replace(request, secret_uid=world.leave(name, request.leave).get("secret_uid", ""))
    return remove_secret.run(request, WorldServices(world))


def written(world: World, request: StepRequest | None = None) -> Any:
    return write_secret.run(request or StepRequest(BLUE), WorldServices(world))


def notes(world: World, name: str = SECRET) -> dict[str, str]:
    found: dict[str, str] = world.secrets()[name]["metadata"]["annotations"]
    return found


def pinned(world: World, name: str = SECRET) -> None:
    world.central.objects[SECRETS, name]["metadata"]["annotations"]["fleet-registrar/keep"] = "true"


def when(world: World, phase: str, call: str, act: Callable[[], Any]) -> None:
    """Act once, at the first call that begins like this."""
    done: list[str] = []

    def touch(now: str, name: str) -> None:
        if now == phase and name.startswith(call) and not done:
            done.append(name)
            act()

    world.touch = touch


def by_hand(world: World, name: str, server: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    data = {"name": base64.b64encode(b"x").decode(), "server": base64.b64encode(server.encode()).decode()}
    marked = {"argocd.argoproj.io/secret-type": "cluster", **(labels or {})}
    return world.central.put(SECRETS, {"metadata": {"name": name, "labels": marked, "annotations": {}}, "data": data})
