"""What `ops explain` concludes about the access inside a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ops.explain import _access
from shared.values.codes import ErrorCode
from shared.values.names import ClusterName
from tests.simulation.ports import WorldServices
from tests.simulation.world import World

BLUE = ClusterName("demo-apps", "europe-west1", "blue")


def test_a_binding_to_a_role_that_the_cluster_lacks_gives_no_access() -> None:
    world = World()
    world.create(BLUE)
    world.publish("register-membership", {"cluster": str(BLUE)})
    world.settle()
    membership = world.memberships[BLUE.membership("demo-fleet")]
    services: Any = WorldServices(world)
    assert _access(membership, services).works
    for binding in world.inside(BLUE).objects.values():
        binding["roleRef"]["name"] = "deployer"
    world.settings = replace(world.settings, argocd_cluster_role="deployer")
    services = WorldServices(world)  # with the settings as they are now
    found = _access(membership, services)
    assert (found.works, found.problem) == (False, ErrorCode.NO_ROLE)
