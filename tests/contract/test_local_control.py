"""The control API of a running local cloud, and the commands that call it; one cloud without functions for all tests."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import ANY

import pytest
import requests

from local.__main__ import main
from local.cloud import Cloud
from local.commands.send import into_cloud, names, sample
from local.config import SETTINGS, Config
from local.control import ControlError, LocalCloud
from local.control_api import PARTS, control_app
from local.google.audit import event_name
from local.reserved_port import ReservedPort
from tests.contract.background import BackgroundLoop, cloud_without_functions
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("control")
    with cloud_without_functions(folder, delete_seconds=0, update_seconds=0, retry_min=0.05):
        yield folder


@pytest.fixture
def cloud(directory: Path) -> LocalCloud:
    return LocalCloud.from_env(directory)


def _do(directory: Path, *, token: str | None = None, **headers: str) -> int:
    instance = json.loads((directory / "instance.json").read_text())
    headers |= {"Authorization": f"Bearer {instance['token'] if token is None else token}"}
    body = {"part": "cloud", "method": "quiet"}
    return requests.post(f"{instance['control']}/do", json=body, headers=headers, timeout=60).status_code


def test_only_its_owner_can_read_the_token(directory: Path) -> None:
    assert (directory / "instance.json").stat().st_mode & 0o777 == 0o600


def test_a_call_needs_the_token(directory: Path) -> None:
    assert _do(directory) == 200
    assert _do(directory, token="another") == 401
    assert _do(directory, token="") == 401


def test_a_foreign_host_is_refused(directory: Path) -> None:
    assert _do(directory, Host="attacker.example") == 400
    assert _do(directory, Host="localhost") == 200


@pytest.mark.parametrize("origin", ["https://attacker.example", "http://127.0.0.1", "null"])
def test_a_web_page_is_refused(directory: Path, origin: str) -> None:
    assert _do(directory, Origin=origin) == 403


def test_no_emulated_api_answers_a_web_page(cloud: LocalCloud) -> None:
    urls = [url for url in cloud.state()["endpoints"].values() if url.startswith("http")]
    assert len(urls) > 20
    authority = str(cloud.directory / "ca.pem")
    with requests.Session() as session:
        session.trust_env = False
        page = {"Origin": "https://attacker.example"}
        found = {session.get(url, headers=page, verify=authority, timeout=60).status_code for url in urls}
    assert found == {403}


@pytest.mark.parametrize("stopping", [True, False])
def test_the_end_of_a_part_is_reported_unless_the_cloud_stops(tmp_path: Path, stopping: bool) -> None:
    cloud = Cloud(Config(tmp_path, targets=()), control_app)
    with BackgroundLoop() as loop:
        loop.run(cloud.start())
        if stopping:
            loop.run(cloud.stop())
        loop.call(cloud._report_death, "etcd", 0, tmp_path / "etcd.log")
        if not stopping:
            loop.run(cloud.stop())
    assert cloud.died.done() is not stopping


def test_answers_have_the_current_date(directory: Path) -> None:
    control = json.loads((directory / "instance.json").read_text())["control"]

    def date() -> str:
        return requests.get(f"{control}/health", timeout=60).headers["date"]

    before = datetime.now(UTC).replace(microsecond=0)
    until(lambda: parsedate_to_datetime(date()) > before)


def test_state_has_the_parts_that_were_asked_for(cloud: LocalCloud) -> None:
    whole = cloud.state()
    assert {"at", "directory", "endpoints", "clusters", "secrets", "functions"} <= whole.keys()
    assert cloud.state("clusters", "secrets") == {
        **{name: whole[name] for name in ("clusters", "secrets")},
        "at": ANY,
    }


def test_health_needs_no_token(directory: Path) -> None:
    control = json.loads((directory / "instance.json").read_text())["control"]
    answer = requests.get(f"{control}/health", timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"status": "running"})


def test_redeploy_changes_only_documented_settings(cloud: LocalCloud) -> None:
    with pytest.raises(ControlError, match="PYTHONPATH"):
        cloud.redeploy("sweep", {"PYTHONPATH": "/tmp"})


def test_the_settings_of_a_deployment_are_the_documented_ones() -> None:
    documented = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    ours = [name for name in documented if not name.startswith("CLOUDSDK_") and name != "PUBSUB_EMULATOR_HOST"]
    assert sorted(ours) == list(SETTINGS)


def _run(directory: Path, line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    command, *options = shlex.split(line)
    try:
        code = main([command, "--directory", str(directory), *options])
    except SystemExit as ended:
        code = int(ended.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


WRONG = [
    "do bogus state",
    "do gke bogus",
    "do gke set_status status=RUNNING",
    "do gke set_status name=x status=BOGUS",
    "do gke fail_next what=bogus",
    "do cloud add_fault effect=bogus",
    "do --list bogus",
    "do gke _changeable name=x",
]


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    line: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = _run(directory, line, capsys)
    assert (code, out, error.count("\n")) == (2, "", 1)


def test_do_lists_what_every_part_offers(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(directory, "do --list", capsys)
    assert code == 0
    assert re.search(r"fail_next +what, \[cluster=\*\]", out)
    assert {f"{part}:" for part in ("cloud", *PARTS)} <= set(out.split("\n"))


def test_faults_are_a_table_or_json(directory: Path, cloud: LocalCloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.add_fault("status", api="gkehub", status=429, caller="nobody@*")
    try:
        _, table, _ = _run(directory, "fault list", capsys)
        _, found, _ = _run(directory, "fault list --json", capsys)
    finally:
        cloud.remove_faults()
    assert table.splitlines()[2].split()[:2] == ["id", "effect"]
    assert json.loads(found)[0]["status"] == 429
    assert max(map(len, table.splitlines())) <= 80


def test_events_are_a_table_or_json(directory: Path, cloud: LocalCloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.add_event_rule("hold", event="nothing*")
    try:
        _, table, _ = _run(directory, "event list", capsys)
        _, found, _ = _run(directory, "event list --json", capsys)
    finally:
        cloud.remove_event_rules()
    assert "rules:" in table.splitlines()
    assert json.loads(found)["rules"][0]["effect"] == "hold"
    assert max(map(len, table.splitlines())) <= 80


def test_status_and_calls_fit_80_columns(
    directory: Path, cloud: LocalCloud, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {f"label-{number}": "value" * 5 for number in range(8)}
    cluster = cloud.create_cluster("wide-as-a-name-may-be-with-forty-letters", "northamerica-northeast1", labels=labels)
    cloud.wait_for(lambda: cloud.state()["clusters"][cluster]["status"] == "RUNNING", 60)
    for command in ("status", "calls --last 1000"):
        _, out, _ = _run(directory, command, capsys)
        assert max(map(len, out.splitlines())) <= 80, command


@pytest.mark.parametrize("command", ["status", "status --json", "do --list"])
def test_a_closed_pipe_is_no_error(directory: Path, command: str) -> None:
    line = f"{sys.executable} -m local {command} --directory {directory} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_a_terminal_without_utf_8_gets_escapes(directory: Path, cloud: LocalCloud) -> None:
    cloud.create_cluster("umlaut", labels={"name": "größe"})
    done = subprocess.run(
        [sys.executable, "-m", "local", "status", "--directory", str(directory)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6\\xdfe" in done.stdout


def test_a_port_in_use_is_named(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = json.loads((directory / "instance.json").read_text())["control"].rpartition(":")[2]
    code, _, error = _run(tmp_path / "d", f"up --free-ports --port container={taken}", capsys)
    assert (code, error.count("\n")) == (2, 1)
    assert f"{taken} (container)" in error


def test_a_cluster_that_runs_after_an_error_has_a_kubernetes_api(cloud: LocalCloud) -> None:
    cloud.do("gke", "fail_next", what="create", cluster="*/late")
    late = cloud.create_cluster("late")
    cloud.wait_for(lambda: cloud.state()["clusters"][late]["status"] == "ERROR", 60)
    cloud.set_status(late, "RUNNING")
    assert cloud.kubernetes(late, "GET", "/api/v1/namespaces")[0] == 200


def test_the_file_to_source_unsets_what_it_does_not_set(directory: Path) -> None:
    other = {"CLUSTER_SELECTOR": "env=other", "INSTANCE": "other", "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": "a@b"}
    found = subprocess.run(
        ["bash", "-c", f"source {directory / 'env'} && env -0"],
        env={"PATH": os.environ["PATH"], **other},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    names = {line.partition("=")[0] for line in found}
    assert names & other.keys() == set()
    assert "FLEET_PROJECT" in names


FLEET_FILE = {
    "clusters": [
        {"name": "blue", "labels": {"env": "prod"}, "fleet": True},
        {"name": "red", "location": "europe-west4-a", "project": "demo-apps", "status": "DEGRADED"},
        {"name": "auto", "autopilot": True},
    ],
    "attached": [{"name": "edge", "labels": {"env": "edge"}, "admitted": True}, {"name": "shut"}],
}


def test_an_export_seeds_the_same_fleet(
    directory: Path, cloud: LocalCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.reset()
    cloud.seed(FLEET_FILE)
    _, first, _ = _run(directory, "export", capsys)
    cloud.reset()
    file = tmp_path / "fleet.yaml"
    file.write_text(first)
    assert _run(directory, f"seed {file}", capsys) == (0, "", "")
    assert _run(directory, "export", capsys)[1] == first
    found = {one["name"]: one for one in cloud.export()["clusters"]}
    assert (found["blue"]["labels"], found["blue"]["fleet"]) == ({"env": "prod"}, True)
    assert (found["red"]["status"], found["auto"]["autopilot"]) == ("DEGRADED", True)
    assert [one["admitted"] for one in cloud.export()["attached"]] == [True, False]


WRONG_SEEDS = ["[]", "bogus: 1", "clusters: 1", "clusters: [blue]", "clusters: [{name: a, bogus: 1}]", "{", "a: [b"]
WRONG_SEEDS += ["clusters: [{name: a, labels: {b: 1}}]", "clusters: [{name: a, status: BOGUS}]"]


@pytest.mark.parametrize("text", WRONG_SEEDS)
def test_a_wrong_seed_is_one_line_and_exit_code_2(
    text: str, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(text)
    for line in (f"seed {file}", f"up --free-ports --seed {file}"):
        code, out, error = _run(directory if line.startswith("seed") else tmp_path / "d", line, capsys)
        assert (code, out, error.count("\n")) == (2, "", 1), line


def test_a_reset_undoes_everything(cloud: LocalCloud) -> None:
    cloud.reset()
    before = cloud.state()
    secrets = "/api/v1/namespaces/argocd/secrets"
    secret = {"metadata": {"name": "mine"}, "type": "Opaque"}
    central = "projects/demo-fleet/locations/europe-west1/clusters/central"
    policy = cloud.do("iam", "policy", resource="projects/demo-fleet")

    cloud.create_cluster("blue", fleet="demo-fleet")
    cloud.create_cluster("slow", seconds=3600)
    cloud.attach("edge", admit=True)
    cloud.wait_for(lambda: len(cloud.state()["memberships"]) == 3, 60)
    cloud.add_fault("status", api="gkehub")
    cloud.add_event_rule("hold", "*")
    cloud.publish("sweep", {})
    cloud.publish("dead-letters", b"letter")
    cloud.do("iam", "revoke", "sweep@demo-fleet.iam.gserviceaccount.com", "demo-fleet", "gkehub.memberships.list")
    cloud.do("gke", "shut_project", "demo-other")
    cloud.set_labels(central, {"changed": "yes"})
    assert cloud.kubernetes(central, "POST", secrets, secret)[0] == 201
    assert cloud.kubernetes(central, "DELETE", f"{secrets}/nothing")[0] == 404

    cloud.reset()

    after = cloud.state()
    for state in (before, after):
        state.pop("at")
        for queue in state["queues"].values():
            queue.pop("oldest_age")
    assert after == before
    assert cloud.do("iam", "policy", resource="projects/demo-fleet") == policy
    assert cloud.kubernetes(central, "GET", f"{secrets}/mine")[0] == 404
    assert cloud.quiet()
    assert [call for call in cloud.calls() if call["method"] == "POST"] == []


def test_a_reset_cloud_works(cloud: LocalCloud) -> None:
    cloud.create_cluster("before")
    cloud.reset()
    blue = cloud.create_cluster("blue", fleet="demo-fleet")
    cloud.wait_for(lambda: len(cloud.state()["memberships"]) == 2, 60)
    assert cloud.kubernetes(blue, "GET", "/api/v1/namespaces")[0] == 200
    cloud.publish("dead-letters", b"letter")
    assert [message["data"] for message in cloud.pull("dead-letters")] == [b"letter"]


def test_every_sample_reaches_the_whole_cloud(cloud: LocalCloud) -> None:
    cloud.reset()
    for name in names():
        into_cloud(cloud, sample(name))
    written = [event_name(entry) for entry in cloud.do("logging", "read", ["demo-fleet"])]
    changes = ("CreateCluster", "DeleteCluster", "SetLabels", "UpdateCluster")
    blue = "projects/demo-fleet/locations/europe-west1/clusters/blue"
    assert {f"{change}.{phase} {blue}" for change in changes for phase in ("started", "finished")} <= set(written)
    assert [name for name in written if name.startswith("CreateCluster.refused ")]
    published = {call["path"] for call in cloud.calls() if call["path"].endswith(":publish")}
    topics = {name.removeprefix("message-") for name in names() if name.startswith("message-")} | {"audit-log-entries"}
    assert {f"/v1/projects/demo-fleet/topics/{topic}:publish" for topic in topics} <= published
    cloud.reset()


def test_a_sample_is_sent_to_a_function_of_this_machine_only(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(directory, "send bogus", capsys)[0] == 2
    assert _run(directory, "send message-sweep --to http://example.com", capsys)[0] == 2
    nobody = ReservedPort()
    code, _, error = _run(directory, f"send message-sweep --to http://127.0.0.1:{nobody.number}", capsys)
    nobody.release()
    assert (code, error.count("\n")) == (1, 1)
