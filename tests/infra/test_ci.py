"""Everybody's CI: .ci/run, GitHub's workflows and Cloud Build call the same make targets; Renovate's settings fit its schema."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import jsonschema
import pytest
import yaml

from tests import npm
from tests.infra.terraform import ROOT, MissingError
from tests.infra.test_cloudbuild import makes, phony

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
CI = ROOT / ".github" / "workflows" / "ci.yaml"
# The advisories are the package index's; the mirrors that .ci/run works with have none. `make coverage` runs the tests again.
ONLY_ON_GITHUB = {"audit", "coverage"}
# A person applies what a build has planned; `plan` and `package` are steps of that.
ONLY_IN_CLOUD_BUILD = {"plan", "package"}


def targets(words: list[str]) -> set[str]:
    """The targets of a make command."""
    return {word for word in words[1:] if "=" not in word and not word.startswith("-")}


def of_script() -> set[str]:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    return {each for line in lines if line.startswith("make ") for each in targets(shlex.split(line))}


def steps(path: Any) -> list[dict[str, Any]]:
    workflow = yaml.safe_load(path.read_text())
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def of_workflow() -> set[str]:
    commands = [step["run"] for step in steps(CI) if "run" in step]
    return {
        each
        for text in commands
        for line in text.splitlines()
        if line.startswith("make ")
        for each in targets(shlex.split(line))
    }


def test_every_target_that_ci_calls_exists() -> None:
    assert of_script() | of_workflow() | makes("cloudbuild.yaml") <= phony()


def test_the_script_and_the_workflow_call_the_same_targets() -> None:
    assert of_workflow() - ONLY_ON_GITHUB == of_script()


def test_cloud_build_calls_the_same_targets_before_it_plans() -> None:
    assert makes("cloudbuild.yaml") - ONLY_IN_CLOUD_BUILD <= of_script()
    assert {"lint", "types", "layers", "test", "scan", "licences"} <= makes("cloudbuild.yaml")


def test_the_workflow_tests_every_python_that_the_package_names() -> None:
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    jobs = yaml.safe_load(CI.read_text())["jobs"]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == named


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_a_commit(path: Any) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert [one for one in used if not re.search(r"@[0-9a-f]{40}$", one)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_permission_that_a_job_does_not_name(path: Any) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    assert all(job["permissions"] for job in workflow["jobs"].values())


def renovate() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "renovate.json").read_text())
    return found


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(npm.fetched(npm.RENOVATE).read_text())
    except MissingError as error:
        pytest.skip(f"Renovate's schema: {error}")
    return found


def test_renovates_settings_fit_its_schema(schema: dict[str, Any]) -> None:
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(renovate())] == []
    assert renovate().keys() - {"$schema"} <= schema["properties"].keys()


def test_a_wrong_setting_is_found(schema: dict[str, Any]) -> None:
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert list(validator.iter_errors({**renovate(), "enabledManagers": "pip-compile"}))


def test_renovate_finds_every_pinned_tool() -> None:
    managers = renovate()["customManagers"]
    for name, pins in (("pypi", 8), ("npm", 2)):
        [manager] = [one for one in managers if one["datasourceTemplate"] == name]
        found = set()
        for path in (ROOT / "tests").rglob("*.py"):
            relative = path.relative_to(ROOT).as_posix()
            if any(re.search(pattern.strip("/"), relative) for pattern in manager["managerFilePatterns"]):
                for pattern in manager["matchStrings"]:
                    found |= set(re.findall(pattern.replace("(?<", "(?P<"), path.read_text()))
        assert len(found) >= pins, found
