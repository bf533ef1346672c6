"""`python -m local up` as people run it: one process per test, ended as people end it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.control import LocalCloud
from local.environment import NotRunningError
from local.google.pubsub import sdk
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parent.parent.parent
MAIN = """
import sys
import functions_framework

@functions_framework.cloud_event
def route_event(event):
    # one write per line: the function runs in many threads
    sys.stdout.write(f"routed {event['type']} {event.get_attributes().get('subject')}\\n")
    sys.stdout.flush()

@functions_framework.cloud_event
def write_secret(event):
    print("received", event.data["message"]["data"], flush=True)
    if b"poison" in __import__("base64").b64decode(event.data["message"]["data"]):
        raise RuntimeError("this is poison")
"""


def _command(directory: Path, *more: str) -> list[str]:
    source = directory.parent / "main.py"
    if not source.exists():
        source.write_text(MAIN)
    return [
        sys.executable,
        "-m",
        "local",
        "up",
        "--free-ports",
        "--directory",
        str(directory),
        "--source",
        str(source),
        *more,
    ]


class Up:
    """A running `up`: its process and the client of it."""

    def __init__(self, process: subprocess.Popen[str], cloud: LocalCloud) -> None:
        self.process = process
        self.cloud = cloud
        self.pids: list[int] = []

    def start_all(self) -> None:
        """Start all functions, without a call, and note their processes."""
        for name in self.cloud.state()["functions"]:
            self.cloud.start_function(name)
        self.pids = [function["pid"] for function in self.cloud.state()["functions"].values()]

    def end(self, signal_: signal.Signals) -> tuple[int, str]:
        """Send a signal; return the exit code and what it printed on stderr."""
        self.process.send_signal(signal_)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        _, stderr = self.process.communicate(timeout=120)
        return self.process.returncode, stderr


@contextmanager
def _up(directory: Path, *more: str) -> Iterator[Up]:
    command = _command(directory, *more)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ready:"):
                break
        else:
            pytest.fail(f"it did not start: {process.communicate()[1]}")
        yield Up(process, LocalCloud.from_env(directory))
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=120)


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A process that nobody waits for any more (its parent was killed) may stay listed as a zombie.
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


def _local(up: Up, *arguments: str) -> str:
    command = [sys.executable, "-m", "local", arguments[0], "--directory", str(up.cloud.directory), *arguments[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_when_asked(tmp_path: Path, ending: signal.Signals) -> None:
    with _up(tmp_path / "d") as up:
        up.start_all()
        assert up.end(ending) == (0, "")
    assert all(_gone(pid) for pid in up.pids)
    with pytest.raises(NotRunningError, match="python -m local up"):
        LocalCloud.from_env(tmp_path / "d")


def test_the_file_to_source_has_what_the_tools_need(tmp_path: Path) -> None:
    with _up(tmp_path / "d") as up:
        bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        script = f"source {tmp_path / 'd' / 'env'} && env -0"
        done = subprocess.run(["bash", "-c", script], env=bare, capture_output=True, text=True, check=True)
        variables = dict(line.split("=", 1) for line in done.stdout.rstrip("\0").split("\0"))
        assert variables["CLOUDSDK_CORE_PROJECT"] == "demo-fleet"
        assert variables["FLEET_PROJECT_NUMBER"] == "100000000001"
        assert variables["KUBECONFIG"] == str(tmp_path / "d" / "kubeconfig")
        assert variables["CLOUDSDK_API_ENDPOINT_OVERRIDES_CONNECTGATEWAY"].startswith("https://127.0.0.1:")
        assert Path(variables["CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"]).is_file()
        assert (tmp_path / "d" / "env").stat().st_mode & 0o077 == 0
        found = subprocess.run(
            [sys.executable, "-c", "from local.control import LocalCloud; print(LocalCloud.from_env().directory)"],
            env=variables,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.strip() == str(up.cloud.directory)


def test_two_run_side_by_side_but_not_in_one_directory(tmp_path: Path) -> None:
    with _up(tmp_path / "a") as a, _up(tmp_path / "b") as b:
        one = a.cloud.create_cluster("only-in-a")
        assert one in a.cloud.state()["clusters"]
        assert one not in b.cloud.state()["clusters"]
        second = subprocess.run(
            _command(tmp_path / "a"), cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )
        assert second.returncode == 1
        assert "already runs in" in second.stderr
        assert "--directory" in second.stderr
        assert one in a.cloud.state()["clusters"]


def test_when_a_function_dies_it_says_which_with_the_end_of_its_log(tmp_path: Path) -> None:
    with _up(tmp_path / "d") as up:
        up.start_all()
        up.cloud.publish("write-secret", {"last": "words"})
        until(lambda: "received" in up.cloud.log("write-secret"))
        os.kill(up.cloud.state()["functions"]["write-secret"]["pid"], signal.SIGKILL)
        code, printed = up.ended()
    assert code == 1
    assert "the function write-secret was killed by SIGKILL" in printed
    assert "received" in printed
    assert all(_gone(pid) for pid in up.pids)


def test_a_function_that_does_not_start_is_named_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def route_event(event): ...\nraise RuntimeError('not today')\n")
    done = subprocess.run(_command(tmp_path / "d"), cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "route-event did not start" in done.stderr
    assert "not today" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_it_stops_cleanly_when_its_output_cannot_be_written(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            _command(tmp_path / "d"), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=120
        )
    assert (done.returncode, done.stderr) == (1, "local: the output cannot be written: No space left on device\n")
    with pytest.raises(NotRunningError) as raised:
        LocalCloud.from_env(tmp_path / "d")
    assert "killed" not in str(raised.value)


def test_first_calls_at_once_start_a_function_and_none_is_lost(tmp_path: Path) -> None:
    with _up(tmp_path / "d") as up:
        before = up.cloud.state()["functions"]
        assert [one["pid"] is None for one in before.values()] == [False, True]
        assert "starts at its first call" in _local(up, "status")
        for number in range(20):
            up.cloud.publish("write-secret", {"first": number})
        until(lambda: up.cloud.log("write-secret").count("received") == 20)
        up.cloud.wait_quiet()
        after = up.cloud.state()
        assert after["queues"]["write-secret"]["deliveries"] == 20
        assert after["functions"]["write-secret"]["pid"]


def test_a_function_that_does_not_start_at_its_first_call_ends_the_cloud(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        f"{MAIN}\nimport os\nassert os.environ['K_SERVICE'] != 'write-secret', 'not today'\n"
    )
    with _up(tmp_path / "d") as up:
        up.cloud.publish("write-secret", {"first": "message"})
        code, printed = up.ended()
    assert code == 1
    assert "write-secret" in printed
    assert "not today" in printed


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends processes with their parent: left out is that")
def test_nothing_outlives_it_when_it_is_killed(tmp_path: Path) -> None:
    with _up(tmp_path / "d") as up:
        up.start_all()
        assert up.end(signal.SIGKILL)[0] == -signal.SIGKILL
        until(lambda: all(_gone(pid) for pid in up.pids))
    with pytest.raises(NotRunningError, match="was killed"):
        LocalCloud.from_env(tmp_path / "d")


def test_a_function_that_was_killed_on_purpose_comes_back_and_loses_nothing(tmp_path: Path) -> None:
    with _up(tmp_path / "d") as up:
        url = up.cloud.state()["functions"]["write-secret"]["url"]
        up.cloud.kill_function("write-secret")
        up.cloud.publish("write-secret", {"while": "away"})
        assert "received" not in up.cloud.log("write-secret")
        up.cloud.start_function("write-secret")
        until(lambda: "received" in up.cloud.log("write-secret"))
        assert up.cloud.state()["functions"]["write-secret"]["url"] == url
        up.cloud.wait_quiet()


def test_what_fails_too_often_is_a_dead_letter(tmp_path: Path) -> None:
    with _up(tmp_path / "d", "--retry-min", "0.01", "--retry-max", "0.02", "--attempts", "5") as up:
        up.cloud.publish("write-secret", b"poison", {"cause": "a test"})
        until(lambda: up.cloud.state()["dead_letters"] == 1)
        (letter,) = up.cloud.pull("dead-letters")
        assert letter["data"] == b"poison"
        assert letter["attributes"]["cause"] == "a test"
        assert letter["attributes"]["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Programs that start from here heed Ctrl-C, although a shell that runs tests in the background turns it off for them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_logs_follow_shows_each_entry_once_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    with _up(tmp_path / "d") as up:
        up.cloud.publish("write-secret", {"number": "one"})
        until(lambda: "received" in up.cloud.log("write-secret"))
        command = [sys.executable, "-m", "local", "logs", "--directory", str(tmp_path / "d"), "--follow", "--last", "0"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as logs:
            assert logs.stdout is not None
            shown = _until(logs.stdout, "eyJudW1iZXIiOiAib25lIn0=")
            up.cloud.publish("write-secret", {"number": "two"})
            shown += _until(logs.stdout, "eyJudW1iZXIiOiAidHdvIn0=")
            logs.send_signal(signal.SIGINT)
            rest, errors = logs.communicate(timeout=120)
        received = [line for line in (shown + rest).splitlines() if "received" in line]
        assert len(received) == 2
        assert all(line.split()[1] == "write-secret" for line in received)
        assert "Traceback" not in errors
        assert logs.returncode in (0, 130)


def _until(lines: Iterable[str], text: str) -> str:
    """Read lines up to the one that has a text."""
    found = ""
    for line in lines:
        found += line
        if text in line:
            return found
    pytest.fail(f"{text} was not shown: {found}")


def test_a_second_runs_logs_do_not_mix_with_the_firsts(tmp_path: Path) -> None:
    for run in ("first", "second"):
        with _up(tmp_path / "d") as up:
            up.cloud.publish("write-secret", run.encode())
            until(lambda: "received" in up.cloud.log("write-secret"))
            entries = _local(up, "logs", "--last", "0")
            assert up.end(signal.SIGTERM)[0] == 0
    first, second = "Zmlyc3Q=", "c2Vjb25k"  # in base64, as Pub/Sub pushes them
    assert (first in entries, second in entries) == (False, True)
    logs = {name: (tmp_path / "d" / name / "write-secret.log").read_text() for name in ("log", "log.previous")}
    assert (first in logs["log"], second in logs["log"]) == (False, True)
    assert (first in logs["log.previous"], second in logs["log.previous"]) == (True, False)


def test_it_starts_with_the_fleet_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text("clusters: [{name: blue, labels: {env: prod}}]\nattached: [{name: edge}]\n")
    with _up(tmp_path / "d", "--seed", str(file)) as up:
        state = up.cloud.state()
        blue = state["clusters"]["projects/demo-fleet/locations/europe-west1/clusters/blue"]
        assert (blue["status"], blue["resourceLabels"]) == ("RUNNING", {"env": "prod"})
        assert "projects/demo-fleet/locations/global/memberships/edge" in state["memberships"]
        assert (
            up.cloud.kubernetes("projects/demo-fleet/locations/europe-west1/clusters/blue", "GET", "/version")[0] == 200
        )


def test_events_reach_route_event_from_the_fleets_project_and_by_the_sink(tmp_path: Path) -> None:
    with _up(tmp_path / "d", "--create-seconds", "0") as up:
        up.cloud.create_cluster("near")
        up.cloud.create_cluster("far", project="demo-apps")
        up.cloud.create_cluster("foreign", project="demo-other")
        up.cloud.wait_quiet()
        routed = [line for line in up.cloud.log("route-event").splitlines() if line.startswith("routed")]
        near = "google.cloud.audit.log.v1.written container.googleapis.com/projects/demo-fleet/zones/europe-west1/clusters/near"
        assert routed.count(f"routed {near}") == 2
        assert routed.count("routed google.cloud.pubsub.topic.v1.messagePublished None") == 1  # the finished entry
        assert len(routed) == 3


def test_commands_read_and_change_a_running_cloud(tmp_path: Path) -> None:
    with _up(tmp_path / "d") as up:
        assert _local(up, "attach", "edge", "--labels", "env=edge", "--admit").strip().endswith("/memberships/edge")
        _local(up, "disconnect", "edge")
        assert "agent lost" in _local(up, "status")
        _local(up, "reconnect", "edge")
        assert "agent lost" not in _local(up, "status")
        _local(up, "fault", "add", "--api", "gkehub", "--status", "429")
        assert '"status": 429' in _local(up, "fault", "list", "--json")
        _local(up, "fault", "clear")
        assert up.cloud.state()["faults"] == []
        _local(up, "event", "hold", "--event", "CreateCluster*", "--times", "0")
        up.cloud.create_cluster("held", seconds=0)
        up.cloud.wait_for(lambda: len(up.cloud.state()["events"]["held"]) == 2)
        assert "CreateCluster.finished" in _local(up, "event", "release", "--order", "1,0").splitlines()[0]
        _local(up, "do", "gke", "set_status", f"name={up.cloud.create_cluster('red', seconds=0)}", "status=ERROR")
        assert "ERROR" in _local(up, "status")
        _local(up, "function", "stop", "write-secret")
        assert "not running" in _local(up, "status")


def _emulator_missing() -> str:
    try:
        sdk.command(1)
    except sdk.UnavailableError as error:
        return str(error)
    return ""


@pytest.mark.skipif(bool(_emulator_missing()), reason=f"left out is `--pubsub emulator`: {_emulator_missing()}")
def test_it_runs_on_the_cloud_sdks_emulator_too(tmp_path: Path) -> None:
    with _up(tmp_path / "d", "--pubsub", "emulator", "--create-seconds", "0") as up:
        up.cloud.publish("write-secret", {"by": "emulator"})
        up.cloud.create_cluster("far", project="demo-apps")
        until(lambda: "received" in up.cloud.log("write-secret"))
        until(lambda: up.cloud.log("route-event").count("messagePublished") == 1)
        assert up.end(signal.SIGINT)[0] == 0


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here: left out are the contexts of the kubeconfig")
def test_each_cluster_has_a_context_that_comes_and_goes(tmp_path: Path) -> None:
    def contexts() -> list[str]:
        command = [
            "kubectl",
            "--kubeconfig",
            str(tmp_path / "d" / "kubeconfig"),
            "config",
            "get-contexts",
            "-o",
            "name",
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    with _up(tmp_path / "d", "--create-seconds", "0", "--delete-seconds", "0") as up:
        assert contexts() == ["central"]
        here = up.cloud.create_cluster("blue")
        up.cloud.attach("edge")
        until(lambda: contexts() == ["blue", "central", "edge"])
        there = up.cloud.create_cluster("blue", "us-east1")
        both = ["central", "demo-fleet.europe-west1.blue", "demo-fleet.us-east1.blue", "edge"]
        until(lambda: contexts() == both)
        up.cloud.delete_cluster(here)
        up.cloud.delete_cluster(there)
        until(lambda: contexts() == ["central", "edge"])
