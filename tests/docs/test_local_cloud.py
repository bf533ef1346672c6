"""local/README.md: each row of its table of truth names tests that exist, and its example for tests runs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from local.apis import OVERRIDES
from tests.docs.reading import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (ROOT / "local" / "README.md").read_text()


def _rows() -> list[list[str]]:
    table = TEXT.partition("## Which tests prove it")[2]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def _functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_row_of_the_table_of_truth_names_existing_tests() -> None:
    assert len(_rows()) > 10
    for row in _rows():
        proofs = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", row[-1])
        assert proofs, row[0]
        for path, function in proofs:
            assert not function or function in _functions(path), f"{row[0]}: {path}::{function}"
            assert any(name.startswith("test_") for name in _functions(path))


def test_every_endpoint_override_has_a_row() -> None:
    named = set(re.findall(r"`([A-Z_]+)`", " ".join(row[1] for row in _rows())))
    assert {api.upper() for api in OVERRIDES} | {"CONTAINER", "GKEHUB", "CONNECTGATEWAY", "PUBSUB"} <= named


def test_the_example_for_tests_of_others_runs(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(import yaml\n.*?)```", TEXT, re.DOTALL)
    (tmp_path / "test_example.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
