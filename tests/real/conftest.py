"""What needs the real parts runs where it is asked for: `make test-real` sets REAL_PARTS."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

REASON = "left out: needs kube-apiserver and Argo CD built (make test-real)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("REAL_PARTS"):
        for item in items:
            if "tests/real/" in str(item.path.as_posix()):
                item.add_marker(pytest.mark.skip(reason=REASON))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """List every deviation that the differential test has met."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            counts[name] += int(value) if isinstance(value, int) else 0
    if writes := counts.pop("writes", 0):
        terminalreporter.section("random writes on both servers")
        terminalreporter.line(f"{writes} writes; of them answered or stored otherwise by the embedded server:")
        for deviation, count in counts.most_common():
            terminalreporter.line(f"{count:6} {deviation}")
        terminalreporter.line("       none" if not counts else "")
