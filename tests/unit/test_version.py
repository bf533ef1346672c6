"""The version has one source: shared/values/version.py. Everything else reads it or repeats it."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from ops.__main__ import main
from shared.runtime import logs
from shared.values import version
from shared.values.version import VERSION
from tests.docs.language import ROOT

SOURCE = ROOT / "shared/values/version.py"


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_is_a_semantic_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(-rc\.\d+)?", VERSION)


def test_the_package_reads_the_version_from_its_source() -> None:
    tool = project()["tool"]["hatch"]["version"]
    assert project()["project"]["dynamic"] == ["version"]
    assert ROOT / tool["path"] == SOURCE
    found = re.search(tool["pattern"], SOURCE.read_text())
    assert found is not None
    assert found["version"] == version.VERSION


def test_terraform_reads_the_version_from_its_source() -> None:
    text = (ROOT / "infra/terraform/functions.tf").read_text()
    found = re.search(r'regex\("((?:[^"\\]|\\.)*)", file\("\$\{path\.module\}/\.\./\.\./(.+?)"\)\)', text)
    assert found is not None
    assert ROOT / found[2] == SOURCE
    assert re.findall(found[1].replace(r"\"", '"'), SOURCE.read_text()) == [VERSION]


def test_ops_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"fleet-registrar {VERSION}\n"


def test_every_log_entry_has_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    logs.line("INFO", "write-secret", "created the Secret")
    assert json.loads(capsys.readouterr().out)["version"] == VERSION


def test_change_log_begins_with_this_or_the_next_version() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert released[0].partition(" ")[0] == VERSION
