"""Terraform itself on `infra/terraform`: format, the provider's schema, refused inputs; and the functions' bundle."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra import terraform
from tests.infra.inputs import LEAST
from tests.infra.terraform import ROOT, MissingError, Module, Plan

if TYPE_CHECKING:
    from pathlib import Path


def packager() -> Any:
    spec = importlib.util.spec_from_file_location("package", ROOT / "infra" / "terraform" / "package.py")
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_files_are_formatted(tmp_path: Path) -> None:
    (tmp_path / "empty.tfrc").touch()
    try:
        command = [terraform.binary(), "fmt", "-check", "-diff", "-recursive", str(ROOT / "infra" / "terraform")]
    except MissingError as error:
        pytest.skip(str(error))
    environment = {"TF_CLI_CONFIG_FILE": str(tmp_path / "empty.tfrc"), "CHECKPOINT_DISABLE": "1", "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_module_is_valid_against_the_providers_schema(module: Module) -> None:
    answer = module.run("validate", "-no-color")
    assert answer.code == 0, answer.text


@pytest.mark.parametrize(
    ("file", "right", "wrong", "wording"),
    [
        (
            "functions.tf",
            "available_memory ",
            "availible_memory ",
            'An argument named "availible_memory" is not expected',
        ),
        (
            "pubsub.tf",
            "  dead_letter_policy {",
            "  dead_leter_policy {",
            'Blocks of type "dead_leter_policy" are not expected',
        ),
        (
            "events.tf",
            '"google_eventarc_trigger" "audit"',
            '"google_eventark_trigger" "audit"',
            "does not support resource type",
        ),
        ("pubsub.tf", "push_endpoint = ", "#", 'The argument "push_endpoint" is required'),
        (
            "functions.tf",
            "timeout_seconds                  = local",
            'timeout_seconds = "soon" #',
            "a number is required",
        ),
    ],
)
def test_what_the_schema_does_not_know_is_refused(
    changed: Module, file: str, right: str, wrong: str, wording: str
) -> None:
    path = changed.directory / file
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong, 1))
    answer = changed.run("validate", "-no-color")
    assert answer.code != 0
    assert wording in " ".join(answer.text.replace("│", "").split())


def test_the_modules_own_tests_pass(module: Module) -> None:
    answer = module.run("test", "-no-color")
    assert answer.code == 0, answer.text
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", answer.text)


def test_without_the_bundle_the_plan_says_what_to_run(changed: Module) -> None:
    (changed.directory / ".build" / "functions.zip").unlink()
    with pytest.raises(AssertionError, match="make package"):
        changed.plan(**LEAST)


def test_changed_code_is_another_object(changed: Module, plans: dict[str, Plan]) -> None:
    (before,) = plans["the fleet project"].of("google_storage_bucket_object")
    (changed.directory / ".build" / "functions.zip").write_bytes(b"another bundle")
    (after,) = changed.plan(**LEAST).of("google_storage_bucket_object")
    assert before["name"] != after["name"]


def test_the_bundle_is_the_functions_and_nothing_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(packager().write(tmp_path / "functions.zip")) as archive:
        names = archive.namelist()
    assert {"main.py", "requirements.txt", "functions/sweep.py", "shared/values/settings.py"} <= set(names)
    rest = [name for name in names if not name.startswith(("functions/", "ops/", "shared/"))]
    assert sorted(rest) == ["infra/roles.json", "main.py", "requirements.txt"]
    assert {name.rpartition(".")[2] for name in names} == {"css", "html", "js", "json", "py", "txt"}


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    write = packager().write
    assert write(tmp_path / "a" / "x.zip").read_bytes() == write(tmp_path / "b" / "x.zip").read_bytes()
