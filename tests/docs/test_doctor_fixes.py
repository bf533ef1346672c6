"""The commands that `ops doctor` prints below its findings, checked by the tools that would run them."""

from __future__ import annotations

import pytest

from tests.docs import shell, tools
from tests.docs.test_documents import show
from tests.unit.deployment import changed
from tests.unit.test_doctor_checks import BREAKAGES, findings


@pytest.fixture(scope="module")
def commands() -> list[shell.Command]:
    fixes = {
        one.fix: one.code for _, _, path, change in BREAKAGES for one in findings(changed(path, change)) if one.fix
    }
    variables = shell.Variables()
    return [one for fix, code in sorted(fixes.items()) for one in shell.commands(fix, f"fix of {code}", 1, variables)]


def test_fixes_are_accepted_by_their_tools(commands: list[shell.Command]) -> None:
    assert len(commands) > 40
    faults = tools.faults(commands)
    assert not faults, show(faults)
