"""Functions are killed at random while clusters come and go: nothing is lost, nothing doubled. `make kills`: 200 of them."""

from __future__ import annotations

import os
import random

import pytest

from tests.chain.running import Chain, fresh

KILLS = int(os.environ.get("KILLS", "12"))


@pytest.mark.timeout(540 + 5 * KILLS)
def test_random_kills_under_load_lose_and_duplicate_nothing(cloud: Chain) -> None:
    chance = random.Random(KILLS)
    functions = sorted(cloud.state()["functions"])
    living: list[str] = []
    gone: list[str] = []
    for _ in range(KILLS):
        living.append(cloud.create_cluster(fresh("shot"), labels={"env": "prod"}, seconds=chance.choice((0, 0.2))))
        if len(living) > 4:
            settled = [cluster for cluster in living if cloud.state()["clusters"][cluster]["status"] == "RUNNING"]
            for cluster in chance.sample(settled, min(1, len(settled))):
                cloud.delete_cluster(cluster, seconds=chance.choice((0, 0.2)))
                living.remove(cluster)
                gone.append(cluster)
        victim = chance.choice(functions)
        cloud.kill_function(victim)
        cloud.start_function(victim)
    cloud.wait_quiet()
    cloud.onboarded(*living)
    cloud.offboarded(*gone)
    mine = [
        one
        for one in cloud.secrets()
        if "/clusters/shot-" in (one["annotations"] or {}).get("fleet-registrar/cluster", "")
    ]
    assert len(mine) == len(living) == len({one["labels"]["fleet-registrar/cluster-hash"] for one in mine})
    for cluster in living:
        assert cloud.membership(cluster)
        assert cloud.binding(cluster)
    assert not cloud.dead_letters("/clusters/shot-")
