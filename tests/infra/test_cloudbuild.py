"""`cloudbuild.yaml` and the apply's build: right for Cloud Build's own schema, and made of the same make targets as everybody's."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests import forked_gcloud
from tests.infra import terraform
from tests.infra.terraform import ROOT, MissingError, Plan

FILES = ("cloudbuild.yaml", "infra/terraform/cloudbuild-apply.yaml")
# The discovery documents come with the client. https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds
CLIENT = "google-api-python-client==2.202.0"
GIVEN = {"COMMIT_SHA"}  # by Cloud Build, in a triggered build


def build(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())
    return found


def used(value: Any) -> set[str]:
    return set(re.findall(r"(?<!\$)\$\{?([A-Z_]+)", json.dumps(value)))


def makes(file: str) -> set[str]:
    """The targets that a build's steps call."""
    return {
        argument
        for step in build(file)["steps"]
        if step.get("entrypoint") == "make"
        for argument in step["args"]
        if "=" not in argument
    }


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in the root, as a person and as a build's step do."""
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def phony() -> set[str]:
    """The targets that the makefiles declare."""
    files = ("Makefile", "infra/terraform/targets.mk")
    return {
        target
        for file in files
        for line in re.findall(r"^\.PHONY: (.*)$", (ROOT / file).read_text(), re.MULTILINE)
        for target in line.split()
    }


def faults(schemas: dict[str, Any], kind: str, value: Any, where: str) -> list[str]:
    """What a schema of a discovery document does not know, or knows otherwise."""
    schema = schemas[kind]
    if not isinstance(value, dict):
        return [f"{where} is not an object"]
    found = [f"{where}.{key} is unknown" for key in value.keys() - schema["properties"].keys()]
    for key, given in value.items():
        found += _faults(schemas, schema["properties"].get(key, {}), given, f"{where}.{key}")
    return found


def _faults(schemas: dict[str, Any], schema: dict[str, Any], value: Any, where: str) -> list[str]:
    if "$ref" in schema:
        return faults(schemas, schema["$ref"], value, where)
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where} is {value!r}, not one of {schema['enum']}"]
    if schema.get("type") == "array":
        if not isinstance(value, list):
            return [f"{where} is not a list"]
        return [
            fault for i, item in enumerate(value) for fault in _faults(schemas, schema["items"], item, f"{where}[{i}]")
        ]
    kinds = {"string": str, "boolean": bool, "integer": int, "object": dict}
    expected = kinds.get(schema.get("type", ""))
    return [] if expected is None or isinstance(value, expected) else [f"{where} is not a {schema['type']}"]


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    try:
        python = terraform.virtual_environment("discovery", "--no-deps", CLIENT)
    except MissingError as error:
        pytest.skip(f"Cloud Build's schema: {error}")
    found = next(python.parents[1].glob("lib/python*/site-packages/googleapiclient/**/cloudbuild.v1.json"))
    document: dict[str, Any] = json.loads(found.read_text())["schemas"]
    return document


@pytest.mark.parametrize("file", FILES)
def test_a_build_is_what_cloud_build_takes(schemas: dict[str, Any], file: str) -> None:
    assert faults(schemas, "Build", build(file), file) == []


def test_a_misspelt_key_is_found(schemas: dict[str, Any]) -> None:
    wrong = {"steps": [{"name": "x", "entripoint": "make"}], "options": {"logging": "CLOUD_LOGING_ONLY"}}
    assert len(faults(schemas, "Build", wrong, "build")) == 2


@pytest.mark.parametrize("file", FILES)
def test_a_step_waits_for_steps_before_it(file: str) -> None:
    before: set[str] = {"-"}
    for step in build(file)["steps"]:
        assert set(step.get("waitFor", [])) <= before
        before.add(step["id"])


@pytest.mark.parametrize("file", FILES)
def test_a_build_with_its_own_account_says_where_its_log_goes(file: str) -> None:
    assert build(file)["options"]["logging"] == "CLOUD_LOGGING_ONLY"


@pytest.mark.parametrize("file", FILES)
def test_every_substitution_is_documented_and_set_by_the_trigger(full: Plan, file: str) -> None:
    substitutions = used(build(file)) - GIVEN
    documented = set(re.findall(r"^#   (_[A-Z_]+) ", (ROOT / file).read_text(), re.MULTILINE))
    triggers = {trigger["filename"]: set(trigger["substitutions"]) for trigger in full.of("google_cloudbuild_trigger")}
    assert substitutions == documented == triggers[file]


def test_the_triggers_run_these_files(full: Plan) -> None:
    assert {trigger["filename"] for trigger in full.of("google_cloudbuild_trigger")} == set(FILES)


def test_the_steps_call_targets_of_the_root_makefile() -> None:
    assert makes(FILES[0]) == {"lint", "types", "layers", "test", "scan", "licences", "package", "plan"}
    assert makes(FILES[1]) == {"apply"}
    for target in sorted(makes(FILES[0]) | makes(FILES[1])):
        done = make("-n", target, "STATE_BUCKET=my-state")
        assert done.returncode == 0, done.stderr


def test_make_help_shows_every_target() -> None:
    shown = {line.split()[0] for line in make("help").stdout.splitlines()}
    assert {"plan", "apply", "package", "scan"} <= shown
    assert shown == phony()


def test_the_apply_takes_the_plan_of_the_same_commit_and_makes_none() -> None:
    handed, fetched = (json.dumps(build(file)["steps"]) for file in FILES)
    assert '"infra/terraform/registrar.tfplan", "gs://$_PLANS_BUCKET/$COMMIT_SHA.tfplan"' in handed
    assert '"gs://$_PLANS_BUCKET/$COMMIT_SHA.tfplan", "infra/terraform/registrar.tfplan"' in fetched
    assert "apply" not in handed
    recipes = (ROOT / "infra" / "terraform" / "targets.mk").read_text()
    assert "apply -input=false -lock-timeout=5m registrar.tfplan" in recipes


def test_both_builds_use_one_image_of_each_tool() -> None:
    images = {step["name"] for file in FILES for step in build(file)["steps"]}
    assert len({image.rpartition(":")[0] for image in images}) == len(images) == 3
    # Google's README of the image names this repository, and no longer Docker Hub's.
    assert "gcr.io/google.com/cloudsdktool/google-cloud-cli:stable" in images


def linted(command: str) -> Any:
    """Return what gcloud says of a command."""
    checked = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", "--command-string", command],
        env=os.environ | {"PATH": forked_gcloud.path()},
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(checked.stdout)


@pytest.mark.parametrize("file", FILES)
def test_every_gcloud_step_is_a_command_of_gcloud(file: str) -> None:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed: the gcloud steps are not checked")
    for step in build(file)["steps"]:
        if step.get("entrypoint") == "gcloud":
            command = shlex.join(["gcloud", *(argument.replace("$", "") for argument in step["args"])])
            (found,) = linted(command)
            assert found["success"], found


def test_a_wrong_gcloud_step_is_found() -> None:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed: the gcloud steps are not checked")
    command = "gcloud builds approve b --location europe-west1"
    assert not all(found["success"] for found in linted(command))


def test_steps_that_plan_offline_find_terraform_and_the_cache() -> None:
    for step in build(FILES[0])["steps"]:
        if step["id"] in {"test", "scan"}:
            assert step["env"] == ["XDG_CACHE_HOME=/workspace/.cache", "PATH=/workspace:/usr/local/bin:/usr/bin:/bin"]


@pytest.mark.parametrize("target", ["plan", "apply"])
def test_a_target_without_the_states_bucket_says_so(target: str) -> None:
    done = make("-n", target)
    assert done.returncode != 0
    assert f"make {target} STATE_BUCKET=" in done.stderr
