"""The lines of `python -m local logs`."""

from __future__ import annotations

from typing import Any

import pytest

from local.commands.logs import filter_text, is_of, line
from local.google.logging.filters import parse

CLUSTER = "projects/demo-apps/locations/europe-west1/clusters/blue"
ENTRY: dict[str, Any] = {
    "timestamp": "2026-11-27T21:00:00.512Z",
    "severity": "WARNING",
    "resource": {"type": "cloud_run_revision", "labels": {"service_name": "write-secret"}},
    "labels": {"step": "write-secret", "cluster": CLUSTER},
    "jsonPayload": {"decision": "retry", "message": "the cluster does not answer"},
}


def test_a_line_has_time_severity_step_decision_cluster_and_message() -> None:
    assert line(ENTRY).split() == [
        *("21:00:00.512", "WARNING", "write-secret", "retry", "blue"),
        *["the", "cluster", "does", "not", "answer"],
    ]
    assert "INFO" not in line({**ENTRY, "severity": "INFO"})


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\u202eevil", "\x9b1m"])
def test_a_line_is_one_line_that_no_terminal_obeys(text: str) -> None:
    for entry in ({**ENTRY, "jsonPayload": {"message": text}}, {**ENTRY, "jsonPayload": {}, "textPayload": text}):
        assert line(entry).isprintable()


@pytest.mark.parametrize(
    ("cluster", "found"),
    [("", True), (CLUSTER, True), ("blue", True), ("blu", False), ("demo-apps", False)],
)
def test_a_cluster_is_its_full_name_or_its_last_part(cluster: str, found: bool) -> None:
    assert is_of(ENTRY, cluster) is found


def test_a_step_is_a_function() -> None:
    assert parse(filter_text("write-secret"))(ENTRY)
    assert not parse(filter_text("sweep"))(ENTRY)
    assert not parse(filter_text('" OR severity>"'))(ENTRY)


def test_the_lines_of_a_message_are_parted_by_a_semicolon() -> None:
    assert line({**ENTRY, "jsonPayload": {"message": "a\nb"}}).endswith("a; b")
