"""`ops` says at once that the local cloud of the environment is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.environment import FOUND_BY, LOCK, taken, write_instance
from ops.__main__ import main
from ops.local_cloud import stopped

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_local_cloud_nothing_is_stopped() -> None:
    assert stopped({}) == ""


def test_a_running_cloud_is_not_stopped(tmp_path: Path) -> None:
    write_instance(tmp_path, "http://127.0.0.1:1", "token")
    with (tmp_path / LOCK).open("a") as lock:
        assert taken(lock)
        assert stopped({"LOCAL_CLOUD": str(tmp_path)}) == ""


def test_a_stopped_or_killed_cloud_is_stopped(tmp_path: Path) -> None:
    assert stopped({"LOCAL_CLOUD": str(tmp_path)})
    (tmp_path / LOCK).touch()
    (tmp_path / FOUND_BY).touch()
    assert stopped({"LOCAL_CLOUD": str(tmp_path)})


@pytest.mark.parametrize("command", ["plan", "status", "doctor"])
def test_every_command_says_so_in_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_CLOUD", str(tmp_path))
    assert main([command]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert f"the local cloud in {tmp_path} is stopped" in printed.err
