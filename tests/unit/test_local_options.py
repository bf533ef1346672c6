"""Every wrong option of `python -m local` is one line and exit code 2; tables fit a terminal."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from local import ports
from local.__main__ import main
from local.command_line import command_line
from local.commands.tables import table
from local.environment import FOUND_BY, LOCK, taken, write_instance
from local.functions import TARGETS
from local.processes import ended

if TYPE_CHECKING:
    from pathlib import Path

WRONG = [
    "up --port container=abc",
    "up --port container=99999",
    "up --port container=0",
    "up --port bogus=1",
    "up --port container",
    "up --port container=",
    "status --directory=",
    "logs --step write-secrets",
    "logs --step=",
    "logs --cluster=",
    "demo --kube other",
    "demo --directory=x",
    "up --attempts 3",
    "up --attempts many",
    "up --setting FOO",
    "up --setting FOO=1",
    "up --setting HOLD",
    "up --create-seconds -1",
    "up --update-seconds soon",
    "up --retry-min 601",
    "up --pull-seconds soon",
    "up --retry-min 5 --retry-max 2",
    "up --hold -1",
    "up --token-seconds 0",
    "up --spare -1",
    "up --kube other",
    "up --selector env==in=(",
    "up --setting MAX_REMOVALS=many",
    "up --label-keys a:b:c",
    "up --source none.py",
    "up --source README.md",
    "up --source docs/status.png",
    "up --bogus",
    "function kill bogus",
    "function explode sweep",
    "fault add --api bogus",
    "fault add --api control",
    "fault add --api pubsub-grpc",
    "fault add --call bogus",
    "fault add --status 200",
    "fault add --status 600",
    "fault add --times -1",
    "fault add --skip -1",
    "fault add --seconds -1",
    "fault add --effect bogus",
    "event repeat --copies 0",
    "event release --order 1,x",
    "event bogus",
    "calls --last 0",
    "attach edge --labels env",
    "do",
    "do gke",
    "bogus",
]


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_option_is_one_line_and_exit_code_2(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *options = line.split()
    arguments = [command, *([] if command in ("bogus", "demo") else ["--directory", str(tmp_path)]), *options]
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith("local: ")
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_cloud_is_named_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--directory", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"local: no cloud runs in {tmp_path}: start one with `python -m local up`\n"
    (tmp_path / "env").touch()
    assert main(["status", "--directory", str(tmp_path)]) == 1
    assert "is stopped" in capsys.readouterr().err


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_file_of_a_running_cloud_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: bytes
) -> None:
    (tmp_path / FOUND_BY).write_bytes(damaged)
    with (tmp_path / LOCK).open("a") as lock:
        assert taken(lock)
        assert main(["status", f"--directory={tmp_path}"]) == 1
    printed = capsys.readouterr().err
    assert "python -m local up" in printed
    assert printed.count("\n") == 1


def test_a_cloud_that_does_not_answer_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / LOCK).open("a") as lock, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens, and nobody else gets the port
        assert taken(lock)
        write_instance(tmp_path, f"http://127.0.0.1:{closed.getsockname()[1]}", "token")
        assert main(["status", f"--directory={tmp_path}"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("local: the local cloud does not answer: ")
    assert "urlopen" not in printed


def test_fixed_ports_differ_and_are_no_ephemeral_ones() -> None:
    found = ports.defaults()
    assert len(set(found.values())) == len(found)
    assert max(found.values()) < 32768
    assert {f"function {target.replace('_', '-')}" for target in TARGETS} < found.keys()


def test_a_wide_table_fits_and_loses_nothing() -> None:
    name, server = "demo-fleet/europe-west1/blue", "https://127.0.0.1:28103/v1/projects/100000000001/locations/x/y"
    lines = table(["name", "labels", "server"], [[name, "a=b,c=d", server], ["b", "", "c"]], 60)
    assert max(map(len, lines)) <= 60
    assert server in "".join(line[line.rindex(" ") + 1 :] for line in lines[1:])


def test_a_table_shows_what_a_terminal_would_obey() -> None:
    assert table(["name"], [["a\x1b[2Jb\nc"]], 80)[1] == "  a\\x1b[2Jb\\nc"


def test_a_table_breaks_a_name_behind_a_slash() -> None:
    lines = table(["name"], [["demo-fleet/europe-west1/blue"]], 28)
    assert [line.strip() for line in lines[1:]] == ["demo-fleet/europe-west1/", "blue"]


def test_closed_streams_are_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["status", "--directory", str(tmp_path)]) == 1


def test_a_directory_that_cannot_be_used_is_named_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "file"
    taken.touch()
    assert main(["up", "--free-ports", "--directory", str(taken)]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"local: {taken}: File exists. ")
    assert printed.count("\n") == 1
    assert "another --directory" in printed


@pytest.mark.parametrize("command", ["up", "status"])
def test_a_directory_that_is_a_loop_of_links_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(SystemExit) as ended:
        main([command, "--directory", str(loop)])
    printed = capsys.readouterr().err
    assert ended.value.code == 2
    assert str(loop) in printed
    assert printed.count("\n") == 1


def test_a_current_directory_that_is_gone_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.delenv("LOCAL_CLOUD", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["status"])
    printed = capsys.readouterr().err
    assert ended.value.code == 2
    assert ".local: No such file or directory" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("command", ["up", "status"])
def test_every_command_takes_the_directory_of_the_environment(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_CLOUD", str(tmp_path))
    assert command_line().parse_args([command]).directory == tmp_path


def test_a_seed_that_cannot_be_read_is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.yaml"
    assert main(["up", "--directory", str(tmp_path / "d"), "--seed", str(missing)]) == 2
    assert capsys.readouterr().err == f"local: {missing}: No such file or directory\n"


@pytest.mark.parametrize(("code", "words"), [(-9, "was killed by SIGKILL"), (3, "ended by itself (exit 3)")])
def test_the_end_of_a_process_has_words(code: int, words: str) -> None:
    assert ended(code) == words
