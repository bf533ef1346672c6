"""What ops doctor reads of the local cloud: limits, requests, expiration, the installation of Argo CD, dry runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests

from local.names import CENTRAL_CLUSTER, CENTRAL_MEMBERSHIP, FLEET, PERSON
from tests.contract.background import cloud_without_functions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.control import LocalCloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with cloud_without_functions(tmp_path_factory.mktemp("cloud")) as running:
        yield running


def get(cloud: LocalCloud, api: str, path: str, email: str = PERSON, **query: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {cloud.do('iam', 'token_for', email=email)}"}
    answer = requests.get(f"{cloud.state()['endpoints'][api]}{path}", params=query, headers=headers, timeout=60)
    return answer.status_code, answer.json()


def test_a_limit_has_a_unit_and_may_change(cloud: LocalCloud) -> None:
    path = f"/v1beta1/projects/{FLEET}/services/gkehub.googleapis.com/consumerQuotaMetrics"
    cloud.do("quotas", "change", "gkehub.googleapis.com", "gkehub.googleapis.com/regional_memberships", 7)
    _, answer = get(cloud, "platform", path)
    limits = {one["unit"]: one for metric in answer["metrics"] for one in metric["consumerQuotaLimits"]}
    assert limits["1/{project}/{region}"]["quotaBuckets"][0]["effectiveLimit"] == "7"
    assert limits["1/{project}"]["quotaBuckets"][0]["effectiveLimit"] == "250"
    assert get(cloud, "platform", path, "nobody@example.com")[0] == 403


def test_requests_are_counted_by_minute(cloud: LocalCloud) -> None:
    now = datetime.now(UTC)
    interval = {
        "interval.startTime": (now - timedelta(minutes=5)).isoformat(),
        "interval.endTime": (now + timedelta(minutes=5)).isoformat(),
    }
    asked = (
        'metric.type="serviceruntime.googleapis.com/api/request_count" AND resource.type="consumed_api"'
        ' AND resource.labels.service="connectgateway.googleapis.com"'
    )

    def counted() -> int:
        _, answer = get(cloud, "monitoring", f"/v3/projects/{FLEET}/timeSeries", filter=asked, **interval)
        points = [point for one in answer.get("timeSeries", []) for point in one["points"]]
        return sum(int(point["value"]["int64Value"]) for point in points)

    before = counted()
    for _ in range(3):
        cloud.through_gateway(PERSON, CENTRAL_MEMBERSHIP, "GET", "/version")
    assert counted() == before + 3
    other = {"filter": 'metric.type="x"', **interval}
    assert get(cloud, "monitoring", f"/v3/projects/{FLEET}/timeSeries", **other)[0] == 404


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({}, {"ttl": "2678400s"}),
        ({"expirationPolicy": {}}, {}),
        ({"expirationPolicy": {"ttl": "86400s"}}, {"ttl": "86400s"}),
    ],
)
def test_a_subscription_expires_after_a_month_by_default(
    cloud: LocalCloud, asked: dict[str, Any], shown: dict[str, Any]
) -> None:
    base = f"{cloud.do('cloud', 'pubsub_url')}v1/projects/{FLEET}"
    requests.put(f"{base}/topics/kept", json={}, timeout=60)
    name = f"{base}/subscriptions/kept-{len(str(asked))}"
    made = requests.put(name, json={"topic": f"projects/{FLEET}/topics/kept", **asked}, timeout=60).json()
    assert made["expirationPolicy"] == shown


def test_installation_of_argocd_can_be_read(cloud: LocalCloud) -> None:
    base = "/apis/apps/v1/namespaces/argocd/statefulsets"
    _, found = cloud.kubernetes(CENTRAL_CLUSTER, "GET", f"{base}/argocd-application-controller")
    assert found["spec"]["template"]["spec"]["containers"][0]["image"].startswith("quay.io/argoproj/argocd:v3.")
    _, account = cloud.kubernetes(CENTRAL_CLUSTER, "GET", "/api/v1/namespaces/argocd/serviceaccounts/argocd-server")
    assert (
        account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"]
        == f"argocd@{FLEET}.iam.gserviceaccount.com"
    )


def test_dry_run_that_a_policy_would_judge_is_refused(cloud: LocalCloud) -> None:
    writer, secrets = f"write-secret@{FLEET}.iam.gserviceaccount.com", "/api/v1/namespaces/argocd/secrets"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tried"}}
    status, answer = cloud.through_gateway(writer, CENTRAL_MEMBERSHIP, "POST", f"{secrets}?dryRun=All", secret)
    assert (status, answer["reason"]) == (501, "NotImplemented")
    assert cloud.through_gateway(PERSON, CENTRAL_MEMBERSHIP, "POST", f"{secrets}?dryRun=All", secret)[0] == 201
    assert cloud.kubernetes(CENTRAL_CLUSTER, "GET", f"{secrets}/tried")[0] == 404
