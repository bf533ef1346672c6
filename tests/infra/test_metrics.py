"""Metrics, dashboard and objective are made of the codes that the functions log."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from shared.values.codes import Decision, FindingCode
from tests.infra.terraform import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.infra.terraform import Plan

METRICS = json.loads((ROOT / "infra" / "terraform" / "metrics.json").read_text())
USER = "logging.googleapis.com/user/"


def test_each_metric_is_planned_as_it_is_defined(plan: Plan) -> None:
    planned = plan.named("google_logging_metric", "functions")
    assert planned.keys() == METRICS.keys()
    for key, metric in planned.items():
        defined = METRICS[key]
        [descriptor] = metric["metric_descriptor"]
        is_distribution = "value" in defined
        assert metric["filter"] == defined["filter"]
        assert metric["label_extractors"] == {k: f"EXTRACT({field})" for k, field in defined["labels"].items()}
        assert {label["key"] for label in descriptor["labels"]} == defined["labels"].keys()
        assert descriptor["value_type"] == ("DISTRIBUTION" if is_distribution else "INT64")
        assert metric["value_extractor"] == (f"EXTRACT({defined['value']})" if is_distribution else None)
        assert len(metric["bucket_options"]) == is_distribution


def test_the_objective_counts_what_is_in_argo_cd_within_five_minutes(plan: Plan) -> None:
    [slo] = plan.of("google_monitoring_slo")
    assert (slo["goal"], slo["rolling_period_days"]) == (0.99, 28)
    [cut] = slo["request_based_sli"][0]["distribution_cut"]
    assert f'"{USER}fleet-registrar/onboarding-seconds"' in cut["distribution_filter"]
    assert cut["range"][0]["max"] == 300
    assert 300 in METRICS["onboarding-seconds"]["bounds"]


def test_a_fast_and_a_slow_burn_of_its_budget_raise_alerts(plan: Plan) -> None:
    [slo] = plan.of("google_monitoring_slo")
    alerts = plan.named("google_monitoring_alert_policy", "slow_onboarding")
    found = {
        (name, condition["condition_threshold"][0]["filter"], condition["condition_threshold"][0]["threshold_value"])
        for name, alert in alerts.items()
        for condition in alert["conditions"]
    }
    rate = f'select_slo_burn_rate("{slo["name"]}", '
    assert found == {("fast", f'{rate}"3600s")', 14), ("slow", f'{rate}"21600s")', 6)}


def test_alerts_link_to_the_runbooks_that_the_input_names(full: Plan) -> None:
    for alert in full.of("google_monitoring_alert_policy"):
        assert "Runbook: https://docs.example.com/operate#" in alert["documentation"][0]["content"]


def test_the_dashboard_shows_metrics_and_codes_that_exist(plan: Plan) -> None:
    [dashboard] = plan.of("google_monitoring_dashboard")
    filters = list(_filters(json.loads(dashboard["dashboard_json"])))
    for text in filters:
        [metric] = re.findall(rf'metric\.type="{re.escape(USER)}fleet-registrar/([\w-]+)"', text)
        labels = dict(re.findall(r'metric\.labels\.(\w+)!?="(\w+)"', text))
        assert labels.keys() <= METRICS[metric]["labels"].keys()
        assert labels.get("decision", Decision.RETRY) in set(Decision)
        assert labels.get("code", FindingCode.PERIODIC_CHECK) in set(FindingCode)
    shown = " ".join(filters)
    assert all(f"fleet-registrar/{name}" in shown for name in METRICS)
    for decision in (Decision.RETRY, Decision.DEAD_LETTERED, Decision.HELD, Decision.REQUESTED):
        assert f'decision="{decision}"' in shown


def _filters(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "filter":
                yield inner
            yield from _filters(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _filters(inner)
