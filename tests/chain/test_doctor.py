"""`ops doctor` on a running cloud: each thing that it checks is broken once; doctor names it, and nothing else turns red."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ops.doctor.codes import Code
from ops.doctor.findings import Status
from tests import forked_ops
from tests.chain.breakages import functions, projects, pubsub
from tests.chain.breakages.operator import Operator, doctor, red, sourced
from tests.chain.broken_deployments import ADMISSION, ELSEWHERE, TABLE
from tests.chain.running import FLEET, KUBE, ROOT, Chain, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.chain.breakages.operator import Broken

    Json = dict[str, Any]
    Table = list[tuple[Code, str, Broken]]


# The embedded API server evaluates no admission policy, and refuses the dry runs that would ask it.
UNKNOWN = {"admission-policy"} if KUBE == "embedded" else set()
ON_REAL = {"admission-policy", "argocd-identity", "argocd-sharding", "secrets-access"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with running(tmp_path_factory.mktemp("doctor")) as chain:
        yield chain


@pytest.fixture(scope="module")
def environment(cloud: Chain) -> Iterator[Mapping[str, str]]:
    with sourced(cloud) as found:
        yield found


@pytest.fixture
def operator(cloud: Chain, environment: Mapping[str, str]) -> Operator:
    """A person in front of a cloud with one cluster in Argo CD, where a sweep has run."""
    cloud.once(swept)
    return Operator(cloud, environment)


def swept(cloud: Chain) -> None:
    """The gateway's quota is large: so many doctors in one minute are no deployment's."""
    cloud.do("quotas", "change", *projects.GATEWAY_QUOTA, 1_000_000)
    cluster = cloud.create_cluster("doctored")
    cloud.onboarded(cluster)
    cloud.publish("sweep", {})
    cloud.wait_quiet()


def ops(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person does."""
    return forked_ops.run(arguments, {**os.environ, **environment}, timeout=240)


def test_deployment_without_a_sweep_is_named_until_one_ran(cloud: Chain, environment: Mapping[str, str]) -> None:
    assert red(doctor(environment)) == {(Code.NO_SWEEP, "sweep")}
    cloud.publish("sweep", {})
    cloud.wait_quiet()
    assert red(doctor(environment)) == set()


def test_right_deployment_passes_every_check(operator: Operator) -> None:
    found = doctor(operator.environment)
    assert {one.check for one in found if one.status is not Status.PASS} == UNKNOWN
    assert len({one.check for one in found}) == 31


def _case(number: int, code: Code, check: str, broken: Broken) -> Any:
    left_out = pytest.mark.skipif(
        KUBE == "real" and check not in ON_REAL,
        reason="left out on real clusters: a kube-apiserver decides nothing in it",
    )
    return pytest.param(code, check, broken, id=f"{code}-{number}", marks=left_out)


@pytest.mark.parametrize(("code", "check", "broken"), [_case(number, *one) for number, one in enumerate(TABLE, 1)])
def test_what_is_broken_is_named_and_nothing_else(operator: Operator, code: Code, check: str, broken: Broken) -> None:
    with broken(operator):
        found = doctor(operator.environment)
    assert (code, check) in red(found)
    assert {one for _, one in red(found)} == {check}
    assert all(one.fix for one in found if one.status in {Status.WARN, Status.FAIL})


@pytest.mark.skipif(KUBE == "embedded", reason="the embedded API server evaluates no admission policy")
@pytest.mark.parametrize(("code", "check", "broken"), ADMISSION, ids=[str(one[0]) for one in ADMISSION])
def test_policy_that_decides_wrongly_is_named(operator: Operator, code: Code, check: str, broken: Broken) -> None:
    with broken(operator):
        operator.cloud.wait_for(lambda: red(doctor(operator.environment)) == {(code, check)}, what=str(code))


def test_table_leaves_the_deployment_as_it_was(operator: Operator) -> None:
    """A kube-apiserver follows a policy that is there again only after a moment."""
    operator.cloud.publish("sweep", {})
    operator.cloud.wait_quiet()
    operator.cloud.wait_for(
        lambda: red(doctor(operator.environment)) == set(), what="a doctor that finds nothing wrong"
    )


def test_missing_quota_project_is_named(operator: Operator) -> None:
    assert red(doctor(operator.environment, quota_project="")) == {(Code.NO_QUOTA_PROJECT, "operator")}


def test_outage_of_an_api_makes_its_checks_unknown_and_nothing_red(operator: Operator) -> None:
    for api in ("iam", "pubsub", "eventarc", "logging", "monitoring", "gkehub", "container", "connectgateway"):
        operator.cloud.add_fault("status", api=api, caller="you@example.com", status=503, times=0)
        found = doctor(operator.environment)
        operator.cloud.remove_faults()
        assert red(found) <= {(Code.GATEWAY_UNREACHABLE, "central-cluster")}, api
        assert [one for one in found if one.status is Status.UNKNOWN and one.check not in UNKNOWN], api


def test_doctor_prints_a_line_for_each_check_and_changes_nothing(operator: Operator) -> None:
    def queues() -> dict[str, Any]:
        return {name: one | {"oldest_age": None} for name, one in operator.cloud.state()["queues"].items()}

    before, waiting = operator.cloud.everything(), queues()
    answer = ops(operator.environment, "doctor", "--json")
    report = json.loads(answer.stdout)
    assert (answer.returncode, report["exitCode"]) == ((2, 2) if UNKNOWN else (0, 0))
    assert report["counts"]["fail"] == report["counts"]["warn"] == 0
    assert operator.cloud.everything() == before
    assert queues() == waiting
    lines = ops(operator.environment, "doctor").stdout.splitlines()
    assert lines[0].split()[:2] == ["pass", "settings"]


def test_settings_that_are_wrong_are_one_failure(operator: Operator) -> None:
    answer = ops({**operator.environment, "HOLD": "abc"}, "doctor", "--json")
    assert answer.returncode == 1
    assert [one["code"] for one in json.loads(answer.stdout)["findings"]] == [Code.SETTINGS_INVALID]


def test_canary_is_followed_to_its_end(operator: Operator) -> None:
    before = operator.cloud.everything()
    answer = ops(operator.environment, "doctor", "--canary", "doctored", "--json")
    [canary] = [one for one in json.loads(answer.stdout)["findings"] if one["check"] == "canary"]
    assert canary["status"] == "pass", canary
    assert "register-membership unchanged → grant-rbac unchanged → write-secret unchanged" in canary["message"]
    assert operator.cloud.everything() == before


def test_canary_of_an_unknown_name_ends_before_the_checks(operator: Operator) -> None:
    for name in ("docktored", "projects/demo-fleet/locations/europe-west1/clusters/docktored"):
        answer = ops(operator.environment, "doctor", "--canary", name)
        assert (answer.returncode, answer.stdout) == (1, "")
        assert name in answer.stderr
        assert answer.stderr.count("\n") == 1


def test_canary_that_is_refused_fails_with_the_reason(operator: Operator) -> None:
    edge = operator.cloud.attach("unadmitted")
    operator.cloud.dead_letter(edge, "grant-rbac")
    answer = ops(operator.environment, "doctor", "--canary", edge, "--json")
    [canary] = [one for one in json.loads(answer.stdout)["findings"] if one["check"] == "canary"]
    assert (answer.returncode, canary["code"]) == (1, Code.CANARY_FAILED)
    assert "not_admitted" in canary["message"]
    operator.cloud.detach(edge)
    operator.cloud.wait_quiet()


def test_a_subscription_without_its_token_is_named_everywhere(operator: Operator) -> None:
    step = "unregister-membership"
    with pubsub.push_config(step, lambda old: {"pushEndpoint": old["pushEndpoint"]})(operator):
        operator.cloud.publish(step, {"membership": f"projects/{FLEET}/locations/global/memberships/none"})
        operator.cloud.wait_for(lambda: "not authenticated" in logs(operator, step), what="a refused push in the log")
        assert "WARNING" in logs(operator, step)
        for command in ("status", "doctor"):
            answer = ops(operator.environment, command)
            assert answer.returncode != 0
            assert f"{step}: pushes without a token" in " ".join(answer.stdout.split())
            assert f"python -m ops resume {step}" in answer.stdout
        resumed = ops(operator.environment, "resume", step)
        assert resumed.returncode == 0, resumed.stderr
        operator.cloud.wait_quiet()


def logs(operator: Operator, step: str) -> str:
    """Return what `python -m local logs` prints of a function."""
    directory = str(operator.cloud.directory)
    command = [sys.executable, "-m", "local", "logs", "--directory", directory, "--step", step]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True, timeout=100).stdout


def test_paused_step_keeps_its_messages_and_resume_restores_the_whole_push(operator: Operator) -> None:
    path = f"{pubsub.SUBSCRIPTIONS}/register-membership"
    before = operator.call("GET", "pubsub", path)["pushConfig"]
    paused = ops(operator.environment, "pause", "register-membership")
    assert paused.returncode == 0
    assert "python -m ops resume register-membership" in paused.stdout
    assert "pushEndpoint" not in operator.call("GET", "pubsub", path).get("pushConfig", {})
    cluster = operator.cloud.create_cluster("waited")
    operator.cloud.running(cluster)
    assert "paused already" in ops(operator.environment, "pause", "register-membership").stdout
    resumed = ops(operator.environment, "resume", "register-membership")
    assert resumed.returncode == 0, resumed.stderr
    assert operator.call("GET", "pubsub", path)["pushConfig"] == before
    operator.cloud.onboarded(cluster)


def test_pause_prints_a_push_configuration_that_resume_would_not_restore(operator: Operator) -> None:
    with pubsub.push_config("revoke-rbac", lambda old: old | {"pushEndpoint": ELSEWHERE})(operator):
        answer = ops(operator.environment, "pause", "revoke-rbac")
    assert "gcloud pubsub subscriptions modify-push-config revoke-rbac" in answer.stdout
    assert ELSEWHERE in answer.stdout


def test_step_that_does_not_exist_is_a_mistake(operator: Operator) -> None:
    answer = ops(operator.environment, "pause", "cluster-events")
    assert answer.returncode == 1
    assert "write-secret" in answer.stderr


def test_function_that_was_deleted_is_named(operator: Operator) -> None:
    operator.call("DELETE", "cloudfunctions", f"{functions.FUNCTIONS}/unregister-membership")
    assert red(doctor(operator.environment)) == {(Code.FUNCTION_MISSING, "functions")}
    answer = ops(operator.environment, "resume", "unregister-membership")
    assert answer.returncode == 1
    assert "not deployed" in answer.stderr
