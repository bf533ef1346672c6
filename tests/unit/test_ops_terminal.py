"""What a person sees and types: tables, progress, pace, the plan in words, and mistakes reported in one line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ops.__main__ import main
from ops.advice import Advice, lines
from ops.dead_letters import confirmed
from ops.pace import CALLS_PER_CLUSTER, CLUSTERS_A_MINUTE, GATEWAY_REQUESTS, paced
from ops.plan import as_json, as_text, behind, differs, filter_plan, unread
from ops.survey import find
from ops.terminal import (
    Guarded,
    MistakeError,
    Progress,
    UnreadError,
    ago,
    fold,
    guarded,
    one_line,
    seconds,
    table,
    wrap,
)
from ops.unread import by_cause
from shared.decisions.recognition import ADOPT
from shared.decisions.sweep_plan import Plan
from shared.values.names import ClusterName
from tests.unit.given import BLUE, BLUE_MEMBER, ENVIRONMENT, NOW, SELECTING, SETTINGS, as_secret, created, secret
from tests.unit.surveys import seen, theirs

ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_has_columns_and_one_line_for_each_row() -> None:
    assert table(("A", "LONG"), [("x\ny", "1"), ("zzzzz", "2")]) == "A      LONG\nx y    1\nzzzzz  2"


def test_what_a_terminal_would_obey_is_not_sent_to_it() -> None:
    assert one_line("a\x1b[2Jb\r\n c") == "a [2Jb c"
    assert one_line("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    ("passed", "wording"),
    [(5, "5 s ago"), (119, "119 s ago"), (600, "10 min ago"), (7200, "2 h ago"), (172800, "2 d ago"), (-5, "0 s ago")],
)
def test_times_use_the_largest_unit_that_fits(passed: int, wording: str) -> None:
    assert ago(NOW, NOW + timedelta(seconds=passed)) == wording


def test_progress_is_a_bar_on_a_terminal_and_a_line_a_tenth_elsewhere() -> None:
    bar, lines = Terminal(), io.StringIO()
    for out in (bar, lines):
        progress = Progress(200, "clusters", out)
        for _ in range(200):
            progress.step()
    assert bar.getvalue().endswith(f"\r[{'#' * 40}] 200 of 200 clusters\n")
    assert lines.getvalue().splitlines() == [f"{20 * tenth} of 200 clusters" for tenth in range(1, 11)]


def test_no_minute_has_more_than_the_rate() -> None:
    time, waited = [0.0], []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        time[0] += seconds

    came = []
    for number in paced(range(300), 100, clock=lambda: time[0], wait=wait):
        came.append(time[0])
        time[0] += 30.0 if number == 50 else 0.0  # one that takes long is not made good in a burst
    assert all(later - earlier >= 60 - 1e-6 for earlier, later in zip(came, came[100:], strict=False))
    assert came[-1] < 60 * 3 + 31


def test_the_default_rate_leaves_a_third_of_the_gateway_to_others() -> None:
    assert CLUSTERS_A_MINUTE * CALLS_PER_CLUSTER <= GATEWAY_REQUESTS * 2 / 3


def test_a_plan_in_which_nothing_differs_says_so() -> None:
    plan = seen(secrets=[secret()], memberships=[BLUE_MEMBER]).plan
    assert not differs(plan)
    assert as_text(plan, SETTINGS) == "Nothing differs."


def test_plan_shows_everything_and_the_budget_of_a_sweep() -> None:
    clusters = [replace(BLUE, name=ClusterName("demo-apps", "europe-west1", f"c{n}")) for n in range(9)]
    few = replace(SETTINGS, sweep_requests=5)
    plan = seen(clusters, [], settings=few).plan
    assert len(plan.requests) == 9
    assert "It publishes 5 at a time" in as_text(plan, few)


def test_a_limited_plan_shows_the_list_the_hash_and_the_release() -> None:
    clusters = [replace(BLUE, name=ClusterName("demo-apps", "europe-west1", f"c{n}"), labels={}) for n in range(4)]
    of_these = [replace(BLUE_MEMBER, name=one.name.membership("demo-fleet"), cluster=one.name) for one in clusters]
    secrets = [as_secret(created(one, there)) for one, there in zip(clusters, of_these, strict=True)]
    survey = seen(clusters, of_these, secrets, settings=SELECTING)
    plan = survey.plan
    text = as_text(plan, SELECTING)
    assert differs(plan)
    assert "4 clusters would newly be held or lose a label key" in text
    assert "MAX_REMOVALS never allows all 4 clusters" in as_text(plan, SELECTING, survey.inventory)
    assert behind(survey, SELECTING) == ["CLUSTER_SELECTOR (env=prod) matches 0 of 4 clusters."]
    assert (
        f'gcloud pubsub topics publish sweep --project=demo-fleet --message=\'{{"release":"{plan.reached[0].hash}"}}\''
        in text
    )
    written = as_json(plan, SELECTING)
    assert [one["hash"] for one in written["limits"]] == [plan.reached[0].hash]
    assert (len(written["blocked"]), written["requests"]) == (4, [])
    assert json.loads(json.dumps(written)) == written


def test_a_plan_says_what_many_clusters_have_in_common() -> None:
    clusters = [
        replace(BLUE, name=ClusterName("demo-apps", "europe-west1", f"c{n}"), labels={} if n else {"env": "prod"})
        for n in range(14)
    ]
    of_these = [replace(BLUE_MEMBER, name=one.name.membership("demo-fleet"), cluster=one.name) for one in clusters]
    secrets = [as_secret(created(one, there)) for one, there in zip(clusters, of_these, strict=True)]
    survey = seen(clusters, of_these, secrets, settings=SELECTING)
    assert behind(survey, SELECTING) == [
        "13 clusters in Argo CD do not have env=prod, which CLUSTER_SELECTOR asks for."
    ]


def test_the_only_cluster_is_never_removed_by_the_limit() -> None:
    away = replace(BLUE, labels={})
    survey = seen([away], [BLUE_MEMBER], [as_secret(created(away))], settings=SELECTING)
    assert "MAX_REMOVALS never allows the only cluster" in as_text(survey.plan, SELECTING, survey.inventory)


def test_what_could_not_be_read_is_no_nothing_differs() -> None:
    survey = seen(secrets=[secret()], memberships=[BLUE_MEMBER], listed=frozenset({"demo-apps"}))
    missing = unread(survey, SETTINGS)
    assert missing == {"projects/demo-fleet": "403"}
    assert unread(survey, SETTINGS, "demo-apps") == {}
    assert "Nothing differs." not in as_text(survey.plan, SETTINGS, survey.inventory, missing)


def test_what_could_not_be_read_is_explained_once() -> None:
    survey = seen(secrets=[secret()], memberships=[BLUE_MEMBER], listed=frozenset({"demo-apps"}))
    text = as_text(survey.plan, SETTINGS, survey.inventory, unread(survey, SETTINGS))
    assert text.count("python -m ops doctor") == 1
    lost = replace(survey, secrets_unread="503", fleet_unread="503")
    assert by_cause(unread(lost, SETTINGS))[0] == ("the Secrets, the fleet", "503")


def test_a_sentence_before_its_command_ends_with_a_colon_alone() -> None:
    assert lines([Advice("It may not exist.", "python -m ops plan")]) == ["It may not exist:", "  python -m ops plan"]


def test_an_error_does_not_repeat_a_long_name() -> None:
    with pytest.raises(MistakeError) as raised:
        find("x" * 100_000, seen(), {})
    assert len(str(raised.value)) < 1000


def test_a_guarded_stream_gets_no_character_that_a_terminal_obeys() -> None:
    hostile = "".join(
        map(chr, (*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x200E, 0x202E, 0x2028, 0x2029, 0x2066, 0xFEFF, 0xD800))
    )
    out = io.StringIO()
    print(f"a{hostile}b é 漢", file=Guarded(out))
    assert all(each.isprintable() or each == "\n" for each in out.getvalue())
    assert r"\x1b" in out.getvalue()
    assert out.getvalue().endswith("b é 漢\n")


def test_a_guarded_stream_of_ascii_gets_escapes() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    print("é", file=Guarded(out), flush=True)
    assert raw.getvalue() == rb"\xe9" + b"\n"


def test_all_output_is_guarded_and_a_bar_moves_its_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded():
        sys.stdout.write("\x1b[2J")
        sys.stderr.write("\x1b[2J")
        assert Progress(1, "x").out is not sys.stderr
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err


def test_a_plan_is_narrowed_to_a_project_or_a_cluster() -> None:
    other = replace(BLUE, name=ClusterName("demo-fleet", "europe-west1", "green"))
    survey = seen([BLUE, other], [])
    assert [ask.subject for ask in filter_plan(survey, SETTINGS, "demo-apps", "").requests] == [str(BLUE.name)]
    assert [ask.subject for ask in filter_plan(survey, SETTINGS, "", "green").requests] == [str(other.name)]


def test_a_project_that_no_sweep_reads_is_a_mistake() -> None:
    with pytest.raises(MistakeError, match="none of the projects that a sweep reads: demo-apps, demo-fleet"):
        filter_plan(seen(), SETTINGS, "typo", "")


@pytest.mark.parametrize("part", ["secrets_unread", "fleet_unread"])
def test_without_the_secrets_or_the_fleet_there_is_no_plan(part: str) -> None:
    survey = replace(seen(), plan=Plan(), **{part: "503"})  # type: ignore[arg-type]
    missing = unread(survey, SETTINGS)
    assert list(missing.values()) == ["503"]
    text = as_text(survey.plan, SETTINGS, survey.inventory, missing)
    assert "Nothing differs" not in text
    assert "  python -m ops doctor" in text.splitlines()


def test_a_name_not_found_in_an_incomplete_reading_is_unread() -> None:
    with pytest.raises(UnreadError):
        find("green", replace(seen(), fleet_unread="503"), {})
    with pytest.raises(MistakeError) as known:
        find("green", seen(), {})
    assert not isinstance(known.value, UnreadError)


def test_plan_prints_a_findings_command_on_its_own_line() -> None:
    survey = seen(unmanaged=(theirs("x", "https://10.0.0.1", "gke_demo-apps_europe-west1_blue"),))
    [finding] = [one for one in survey.plan.findings if one.command]
    assert finding.command == ADOPT
    lines = as_text(survey.plan, SETTINGS).splitlines()
    assert [line for line in lines if ADOPT in line] == [f"  {ADOPT}"]
    assert ADOPT in {one["command"] for one in as_json(survey.plan, SETTINGS)["findings"]}


LONG = "The membership projects/demo-fleet/locations/europe-west1/memberships/blue exists and is not managed here"


@pytest.mark.parametrize("columns", [20, 40, 79])
@pytest.mark.parametrize("indent", ["", "    "])
def test_a_long_line_is_folded_below_its_own_indentation(columns: int, indent: str) -> None:
    lines = fold(indent + LONG, columns).split("\n")
    assert len(lines) > 1
    assert all(len(line) <= columns for line in lines)
    assert all(line.startswith(f"{indent}  ") for line in lines[1:])
    assert "".join("".join(lines).split()) == "".join(LONG.split())


@pytest.mark.parametrize(
    "line", ["short", "  gcloud container clusters describe a-cluster-with-a-long-name --location=x"]
)
def test_a_short_line_and_a_command_stay_whole(line: str) -> None:
    assert fold(line, 20) == line


def test_a_word_longer_than_the_terminal_is_cut() -> None:
    assert wrap("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]
    assert wrap("", 10) == [""]


def test_a_terminal_gets_folded_lines_and_a_file_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    terminal, file = Terminal(), io.StringIO()
    for out in (terminal, file):
        Guarded(out).write(f"{LONG}\n")
    assert file.getvalue() == f"{LONG}\n"
    assert max(map(len, terminal.getvalue().split("\n"))) <= 30


def test_the_widest_cells_of_a_table_are_folded_until_a_row_fits() -> None:
    shown = table(("NAME", "WHY"), [("blue", LONG), ("a-cluster", "short")], columns=50)
    assert max(map(len, shown.split("\n"))) <= 50
    assert "a-cluster" in shown


def test_a_table_that_no_row_fits_has_a_line_for_each_cell() -> None:
    narrow = table(("NAME", "SINCE", "WHY"), [("blue", "", LONG), ("green", "now", "x")], columns=12)
    assert narrow.split("\n") == ["NAME: blue", f"WHY: {LONG}", "", "NAME: green", "SINCE: now", "WHY: x"]


def test_the_tables_of_the_commands_fit_forty_columns() -> None:
    five = table(("CLUSTER", "PROJECT", "LOCATION", "STATE", "WHY"), [("blue", "demo", "x", "missing", LONG)], 40)
    assert max(map(len, five.split("\n"))) <= 40


@pytest.mark.parametrize(("text", "wanted"), [("90s", 90.0), ("10m", 600.0), ("1h", 3600.0), ("5", 5.0)])
def test_a_duration_has_a_unit_or_is_seconds(text: str, wanted: float) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "m", "-1s", "1d", "²s", "1.5h"])
def test_what_is_no_duration_is_a_mistake(text: str) -> None:
    with pytest.raises(MistakeError, match="duration"):
        seconds(text)


def test_closed_streams_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["doctor"]) == 1
    assert main(["plan"]) == 1


def test_without_standard_input_nothing_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert not confirmed("Discard 1 letter for good?")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("typed", ["ops doctor", "ops --help", "ops --version", "local --help"])
def test_output_that_cannot_be_written_is_one_line(typed: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", *typed.split()],
            cwd=ROOT,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )
    end = "the output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, f"{typed.split(maxsplit=1)[0]}: {end}")


@pytest.mark.parametrize("typed", ["ops --help", "local --help"])
def test_a_help_whose_reader_has_gone_ends_without_a_word(typed: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        words = [sys.executable, "-m", *typed.split()]
        done = subprocess.run(
            words, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=120
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
