"""What a person types: usage errors, help, and settings that are missing."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ops.__main__ import main
from ops.command_line import command_line
from tests.unit.given import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("typed", "wording"),
    [
        (["nonsense"], "invalid choice"),
        (["explain"], "required: CLUSTER"),
        (["plan", "--project", "a", "--cluster", "b"], "not allowed with"),
        (["backfill", "--rate", "fast"], "not a whole number"),
        (["serve", "--port", "65536"], "not a port"),
        (["serve", "--port", "x"], "not a port"),
        (["wait", "blue", "--for=onboarded", "--timeout", "soon"], "not a duration"),
        (["plan", "a\nb\x1b"], "unrecognized arguments"),
        (["explain", ""], "is empty"),
        (["wait", " ", "--for", "offboarded"], "is empty"),
        (["doctor", "--canary="], "is empty"),
        (["status", "--html", ""], "is empty"),
        (["dead-letters", "drop", ""], "is empty"),
    ],
)
def test_what_is_typed_wrong_ends_with_one_line_and_1(
    typed: list[str], wording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(typed)
    printed = capsys.readouterr().err
    assert ended.value.code == 1
    assert wording in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "wording"),
    [
        (["dead-letters", "replay"], "name the letters"),
        (["dead-letters", "replay", "1", "--all"], "name the letters"),
        (["dead-letters", "replay", "1", "--reason", "x"], "--all --reason"),
        (["dead-letters", "drop", "1", "--reason", "x", "--yes"], "--all --reason"),
        (["dead-letters", "replay", "1", "--body", "{"], "not JSON"),
        (["dead-letters", "drop", "1", "--json"], "needs --yes"),
        (["pause", "nonsense"], "is not a step"),
        (["dead-letters", "replay", "1", "2", "--body", "{}"], "repairs one letter"),
        (["dead-letters", "replay", "1", "--body", "/no/such/file"], "neither JSON nor a file"),
        (["backfill", "--rate", "1000"], "more than Connect Gateway accepts"),
    ],
)
def test_what_cannot_be_done_ends_before_anything_is_asked(
    typed: list[str], wording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed) == 1
    printed = capsys.readouterr().err
    assert wording in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    "typed", ["plan --project", "plan --cluster", "backfill --project", "dead-letters drop --all --yes --reason"]
)
def test_an_empty_value_does_not_select_everything(typed: str) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line().parse_args([*typed.split(), ""])
    assert ended.value.code == 1


@pytest.mark.parametrize("command", ["plan", "explain x", "backfill", "adopt", "dead-letters list"])
def test_missing_settings_are_named_with_commands_that_help(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    assert main(command.split()) == 1
    printed = capsys.readouterr().err
    first, *lines = printed.splitlines()
    assert first == "ops: the settings are wrong:"
    missing = [line.split()[0] for line in lines if " is not set; example: " in line]
    assert missing == ["FLEET_PROJECT", "FLEET_PROJECT_NUMBER", "CENTRAL_MEMBERSHIP", "ARGOCD_SERVICE_ACCOUNT"]
    assert sum(line.startswith("  gcloud functions list ") for line in lines) == 1


def test_a_wrong_file_of_credentials_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It goes before every login, so that logging in does not help."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LOCAL_CLOUD", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert main(["plan"]) == 1
    assert f"GOOGLE_APPLICATION_CREDENTIALS={tmp_path}/none.json" in capsys.readouterr().err


def test_missing_settings_are_a_line_each_in_doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    assert main(["doctor"]) == 1
    *lines, fix, counts = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["fail", "settings", name]
        for name in ("FLEET_PROJECT", "FLEET_PROJECT_NUMBER", "CENTRAL_MEMBERSHIP", "ARGOCD_SERVICE_ACCOUNT")
    ]
    assert "fix: eval " in fix
    assert "4 fail" in counts


@pytest.mark.parametrize(
    "command",
    [
        "",
        "plan",
        "explain",
        "backfill",
        "adopt",
        "dead-letters",
        "dead-letters list",
        "dead-letters show",
        "dead-letters replay",
    ],
)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert f"python -m ops {command}".strip() in " ".join(capsys.readouterr().out.split())


def test_every_command_that_ends_by_itself_has_json() -> None:
    def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
        inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not inner:
            yield parser
        for one in (one for action in inner for one in action.choices.values()):
            yield from leaves(one)

    found = {
        one.prog.removeprefix("python -m ops "): "--json" in one._option_string_actions
        for one in leaves(command_line())
    }
    assert len(found) > 12
    assert [name for name, has in found.items() if not has] == ["serve"]


@pytest.mark.parametrize("module", ["ops", "local"])
def test_ctrl_c_during_the_imports_has_no_traceback(module: str) -> None:
    code = f"""if True:
        import os, runpy, signal, sys

        class Interrupting:
            def find_spec(self, name, *more):
                if name in ("argparse", "{module}.command_line"):  # the heavy imports
                    os.kill(os.getpid(), signal.SIGINT)

        signal.signal(signal.SIGINT, signal.default_int_handler)  # the process that starts the tests may ignore it
        sys.argv[1:] = ["nonsense"]
        sys.meta_path.insert(0, Interrupting())
        runpy.run_module("{module}", run_name="__main__")"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_help_loads_no_client() -> None:
    code = "import sys; from ops.command_line import command_line; command_line(); print({'flask', 'google.auth', 'grpc'} & {*sys.modules})"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


@pytest.mark.parametrize("columns", ["40", "80"])
@pytest.mark.parametrize("command", ["", "explain", "dead-letters replay", "shards"])
def test_help_breaks_no_name_and_no_command(
    command: str, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    *text, example = capsys.readouterr().out.splitlines()
    assert not [line for line in text if re.search(r"\w-$", line)]
    assert example.startswith("  python -m ops " if command else "  source ")
