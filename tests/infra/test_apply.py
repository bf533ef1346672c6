"""Apply, change, and uninstall: the real Terraform with a state, against the stub provider."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra import terraform
from tests.infra.inputs import FULL, LEAST
from tests.infra.terraform import ROOT, Module

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEAMS = {**LEAST, "sources": {"projects": ["my-fleet", "team-a-prod", "team-b"]}}
FUNCTION = "google_cloudfunctions2_function.function"
AGENTS = (
    "google_project_iam_member.agent",
    "google_project_iam_member.fleet_agent",
    "google_folder_iam_member.fleet_agent",
    "google_organization_iam_member.fleet_agent",
)


@pytest.fixture(scope="module")
def applied(module: Module, tmp_path_factory: pytest.TempPathFactory) -> Module:
    """A deployment for three source projects, in a copy of the repository's parts that `make plan` needs."""
    home = tmp_path_factory.mktemp("applied") / "copy"
    shutil.copytree(module.directory.parents[1], home)
    for name in ("Makefile", "main.py", "requirements.txt"):
        shutil.copy(ROOT / name, home)
    for name in ("functions", "ops", "shared"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, home / name, ignore=ignored, dirs_exist_ok=True)
    found = Module(home / "infra" / "terraform", module.reattach)
    found.refuse()
    done = found.apply(**TEAMS)
    assert done.code == 0, done.text
    return found


@pytest.fixture
def deployed(applied: Module, tmp_path: Path) -> Iterator[Module]:
    """A copy of the deployment, with its state, for a test to change."""
    home = tmp_path / "deployed"
    shutil.copytree(applied.directory.parents[1], home)
    found = Module(home / "infra" / "terraform", applied.reattach)
    yield found
    found.refuse()


def make(module: Module, *arguments: str, inputs: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run make as a person would who answers every question with yes. The state is not in a bucket, so nothing runs `init`."""
    (module.directory / "terraform.tfvars.json").write_text(json.dumps(inputs or TEAMS))
    home = module.directory.parents[1]
    return subprocess.run(
        ["make", *arguments, "TF_INIT=true", f"TERRAFORM={terraform.binary()}"],
        cwd=home,
        env={"PATH": os.environ["PATH"], "TF_CLI_ARGS_destroy": "-auto-approve", **module.variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def agents(addresses: set[str]) -> set[str]:
    return {address for address in addresses if address.partition("[")[0] in AGENTS}


def test_a_second_plan_is_empty(deployed: Module) -> None:
    assert deployed.plan(**TEAMS).changes() == {}


def test_a_full_deployments_second_plan_is_empty(changed: Module) -> None:
    done = changed.apply(**FULL)
    assert done.code == 0, done.text
    assert changed.plan(**FULL).changes() == {}


def test_make_plan_and_make_apply_run_from_the_root(deployed: Module) -> None:
    planned = make(deployed, "plan")
    assert planned.returncode == 0, planned.stderr
    applied = make(deployed, "apply")
    assert applied.returncode == 0, applied.stderr
    (function,) = (line for line in deployed.state() if line == f'{FUNCTION}["sweep"]')
    bundle = deployed.run("state", "show", "-no-color", function).text
    assert terraform.bundle_hash(deployed.directory) in bundle


def test_a_failed_build_is_in_the_next_plan(deployed: Module) -> None:
    (deployed.directory / ".build" / "functions.zip").write_bytes(b"changed code")
    deployed.refuse(google_cloudfunctions2_function=["sweep", "grant-rbac"])
    failed = deployed.apply(**TEAMS)
    assert failed.code != 0
    assert "Build failed" in failed.text
    deployed.refuse()
    assert deployed.plan(**TEAMS).changes() == {
        f'{FUNCTION}["sweep"]': ("update",),
        f'{FUNCTION}["grant-rbac"]': ("update",),
    }
    assert deployed.apply(**TEAMS).code == 0
    assert deployed.plan(**TEAMS).changes() == {}


def test_a_replaced_function_gets_its_callers_in_the_same_apply(deployed: Module) -> None:
    done = deployed.run(
        "apply",
        "-input=false",
        "-auto-approve",
        "-no-color",
        "-var-file=inputs.tfvars.json",
        f'-replace={FUNCTION}["route-event"]',
    )
    assert done.code == 0, done.text
    for caller in ("push", "trigger"):
        address = f'google_cloud_run_service_iam_member.invoker["{caller}/route-event"]'
        assert f"{address}: Creation complete" in done.text
    assert deployed.plan(**TEAMS).changes() == {}


def test_another_region_moves_everything_in_one_apply(deployed: Module) -> None:
    moved = {**TEAMS, "region": "europe-west3"}
    changes = deployed.plan(**moved).changes()
    for address in (
        "google_storage_bucket.bundles",
        "google_storage_bucket_object.bundle",
        "google_storage_bucket_iam_member.build",
        "time_sleep.build_grants",
        f'{FUNCTION}["sweep"]',
    ):
        assert changes[address] in {("delete", "create"), ("create", "delete")}, address
    assert deployed.apply(**moved).code == 0
    assert deployed.plan(**moved).changes() == {}


def test_no_apply_takes_a_role_from_googles_agents(deployed: Module) -> None:
    fewer = {**TEAMS, "sources": {"projects": ["my-fleet", "team-a-prod"]}}
    refused = deployed.apply(**fewer)
    assert refused.code != 0
    assert "Instance cannot be destroyed" in refused.text
    assert agents(deployed.state())

    kept = make(deployed, "keep-agents", inputs=fewer)
    assert kept.returncode == 0, kept.stderr
    assert not agents(deployed.state())
    assert not [address for address in agents(set(deployed.plan(**fewer).changes())) if "team-b" in address]
    assert deployed.apply(**fewer).code == 0


def test_a_shut_down_project_is_forgotten_and_no_other(deployed: Module) -> None:
    fewer = {**TEAMS, "sources": {"projects": ["my-fleet", "team-a-prod"]}}
    before = deployed.state()
    done = make(deployed, "forget", "SOURCE=team-b", inputs=fewer)
    assert done.returncode == 0, done.stderr
    forgotten = before - deployed.state()
    assert forgotten
    assert all('["team-b' in address for address in forgotten)
    # What is left of it is in the functions' project, where Terraform can still delete it.
    left = {address: actions for address, actions in deployed.plan(**fewer).changes().items() if "team-b" in address}
    assert left == {
        'google_pubsub_topic_iam_member.cluster_entries["team-b"]': ("delete",),
        'google_project_iam_member.binding_entries["team-b"]': ("delete",),
    }


def test_forgetting_needs_a_project(deployed: Module) -> None:
    before = deployed.state()
    done = make(deployed, "forget")
    assert done.returncode != 0
    assert "make forget SOURCE=" in done.stderr
    assert deployed.state() == before


def test_an_uninstall_stops_what_wakes_the_functions_first(deployed: Module) -> None:
    before = deployed.state()
    done = make(deployed, "uninstall-stop")
    assert done.returncode == 0, done.stderr
    after = deployed.state()
    for gone in (
        "google_cloud_scheduler_job.sweep",
        "google_eventarc_trigger.audit",
        "google_eventarc_trigger.membership",
        "google_pubsub_subscription.push",
        "module.cluster_entries.google_logging_project_sink.sink",
    ):
        assert any(address.startswith(gone) for address in before)
        assert not any(address.startswith(gone) for address in after)
    # People still read dead letters, and the functions' identities are still in the clusters.
    assert {"google_pubsub_subscription.dead_letters", f'{FUNCTION}["sweep"]'} <= after
    assert agents(after) == agents(before)


def test_an_uninstall_leaves_googles_agents_their_roles(deployed: Module) -> None:
    bare = deployed.run("destroy", "-auto-approve", "-no-color", "-var-file=inputs.tfvars.json")
    assert bare.code != 0
    assert "Instance cannot be destroyed" in bare.text

    done = make(deployed, "uninstall")
    assert done.returncode == 0, done.stderr
    assert deployed.state() == set()
    for address in AGENTS:
        assert f"{address}[" not in "".join(line for line in done.stdout.splitlines() if "Destroying..." in line)
