"""The local schedule runs by itself, as gcloud and `ops` pause and resume it."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests import forked_ops
from tests.contract.deployed import FLEET, PLACE, REGION, Deployed, deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

JOB = f"{PLACE}/jobs/sweep"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(tmp_path_factory.mktemp("cloud"), sweep_every=0.2) as running:
        yield running


def runs_again(here: Deployed) -> bool:
    before = here.swept()
    here.cloud.wait_for(lambda: here.swept() > before + 1, 60)
    return True


def attempts(here: Deployed, job: str = JOB) -> str:
    return str(here.call("cloudscheduler", "GET", f"v1/{job}")[1].get("lastAttemptTime"))


def ran_since(here: Deployed, job: str, before: str) -> bool:
    return attempts(here, job) != before


def goes_on(here: Deployed, job: str) -> None:
    """Wait until a job has run twice more."""
    for _ in range(2):
        here.cloud.wait_for(partial(ran_since, here, job, attempts(here, job)), 60)


def is_still(here: Deployed) -> bool:
    """Whether the job does not run any more, while the clock goes on for another one."""
    other = f"{PLACE}/jobs/other"
    target = {"topicName": f"projects/{FLEET}/topics/cluster-events", "data": "e30="}
    job = {"name": other, "schedule": "* * * * *", "pubsubTarget": target}
    assert here.call("cloudscheduler", "POST", f"v1/{PLACE}/jobs", job)[0] == 200
    goes_on(here, other)  # what was under way is done
    before = attempts(here)
    goes_on(here, other)
    assert here.call("cloudscheduler", "DELETE", f"v1/{other}")[0] == 200
    return attempts(here) == before


def test_an_enabled_job_runs_by_itself_until_it_is_paused(here: Deployed) -> None:
    assert runs_again(here)
    assert here.call("cloudscheduler", "POST", f"v1/{JOB}:pause")[1]["state"] == "PAUSED"
    assert is_still(here)
    assert here.call("cloudscheduler", "POST", f"v1/{JOB}:resume")[1]["state"] == "ENABLED"
    assert runs_again(here)


@pytest.mark.skipif(not shutil.which("gcloud"), reason="left out: gcloud pauses the schedule; gcloud is not installed")
def test_gcloud_pauses_and_resumes_the_sweeps(here: Deployed) -> None:
    here.gcloud("scheduler", "jobs", "pause", "sweep", f"--location={REGION}")
    assert is_still(here)
    here.gcloud("scheduler", "jobs", "resume", "sweep", f"--location={REGION}")
    assert runs_again(here)


def test_ops_pause_keeps_the_sweeps_in_the_queue(here: Deployed) -> None:
    def ops(verb: str) -> None:
        assert forked_ops.run([verb, "sweep"], here.environment).returncode == 0

    ops("pause")
    here.cloud.wait_for(lambda: here.queue("sweep")["in_flight"] == 0, 60)
    before = here.swept()
    goes_on(here, JOB)
    assert here.swept() == before
    ops("resume")
    assert runs_again(here)


def test_a_job_whose_topic_is_gone_does_not_stop_the_others(here: Deployed) -> None:
    lost = {
        "name": f"{PLACE}/jobs/a-lost",
        "schedule": "* * * * *",
        "pubsubTarget": {"topicName": f"{PLACE}/topics/x", "data": "e30="},
    }
    assert here.call("cloudscheduler", "POST", f"v1/{PLACE}/jobs", lost)[0] == 200
    assert runs_again(here)
    _, job = here.call("cloudscheduler", "GET", f"v1/{PLACE}/jobs/a-lost")
    assert job["status"]["code"]
    assert here.call("cloudscheduler", "DELETE", f"v1/{PLACE}/jobs/a-lost")[0] == 200


def test_the_state_of_the_cloud_shows_the_schedule(here: Deployed) -> None:
    [shown] = here.cloud.state()["schedules"]
    assert (shown["name"], shown["every"], shown["state"]) == (JOB, 0.2, "ENABLED")
    assert shown["scheduleTime"]
