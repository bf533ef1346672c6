"""Each example uses infra/terraform as a module; it is valid, and its plan has every function."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.infra.terraform import ROOT, Module
from tests.infra.test_names import FUNCTIONS

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = sorted(path.parent.name for path in (ROOT / "infra/terraform/examples").glob("*/main.tf"))
INSTANCES = {"two-instances": 2}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_is_valid_and_plans_every_function(module: Module, tmp_path: Path, name: str) -> None:
    home = tmp_path / "copy"
    shutil.copytree(module.directory.parents[1], home, ignore=shutil.ignore_patterns(".terraform"))
    example = Module(home / "infra/terraform/examples" / name, module.reattach)
    (example.directory.parents[1] / "empty.tfrc").touch()
    done = example.run("init", "-input=false", "-no-color")
    assert done.code == 0, done.text
    plan = example.plan()  # terraform validates what it plans
    functions = plan.of("google_cloudfunctions2_function")
    assert len(functions) == len(FUNCTIONS) * INSTANCES.get(name, 1)


def test_every_kind_of_installation_has_an_example() -> None:
    assert EXAMPLES == ["existing-argocd", "folder", "one-project", "several-projects", "two-instances"]
