"""Doctor's check of Argo CD's shards: their number, and an algorithm that moves clusters."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ops.doctor.codes import Code
from ops.doctor.diagnosis import diagnose
from ops.doctor.expected import Expected
from ops.doctor.findings import Status
from tests.unit import given
from tests.unit.deployment import controller, right

SHARDED = controller() | {"spec": controller()["spec"] | {"replicas": 3}}


def sharding(shards: str, algorithm: str, **secrets: Any) -> set[Code]:
    """What the check of the sharding finds: three replicas, `shards` is ARGOCD_SHARDS."""
    seen = right()
    parameters = {"data": {"controller.sharding.algorithm": algorithm}}
    central = dataclasses.replace(seen.central, controllers=(SHARDED,), parameters=parameters)
    seen = dataclasses.replace(seen, central=central, fleet=dataclasses.replace(seen.fleet, **secrets))
    found = diagnose(Expected(given.settings(ARGOCD_SHARDS=shards)), seen, given.NOW)
    return {Code(one.code) for one in found if one.check == "argocd-sharding" and one.status is Status.WARN}


@pytest.mark.parametrize("shards", ["2", "4"])
def test_number_of_shards_must_be_the_controllers(shards: str) -> None:
    sharded = {"secrets": (("blue", "0"),)}
    assert sharding(shards, "legacy", **sharded) == {Code.SHARDS_DIFFER}
    assert sharding("3", "legacy", **sharded) == sharding("0", "legacy", **sharded) == set()


@pytest.mark.parametrize("algorithm", ["round-robin", "consistent-hashing"])
def test_counting_algorithm_needs_a_shard_on_every_secret(algorithm: str) -> None:
    """Also on the Secrets of others: they move ours, and ours move them."""
    moves = {Code.SHARDING_MOVES_CLUSTERS}
    assert sharding("3", algorithm, secrets=(("blue", "0"),), others=(("by-hand", "2"),)) == set()
    assert sharding("3", algorithm, secrets=(("blue", "0"), ("green", "")), others=()) == moves
    assert sharding("3", algorithm, secrets=(("blue", "0"),), others=(("by-hand", ""),)) == moves
    assert sharding("3", algorithm, secrets=()) == moves
