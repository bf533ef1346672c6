"""The filters of the log-based metrics and alerts, on the log entries that the functions really write."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.chain.running import FLEET, ROOT, fresh

if TYPE_CHECKING:
    from tests.chain.running import Chain

METRICS = json.loads((ROOT / "infra" / "terraform" / "metrics.json").read_text())
ALERTS = (ROOT / "infra" / "terraform" / "alerts.tf").read_text()


def field(entry: dict[str, Any], path: str) -> Any:
    value: Any = entry
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def counted(cloud: Chain, metric: str, more: str = "") -> list[dict[str, Any]]:
    """The entries that a metric counts, as its labels and its value."""
    defined = METRICS[metric]
    fields = {**defined["labels"], **({"value": defined["value"]} if "value" in defined else {})}
    found = cloud.do("logging", "read", [FLEET], f"{defined['filter']} {more}")
    return [{key: field(entry, path) for key, path in fields.items()} for entry in found]


@pytest.fixture
def cluster(cloud: Chain) -> str:
    """A cluster that was onboarded and is in deletion, and a request of another one that failed."""
    return cloud.once(measured)


def measured(cloud: Chain) -> str:
    name = cloud.onboard("measured")
    cloud.publish("write-secret", {"cluster": name, "granted": 1})
    cloud.wait_for(lambda: cloud.dead_letters(name))
    cloud.publish("sweep", {})
    cloud.wait_quiet()
    cloud.delete_cluster(name, seconds=600)
    cloud.wait_for(lambda: cloud.held(name), what="the Secret held")
    cloud.finish(name)
    cloud.offboarded(name)
    return name


def test_decisions_are_counted_by_step_decision_and_code(cloud: Chain, cluster: str) -> None:
    found = counted(cloud, "decisions", f'labels.cluster="{cluster}"')
    for step, decision, code in (
        ("route-event", "routed", "created"),
        ("write-secret", "created", "selected"),
        ("write-secret", "dead_lettered", "invalid_message"),
        ("remove-secret", "held", "deleting"),
        ("remove-secret", "deleted", "deleted"),
    ):
        assert {"step": step, "decision": decision, "code": code} in found
    assert all(one["step"] and one["decision"] and one["code"] for one in found)


def test_one_onboarding_is_one_value_of_its_distribution(cloud: Chain, cluster: str) -> None:
    [one] = counted(cloud, "onboarding-seconds", f'labels.cluster="{cluster}"')
    assert one["decision"] == "created"
    assert 0 < one["value"] < 60


def test_requests_to_the_gateway_are_counted_by_step(cloud: Chain, cluster: str) -> None:
    [one] = counted(cloud, "gateway-requests", f'labels.cluster="{cluster}" jsonPayload.decision="created"')
    assert one["step"] == "write-secret"
    assert one["value"] >= 4  # lists, a create, a patch


def test_an_onboarding_that_fails_counts_with_its_time(cloud: Chain) -> None:
    name = fresh("failing")
    fault = cloud.add_fault("status", caller="register-membership@*", call="POST */memberships", status=400, times=0)
    full = cloud.create_cluster(name)
    cloud.wait_for(lambda: cloud.dead_letters(full))
    cloud.remove_faults(fault["id"])
    found = cloud.wait_for(lambda: counted(cloud, "onboarding-seconds", f'labels.cluster="{full}"'))
    assert [one["decision"] for one in found] == ["dead_lettered"]


def test_the_alerts_filters_find_the_entries_of_a_sweep(cloud: Chain, cluster: str) -> None:
    assert cluster
    texts = re.findall(r'filter += "\$\{local\.functions_logs\} (.*)"$', ALERTS, re.MULTILINE)
    sweep = 'resource.type="cloud_run_revision" resource.labels.service_name="sweep"'
    found = [cloud.do("logging", "read", [FLEET], f"{sweep} {text}".replace('\\"', '"')) for text in texts]
    assert len(found) == 2
    assert [bool(entries) for entries, text in zip(found, texts, strict=True) if "swept" in text] == [True]
