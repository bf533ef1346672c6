"""Quotas and their use: Service Usage's limits, and Cloud Monitoring's metrics of requests and backlogs.

Connect Gateway's requests per minute can be enforced; nothing else is.
Limits are the defaults that others report; `limits` may be changed. Requests are those that the local APIs have answered.
Backlogs are those of now: Google's samples are minutes old (https://cloud.google.com/monitoring/api/metrics_gcp_p_z).
Left out: every other metric.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local.google.wire import GoogleError, google_api, require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from local.google.faults import Calls
    from local.google.iam.state import Iam
    from local.google.platform import Projects

Json = dict[str, Any]

# Service -> metric, its unit, its limit. https://cloud.google.com/service-usage/docs/reference/rest/v1beta1/services.consumerQuotaMetrics
DEFAULTS: dict[str, dict[str, tuple[str, int]]] = {
    "gkehub.googleapis.com": {
        "gkehub.googleapis.com/global_memberships": ("1/{project}", 250),
        "gkehub.googleapis.com/regional_memberships": ("1/{project}/{region}", 50),
    },
    "connectgateway.googleapis.com": {"connectgateway.googleapis.com/requests": ("1/min/{project}", 2400)},
}
REQUESTS = "serviceruntime.googleapis.com/api/request_count"
# Metric of a subscription -> its value in the queue's figures.
BACKLOGS: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "pubsub.googleapis.com/subscription/num_undelivered_messages": lambda queue: queue["backlog"] + queue["in_flight"],
    "pubsub.googleapis.com/subscription/oldest_unacked_message_age": lambda queue: queue["oldest_age"],
}


GATEWAY = "connectgateway.googleapis.com"
GATEWAY_METRIC = f"{GATEWAY}/requests"


class Quotas:
    """The limits of each API, by service and metric."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = {service: dict(metrics) for service, metrics in DEFAULTS.items()}
        self._clock = clock
        self._requests: deque[float] = deque()

    def require_gateway_request(self, number: int) -> None:
        """Count a request to the gateway of a project (its number). Raises GoogleError beyond the limit of a minute."""
        now = self._clock()
        while self._requests and self._requests[0] <= now - 60:
            self._requests.popleft()
        if len(self._requests) >= self.limits[GATEWAY][GATEWAY_METRIC][1]:
            raise GoogleError(
                429,
                f"Quota exceeded for quota metric '{GATEWAY_METRIC}' of service '{GATEWAY}'"
                f" for consumer 'project_number:{number}'.",
            )
        self._requests.append(now)

    def change(self, service: str, metric: str, limit: int) -> None:
        """Set the limit of a metric."""
        unit, _ = self.limits[service][metric]
        self.limits[service][metric] = unit, limit


def quota_routes(iam: Iam, projects: Projects, quotas: Quotas) -> Sequence[BaseRoute]:
    """Return the routes of serviceusage.googleapis.com for limits."""

    async def metrics(request: Request) -> JSONResponse:
        project = projects.id(request.path_params["project"])
        require(request, iam, "serviceusage.quotas.get", project)
        service = request.path_params["service"]
        parent = f"projects/{projects.number(project)}/services/{service}/consumerQuotaMetrics"

        def one(metric: str, unit: str, limit: int) -> Json:
            name = f"{parent}/{metric.replace('/', '%2F')}"
            bucket = {"effectiveLimit": str(limit), "defaultLimit": str(limit)}
            limits = [{"name": f"{name}/limits/x", "unit": unit, "metric": metric, "quotaBuckets": [bucket]}]
            return {"name": name, "metric": metric, "displayName": metric, "consumerQuotaLimits": limits}

        found = quotas.limits.get(service, {})
        return JSONResponse({"metrics": [one(metric, unit, limit) for metric, (unit, limit) in found.items()]})

    return [Route("/v1beta1/projects/{project}/services/{service}/consumerQuotaMetrics", metrics)]


def monitoring_app(
    iam: Iam, projects: Projects, calls: Calls, queues: Callable[[], Mapping[str, Mapping[str, Any]]]
) -> Starlette:
    """Return the application that answers for monitoring.googleapis.com: requests summed by minute, and backlogs.

    `queues` returns the figures of each subscription by its full name.
    """

    def backlogs(project: str, metric: str) -> list[Json]:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return [
            {
                "metric": {"type": metric},
                "resource": {
                    "type": "pubsub_subscription",
                    "labels": {"project_id": project, "subscription_id": name.rpartition("/")[2]},
                },
                "metricKind": "GAUGE",
                "valueType": "INT64",
                "points": [
                    {
                        "interval": {"startTime": now, "endTime": now},
                        "value": {"int64Value": str(int(BACKLOGS[metric](figures)))},
                    }
                ],
            }
            for name, figures in queues().items()
            if name.split("/")[1] == project
        ]

    async def time_series(request: Request) -> JSONResponse:
        project = projects.id(request.path_params["project"])
        require(request, iam, "monitoring.timeSeries.list", project)
        query = request.query_params
        asked = query.get("filter", "")
        for metric in BACKLOGS:
            if f'metric.type="{metric}"' in asked:
                found = backlogs(project, metric)
                return JSONResponse({"timeSeries": found} if found else {})
        if f'metric.type="{REQUESTS}"' not in asked:
            raise GoogleError(404, f"Cannot find metric(s) that match {asked}.")
        try:
            start, end = (
                datetime.fromisoformat(query[f"interval.{name}"]).timestamp() for name in ("startTime", "endTime")
            )
        except (KeyError, ValueError) as error:
            raise GoogleError(400, f"Field interval had an invalid value: {error}.") from error
        api = asked.partition('resource.labels.service="')[2].partition(".googleapis.com")[0]
        minutes = Counter(
            int(call.at // 60) for call in calls.since(start) if call.api == api and call.at < end and call.status
        )
        points = [
            {
                "interval": {"startTime": _time(minute), "endTime": _time(minute + 1)},
                "value": {"int64Value": str(number)},
            }
            for minute, number in sorted(minutes.items(), reverse=True)
        ]
        series = {"metric": {"type": REQUESTS}, "metricKind": "DELTA", "valueType": "INT64", "points": points}
        return JSONResponse({"timeSeries": [series]} if points else {})

    return google_api([Route("/v3/projects/{project}/timeSeries", time_series)])


def _time(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).isoformat().replace("+00:00", "Z")
