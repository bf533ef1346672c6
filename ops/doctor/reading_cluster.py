"""Reads the central cluster through the gateway, the fleet's lists and the quotas: the other two parts of `Observed`.

What is tried is a server-side dry run, as each of our identities: the API server answers and stores nothing.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ops import adoption, survey
from ops.doctor.api import Api, Kubernetes, RefusedError, attempt
from ops.doctor.checks_central import VERBS
from ops.doctor.expected import Expected
from ops.doctor.findings import Read, Unread
from ops.doctor.observed import Central, DryRun, Fleet, at
from ops.doctor.reading_google import Reader
from ops.pace import GATEWAY_REQUESTS
from ops.survey import Snapshot
from shared.decisions import recognition, secret_plan
from shared.decisions.shards import with_shard
from shared.runtime.services import Services
from shared.values.errors import ReconcileError
from shared.values.model import Cluster, Membership
from shared.values.names import ClusterName, MembershipName
from shared.values.objects import Object, encoded
from shared.values.target import target_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


AGENT: Final = "system:serviceaccount:gke-connect:connect-agent-sa"
ADMISSION: Final = "apis/admissionregistration.k8s.io/v1"
CONTROLLER: Final = "labelSelector=app.kubernetes.io%2Fname%3Dargocd-application-controller"
TRIED: Final = "fleet-registrar-doctor"
# Documented defaults, where the quota API names no such limit (docs/deploy.md, Quotas).
REGIONAL_MEMBERSHIPS: Final = 50
GLOBAL_MEMBERSHIPS: Final = 250
_EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)


class CentralReader:
    """Reads the central cluster as the operator."""

    def __init__(self, reader: Reader, cluster: Kubernetes, membership: Read[Object | None]) -> None:
        self.reader = reader
        self.expected = reader.expected
        self.cluster = cluster
        self.membership = membership

    def read(self) -> Central:
        """Read what `checks_central` compares."""
        namespace = self.expected.settings.argocd_namespace
        cluster = self.cluster
        reached: Read[str] = attempt(lambda: self._user(""), self.reader.member)
        if isinstance(reached, Unread):
            return self._unreached(reached)
        found = self.reader.together(
            namespace=lambda: cluster.get(f"api/v1/namespaces/{namespace}", namespace),
            controllers=self._controllers,
            parameters=lambda: (
                cluster.get(f"api/v1/namespaces/{namespace}/configmaps/argocd-cmd-params-cm", "argocd-cmd-params-cm")
                or {}
            ),
            service_accounts=lambda: cluster.items(f"api/v1/namespaces/{namespace}/serviceaccounts"),
            workload_pool=self._workload_pool,
            policy=self._policy,
            policy_bindings=lambda: cluster.items(f"{ADMISSION}/validatingadmissionpolicybindings"),
        )
        questions = [
            (name, verb, where)
            for name in self.expected.deployed
            for verb, where in [*((verb, namespace) for verb in VERBS), ("list", "")]
        ]
        access = self.reader.each(self._may, questions)
        agents = [] if self._is_gke() else [n for n in self.expected.deployed if self.expected.roles[n]["secrets"]]
        impersonation = self.reader.each(self._agent_may, agents)
        wrong, right = self._tried(namespace, found["policy"])
        return Central(
            membership=self.membership,
            reached_as=reached,
            **found,
            access=access,
            impersonation=impersonation,
            wrong_secrets=wrong,
            right_secret=right,
        )

    def _unreached(self, why: Unread) -> Central:
        return Central(self.membership, why, why, why, why, why, "", {}, {}, why, why, {}, why)

    def _is_gke(self) -> bool:
        return bool(at(self.membership, "endpoint", "gkeCluster"))

    def _user(self, impersonate: str) -> str:
        """Return the user name that the cluster sees: a real attempt through the gateway."""
        return str(at(self.cluster.review("SelfSubjectReview", {}, impersonate), "userInfo", "username") or "")

    def _controllers(self) -> tuple[Object, ...]:
        namespace = self.expected.settings.argocd_namespace
        found: list[Object] = []
        for kind, plural in (("StatefulSet", "statefulsets"), ("Deployment", "deployments")):
            items = self.cluster.items(f"apis/apps/v1/namespaces/{namespace}/{plural}?{CONTROLLER}")
            found += [{"kind": kind, **one} for one in items]
        return tuple(found)

    def _workload_pool(self) -> str:
        link = str(at(self.membership, "endpoint", "gkeCluster", "resourceLink") or "")
        if not link:
            return ""
        name = link.partition("googleapis.com/")[2]
        found = self.reader.api.get("container", f"v1/{name}", fields="workloadIdentityConfig")
        return str(at(found, "workloadIdentityConfig", "workloadPool") or "")

    def _policy(self) -> Object | None:
        try:
            self.cluster.get(ADMISSION)
        except RefusedError as error:
            if error.status == 404:
                raise RefusedError(
                    "the central cluster serves no ValidatingAdmissionPolicy (Kubernetes 1.30 or newer does)", 404, ""
                ) from error
            raise
        name = self.expected.policy
        return self.cluster.get(f"{ADMISSION}/validatingadmissionpolicies/{name}", name)

    def _may(self, question: tuple[str, str, str]) -> bool:
        name, verb, namespace = question
        about = {"verb": verb, "resource": "secrets", **({"namespace": namespace} if namespace else {})}
        return self._allowed(self.expected.account(name), about)

    def _agent_may(self, name: str) -> bool:
        about = {"verb": "impersonate", "resource": "users", "name": self.expected.account(name)}
        return self._allowed(AGENT, about)

    def _allowed(self, user: str, about: Object) -> bool:
        found = self.cluster.review("SubjectAccessReview", {"user": user, "resourceAttributes": about})
        return bool(found.get("allowed"))

    # Dry runs

    def _tried(self, namespace: str, policy: Read[Object | None]) -> tuple[Mapping[str, Read[DryRun]], Read[DryRun]]:
        """Dry-run wrong Secrets and a right one as our identities; only if the policy exists."""
        if isinstance(policy, Unread):
            return {}, policy
        if policy is None:
            return {}, Unread("there is no admission policy to try")
        path = f"api/v1/namespaces/{namespace}/secrets"
        right = right_secret(self.expected, is_gke=self._is_gke())
        unmarked = {**right, "metadata": {"name": TRIED, "namespace": namespace}}
        elsewhere = {**right, "data": {**right["data"], "server": encoded("https://elsewhere.example")}}
        beyond = with_shard(right, self.expected.settings.argocd_shards)
        touched = {"metadata": {"annotations": {"fleet-registrar/doctor": "dry-run"}}}
        attempts: dict[str, tuple[str, str, str, Object]] = {
            "write-secret creates a Secret without our mark": ("write-secret", "POST", path, unmarked),
            "write-secret creates a Secret with another server": ("write-secret", "POST", path, elsewhere),
            "write-secret creates a Secret with a shard that ARGOCD_SHARDS excludes": (
                "write-secret",
                "POST",
                path,
                beyond,
            ),
            "write-secret changes argocd-secret": ("write-secret", "PATCH", f"{path}/argocd-secret", touched),
            "remove-secret changes argocd-secret": ("remove-secret", "PATCH", f"{path}/argocd-secret", touched),
        }
        wrong = self.reader.each(lambda one: self._try(*attempts[one]), attempts)
        return wrong, attempt(partial(self._try, "write-secret", "POST", path, right), self.reader.member)

    def _try(self, name: str, method: str, path: str, body: Object) -> DryRun:
        user = self.expected.account(name)
        if (seen := self._user(user)) != user:
            raise RefusedError(
                f"acting as {user}", 403, f"the cluster still sees {seen}: impersonation did not reach it"
            )
        status, message = self.cluster.dry_run(method, path, body, user)
        return DryRun(200 <= status < 300, message)


def right_secret(expected: Expected, *, is_gke: bool) -> Object:
    """Return a Secret as write-secret makes it, for a cluster that does not exist."""
    settings = expected.settings
    member = MembershipName(settings.fleet_project, settings.central_membership.location, TRIED)
    name = ClusterName(settings.fleet_project, member.location, TRIED) if is_gke else None
    cluster = Cluster(name=name, id="0", status="RUNNING", labels={}) if name else None
    membership = Membership(name=member, unique_id="0", state="READY", labels={}, cluster=name)
    manifest = secret_plan.new_secret(target_of(cluster, membership), settings, _EPOCH)
    return with_shard(manifest, settings.argocd_shards - 1) if settings.argocd_shards else manifest


class FleetReader:
    """Reads what a sweep reads, and the quotas."""

    def __init__(self, reader: Reader, services: Services) -> None:
        self.reader = reader
        self.services = services
        self.settings = services.settings
        self.expected = reader.expected

    def read(self, now: datetime) -> Fleet:
        """Read what `checks_fleet` compares."""
        found = self.reader.together(
            memberships=self._memberships,
            membership_limits=self._membership_limits,
            survey=self._survey,
            gateway_peak=lambda: gateway_peak(self.reader.api, self.settings.fleet_project, now),
            gateway_limit=lambda: gateway_limit(self.reader.api, self.settings.fleet_project),
        )
        seen: Read[Snapshot] = found.pop("survey")
        if isinstance(seen, Unread):
            return Fleet(**found, secrets=seen, others=seen, unmanaged=seen, writers=seen)
        unmanaged = {
            secret.name: str(name)
            for name, secrets in adoption.known(seen, self.settings).items()
            for secret in secrets
            if not secret.is_managed or name in seen.inventory.clusters or name in seen.inventory.memberships
        }
        writers = [
            (secret.name, unmanaged.get(secret.name, ""), who)
            for secret in seen.inventory.unmanaged
            if (who := recognition.writer(secret))
        ]
        # Another registrar's Secret matters only if it is for a cluster of ours.
        others = {secret.name: secret for secret in seen.inventory.unmanaged if secret.is_managed}
        writers += [
            (secret, name, f"Fleet Registrar, instance {others[secret].instance!r}")
            for secret, name in unmanaged.items()
            if secret in others
        ]
        if seen.inventory.unread:
            why = "; ".join(f"{project}: {text}" for project, text in sorted(seen.inventory.unread.items()))
            unread = Unread(f"not every project was read: {why}")
            return Fleet(**found, **_shards(seen), unmanaged=unread, writers=tuple(sorted(writers)))
        kept = {name for name, _, _ in writers}  # reported once, with who writes it
        return Fleet(
            **found,
            **_shards(seen),
            unmanaged=tuple(sorted(pair for pair in unmanaged.items() if pair[0] not in kept)),
            writers=tuple(sorted(writers)),
        )

    def _survey(self) -> Snapshot:
        try:
            return survey.survey(self.services)
        except ReconcileError as error:
            raise RefusedError("", error.status, str(error)) from error

    def _memberships(self) -> Mapping[str, int]:
        parent = f"v1/projects/{self.settings.fleet_project}/locations/-"
        found = self.reader.api.pages("gkehub", f"{parent}/memberships", "resources", pageSize=500)
        return Counter(str(one.get("name", "")).split("/")[3] for one in found if one.get("name", "").count("/") == 5)

    def _membership_limits(self) -> Mapping[str, int]:
        limits = {"": REGIONAL_MEMBERSHIPS, "global": GLOBAL_MEMBERSHIPS}
        for metric, unit, region, number in _quotas(self.reader.api, self.settings.fleet_project, "gkehub"):
            if "membership" in metric:
                limits[region or ("" if "{region}" in unit else "global")] = number
        return limits


def _shards(seen: Snapshot) -> dict[str, Any]:
    """The shard of each cluster Secret, ours and others'."""
    lists = {"secrets": seen.inventory.secrets, "others": seen.inventory.unmanaged}
    return {key: tuple((one.name, one.data.get("shard", "")) for one in several) for key, several in lists.items()}


def gateway_limit(api: Api, project: str) -> int:
    """Return the requests a minute that Connect Gateway takes."""
    quotas = _quotas(api, project, "connectgateway")
    found = [number for _, unit, _, number in quotas if unit.startswith("1/min") and number > 0]
    return max(found, default=GATEWAY_REQUESTS)


def gateway_peak(api: Api, project: str, now: datetime) -> int:
    """Return the most requests in one minute of the last hour, as Cloud Monitoring counts them."""
    series = api.get(
        "monitoring",
        f"v3/projects/{project}/timeSeries",
        **{
            "filter": (
                'metric.type="serviceruntime.googleapis.com/api/request_count" AND resource.type="consumed_api"'
                ' AND resource.labels.service="connectgateway.googleapis.com"'
            ),
            "interval.startTime": (now - timedelta(hours=1)).isoformat(),
            "interval.endTime": now.isoformat(),
            "aggregation.alignmentPeriod": "60s",
            "aggregation.perSeriesAligner": "ALIGN_SUM",
            "aggregation.crossSeriesReducer": "REDUCE_SUM",
        },
    )
    points = [
        _whole(at(point, "value", "int64Value")) or 0
        for one in series.get("timeSeries") or []
        for point in one.get("points") or []
    ]
    return max(points, default=0)


def _quotas(api: Api, project: str, service: str) -> Iterator[tuple[str, str, str, int]]:
    """Yield (names of the metric in lower case, unit, region or '', limit) for each limit of a service."""
    path = f"v1beta1/projects/{project}/services/{service}.googleapis.com/consumerQuotaMetrics"
    for metric in api.pages("serviceusage", path, "metrics"):
        for limit in metric.get("consumerQuotaLimits") or []:
            for bucket in limit.get("quotaBuckets") or []:
                if (number := _whole(bucket.get("effectiveLimit"))) is not None:
                    names = f"{metric.get('metric')} {metric.get('displayName')}".lower()
                    yield names, str(limit.get("unit")), str(at(bucket, "dimensions", "region") or ""), number


def read_membership(api: Api, expected: Expected) -> Object | None:
    """Return the central cluster's membership; None if the fleet has none of that name."""
    return api.find("gkehub", f"v1/{expected.settings.central_membership}")


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
