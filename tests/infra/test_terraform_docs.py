"""README.md of each Terraform module has its requirements, inputs and outputs, as terraform-docs writes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.infra import terraform_docs
from tests.infra.terraform_docs import BEGIN, END, MODULES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infra.terraform import Module

modules = pytest.mark.parametrize("module", MODULES, ids=[each.name for each in MODULES])


def rows(text: str, section: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    table = re.search(rf"^## {section}\n\n((?:\|.*\n?)+)", text, re.MULTILINE)
    lines = table[1].splitlines()[2:] if table else []
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_module_has_tables() -> None:
    folders = {file.parent for file in ROOT.rglob("*.tf") if not {"examples", ".terraform", "tests"} & set(file.parts)}
    assert folders == set(MODULES)


@modules
def test_the_document_is_what_the_files_say(module: Path) -> None:
    assert (module / "README.md").read_text() == terraform_docs.injected(module), "run make terraform-docs"


@modules
def test_the_tables_name_every_variable_and_output(module: Path) -> None:
    text = (module / "README.md").read_text()
    source = "".join(file.read_text() for file in module.glob("*.tf"))
    for section, kind in (("Inputs", "variable"), ("Outputs", "output")):
        declared = re.findall(rf'^{kind} "(\w+)"', source, re.MULTILINE)
        assert sorted(row[0] for row in rows(text, section)) == sorted(declared)


def test_terraform_requires_what_the_table_says(module: Module) -> None:
    """Terraform itself reads which inputs have a default."""
    text = (ROOT / "README.md").read_text()
    required = {row[0] for row in rows(text, "Inputs") if row[4] == "yes"}
    ran = module.run("plan", "-input=false", "-no-color")
    assert set(re.findall(r'The root module input variable "(\w+)" is not set', ran.text)) == required


def test_a_default_is_shown_as_json() -> None:
    defaults = {row[0]: row[3] for row in rows((ROOT / "README.md").read_text(), "Inputs")}
    assert json.loads(
        defaults["membership_locations"].removeprefix("<pre>").removesuffix("</pre>").replace("<br/>", "")
    )
    assert defaults["argocd"] == "`{}`"
    assert defaults["sweep_schedule"] == '`"*/15 * * * *"`'


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ('"one | two"', r"one \| two"),
        ('"code `a | b`"', "code `a | b`"),
        ("<<-EOT\n    First line,\n    second line.\n  EOT", "First line,<br/>second line."),
        ("", "n/a"),
    ],
)
def test_a_description_is_one_cell(tmp_path: Path, source: str, shown: str) -> None:
    description = f"  description = {source}\n" if source else ""
    (tmp_path / "variables.tf").write_text(f'variable "one" {{\n{description}}}\n')
    assert f"| one | {shown} | `any` | n/a | yes |" in terraform_docs.tables(tmp_path)


def test_a_module_without_inputs_says_so(tmp_path: Path) -> None:
    (tmp_path / "outputs.tf").write_text('output "one" {\n  value = 1\n}\n')
    assert terraform_docs.tables(tmp_path) == (
        "## Requirements\n\nNo requirements.\n\n## Inputs\n\nNo inputs.\n\n"
        "## Outputs\n\n| Name | Description |\n| ---- | ----------- |\n| one | n/a |"
    )


def test_terraform_docs_itself_finds_nothing_to_change(tmp_path: Path) -> None:
    program = shutil.which("terraform-docs")
    if program is None:
        pytest.skip("left out: the comparison with terraform-docs, which is not installed here")
    shutil.copytree(ROOT, tmp_path / "terraform", ignore=shutil.ignore_patterns(".terraform", ".build"))
    subprocess.run([program, str(tmp_path / "terraform")], check=True, capture_output=True)
    for module in MODULES:
        written = tmp_path / "terraform" / module.relative_to(ROOT) / "README.md"
        assert written.read_text() == (module / "README.md").read_text()


def test_the_settings_of_terraform_docs_ask_for_these_tables() -> None:
    settings: dict[str, Any] = yaml.safe_load((ROOT / ".terraform-docs.yml").read_text())
    assert settings["formatter"] == "markdown table"
    assert settings["sections"]["show"] == ["requirements", "inputs", "outputs"]
    assert settings["settings"] == {"anchor": False, "escape": False}
    text = (ROOT / "README.md").read_text()
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
