"""What a plan needs to become a deployment: builds that may read, waits, a quota, limits, and a schedule that a person starts."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.infra.inputs import LEAST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infra.terraform import Module, Plan

# Resources that come first: everything else refers to one of them.
FIRST = {
    "google_logging_project_bucket_config",
    "google_project_iam_custom_role",
    "google_project_service_identity",
    "google_pubsub_topic",
    "google_service_account",
    "google_storage_bucket",
}


def test_a_build_may_read_googles_copy_of_the_source_alone(full: Plan) -> None:
    (grant,) = full.named("google_project_iam_member", "build_source").values()
    assert grant["project"] == "my-run"
    assert grant["role"] == "roles/storage.objectViewer"
    assert grant["member"] == "serviceAccount:fleet-registrar-build@my-run.iam.gserviceaccount.com"
    (condition,) = grant["condition"]
    assert condition["expression"] == (
        'resource.name.startsWith("projects/_/buckets/gcf-v2-sources-210987654321-europe-west3")'
    )


def test_functions_wait_for_their_builds_grants(plan: Plan) -> None:
    (wait,) = plan.named("time_sleep", "build_grants").values()
    assert wait["create_duration"] == "60s"
    assert "time_sleep.build_grants" in plan.depends_on("google_cloudfunctions2_function.function")
    triggers = plan.expressions("time_sleep.build_grants")["triggers"]["references"]
    for grant in ("google_project_iam_member.build", "google_project_iam_member.build_source"):
        assert grant in triggers
    assert "google_storage_bucket_iam_member.build" in triggers


def test_a_function_names_the_code_that_it_runs(plan: Plan) -> None:
    (bundle,) = plan.of("google_storage_bucket_object")
    for function in plan.of("google_cloudfunctions2_function"):
        (build,) = function["build_config"]
        assert bundle["name"] == f"functions-{build['environment_variables']['BUNDLE']}.zip"


def test_compiled_modules_hold_though_the_build_changes_their_dates(plan: Plan, tmp_path: Path) -> None:
    """The buildpack runs `python3 -m compileall -f -q .`, and all files are dated 1980-01-01T00:00:01Z afterwards."""
    module = tmp_path / "module.py"
    module.write_text("x = 1\n")
    builds = [function["build_config"][0] for function in plan.of("google_cloudfunctions2_function")]
    (variables,) = {tuple(sorted(build["environment_variables"].items())) for build in builds}
    command = [sys.executable, "-m", "compileall", "-f", "-q", "."]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, **dict(variables)}, check=True)
    (compiled,) = tmp_path.rglob("*.pyc")
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") & 1, "compiled by date, not by hash (PEP 552)"


def test_the_schedule_is_paused_until_a_person_starts_it(plan: Plan, full: Plan) -> None:
    for each, paused in ((plan, True), (full, False)):
        (job,) = each.of("google_cloud_scheduler_job")
        assert job["paused"] is paused
        alerts = each.named("google_monitoring_alert_policy", "no_sweep")
        assert [alert["enabled"] for alert in alerts.values()] == [not paused]


def test_the_schedule_is_the_inputs(full: Plan) -> None:
    (job,) = full.of("google_cloud_scheduler_job")
    assert job["schedule"] == "0 * * * *"


def test_no_function_has_more_instances_than_asked_for(plan: Plan, full: Plan) -> None:
    for each, most in ((plan, 10), (full, 3)):
        functions = each.named("google_cloudfunctions2_function", "function")
        found = {name: function["service_config"][0]["max_instance_count"] for name, function in functions.items()}
        assert (found.pop("sweep"), found.pop("status")) == (1, 1)
        assert set(found.values()) == {most}


def test_settings_beyond_cloud_runs_limit_are_refused(module: Module) -> None:
    with pytest.raises(AssertionError, match="Cloud Run takes 32 KiB"):
        module.plan(**LEAST, settings={"cluster_selector": "a" * 32_000})


def test_apps_scripts_projects_are_no_sources(plans: dict[str, Plan]) -> None:
    for kind in ("a folder", "an organisation"):
        assert plans[kind].output("source_projects") == ["team-a-prod", "team-b"]


def test_projects_without_gke_can_be_left_out(module: Module) -> None:
    plan = module.plan(**LEAST, sources={"organization": "678", "with_gke_only": True})
    assert plan.output("source_projects") == ["team-a-prod"]


def test_every_call_names_the_quota_project(full: Plan) -> None:
    for name in ("google", "google-beta"):
        configured = full.shown["configuration"]["provider_config"][name]["expressions"]
        assert configured["user_project_override"] == {"constant_value": True}
        assert configured["billing_project"] == {"references": ["var.project"]}


def test_the_apis_are_enabled_before_anything_uses_them(plan: Plan) -> None:
    for resource in plan.configured():
        if resource["type"] in FIRST:
            assert "google_project_service.enabled" in resource.get("depends_on", []), resource["address"]


def test_alerts_wait_for_fresh_metrics(plan: Plan) -> None:
    (wait,) = plan.named("time_sleep", "metrics").values()
    assert wait["create_duration"] == "600s"
    triggers = plan.expressions("time_sleep.metrics")["triggers"]["references"]
    for metric in ("sweeps", "foreign_bindings", "functions"):
        assert f"google_logging_metric.{metric}" in triggers
    for alert in ("no_sweep", "foreign_bindings"):
        assert "time_sleep.metrics" in plan.depends_on(f"google_monitoring_alert_policy.{alert}")


def test_filters_have_no_trailing_newline(plan: Plan) -> None:
    metrics = [metric["filter"] for metric in plan.of("google_logging_metric")]
    alerts = [
        condition["condition_threshold"][0]["filter"]
        for alert in plan.of("google_monitoring_alert_policy")
        for condition in alert["conditions"]
        if condition["condition_threshold"]
    ]
    assert metrics
    assert alerts
    assert all(configured == configured.strip() for configured in [*metrics, *alerts])


def test_a_destroy_keeps_the_bindings_log(plan: Plan) -> None:
    (bucket,) = plan.of("google_logging_project_bucket_config")
    assert bucket["deletion_policy"] == "ABANDON"


def test_a_function_is_built_from_the_bundles_own_generation(plan: Plan) -> None:
    (build,) = plan.expressions("google_cloudfunctions2_function.function")["build_config"]
    storage = build["source"][0]["storage_source"][0]
    assert "google_storage_bucket_object.bundle.generation" in storage["generation"]["references"]


def test_the_bindings_log_goes_by_its_name_with_the_projects_id(plan: Plan) -> None:
    (bucket,) = plan.of("google_logging_project_bucket_config")
    metrics = {metric.name: metric["bucket_name"] for metric in plan.of("google_logging_metric")}
    assert metrics["foreign_bindings"] == bucket["name"]
    assert bucket["name"] == "projects/my-fleet/locations/europe-west1/buckets/fleet-registrar-bindings"
    module = plan.shown["configuration"]["root_module"]["module_calls"]["binding_entries"]
    assert "google_logging_project_bucket_config.bindings.name" in module["expressions"]["destination"]["references"]
