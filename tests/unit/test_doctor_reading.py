"""What `ops doctor` reads of folders, sinks, limits and reviews: inherited grants, absent objects, spoilt numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.activity import parse_time as timestamp
from ops.doctor.api import Api, Kubernetes, RefusedError, attempt
from ops.doctor.codes import Code
from ops.doctor.command import examine
from ops.doctor.expected import Expected
from ops.doctor.findings import Unread
from ops.doctor.reading_cluster import CentralReader, FleetReader, gateway_limit, gateway_peak, read_membership
from ops.doctor.reading_google import Reader
from shared.values.errors import PermanentError
from tests.unit.deployment import right
from tests.unit.given import NOW, SETTINGS
from tests.unit.session import Answers

EXPECTED = Expected(SETTINGS)
ANCESTORS = [
    {"resourceId": {"type": kind, "id": number}} for kind, number in (("project", "demo-apps"), ("folder", "7"))
]
ORGANIZATION = {"resourceId": {"type": "organization", "id": "9"}}
ADMISSION = "apis/admissionregistration.k8s.io/v1"


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def reader(answers: Answers) -> Reader:
    return Reader(Api(cast("Any", answers), {}), EXPECTED, "user:me@example.com")


def central(reader: Reader, answers: Answers, membership: Any = None) -> CentralReader:
    return CentralReader(reader, Kubernetes(cast("Any", answers), "https://gateway.example.com/m"), membership)


def fleet(reader: Reader, **services: Any) -> FleetReader:
    return FleetReader(reader, cast("Any", SimpleNamespace(settings=SETTINGS, **services)))


def test_a_role_of_a_folder_counts_for_the_projects_below(reader: Reader, answers: Answers) -> None:
    answers.give("projects/demo-apps:getAncestry", {"ancestor": [*ANCESTORS, ORGANIZATION, "spoilt"][:3]})
    given = {"role": "roles/container.viewer", "members": ["serviceAccount:x"]}
    answers.give("v2/folders/7:getIamPolicy", {"bindings": [given]})
    answers.give("v1/organizations/9:getIamPolicy", {})
    found = reader._with_inherited({"demo-apps": ()}, {}, {"demo-apps": {"parent": {"type": "folder"}}})
    assert found["demo-apps"] == (given,)


def test_a_folder_that_cannot_be_read_leaves_the_project_unknown(reader: Reader, answers: Answers) -> None:
    answers.give("projects/demo-apps:getAncestry", {"ancestor": ANCESTORS})
    answers.refuse("v2/folders/7:getIamPolicy", 403, "denied")
    found = reader._with_inherited({"demo-apps": ()}, {}, {"demo-apps": {"parent": {"type": "folder"}}})
    assert isinstance(found["demo-apps"], Unread)


def test_a_project_without_a_parent_inherits_nothing(reader: Reader, answers: Answers) -> None:
    unread = Unread("403")
    found = reader._with_inherited({"demo-apps": (), "demo-fleet": unread}, {}, {"demo-apps": {}, "demo-fleet": {}})
    assert found == {"demo-apps": (), "demo-fleet": unread}
    assert answers.asked == []


def test_a_project_that_does_not_exist_is_absent_and_a_refusal_is_not(reader: Reader, answers: Answers) -> None:
    answers.refuse("v1/projects/demo-apps", 404, "not found")
    assert reader._project("demo-apps") is None
    answers.refuse("v1/projects/demo-apps", 500, "internal")
    with pytest.raises(RefusedError, match="500"):
        reader._project("demo-apps")


def test_a_sink_of_a_folder_is_found_where_the_project_has_none(reader: Reader, answers: Answers) -> None:
    answers.give("projects/demo-apps/sinks", {"sinks": [{"name": "_Default"}]})
    answers.give("v1/projects/demo-apps", {"parent": {"type": "folder"}})
    answers.give("projects/demo-apps:getAncestry", {"ancestor": ANCESTORS})
    above = [{"name": "ours", "includeChildren": True}, {"name": "of-the-folder-alone"}]
    answers.give("v2/folders/7/sinks", {"sinks": above})
    assert [one["name"] for one in reader._sinks("demo-apps")] == ["_Default", "ours"]
    answers.give("v1/projects/demo-apps", {})
    assert [one["name"] for one in reader._sinks("demo-apps")] == ["_Default"]


def test_without_functions_there_is_no_region_to_read_schedules_of(reader: Reader, answers: Answers) -> None:
    answers.give("subscriptions", {})
    answers.give("entries:list", {})
    seen = reader.chain(NOW)
    assert isinstance(seen.functions, Unread)
    assert isinstance(seen.jobs, Unread)
    assert seen.last_sweep is None


@pytest.mark.parametrize("text", ["", "yesterday", None, "2026-11-24T12:00:00Z or so"])
def test_a_time_that_cannot_be_read_gives_none(text: object) -> None:
    assert timestamp(text) is None


def test_a_time_has_at_most_microseconds() -> None:
    assert timestamp("2026-11-24T12:00:00.123456789Z") == NOW.replace(microsecond=123456)
    assert timestamp("2026-11-24T12:00:00Z") == NOW


def test_the_workload_pool_is_the_gke_clusters(reader: Reader, answers: Answers) -> None:
    assert central(reader, answers)._workload_pool() == ""
    link = "//container.googleapis.com/projects/p/locations/l/clusters/c"
    answers.give("clusters/c", {"workloadIdentityConfig": {"workloadPool": "p.svc.id.goog"}})
    membership = {"endpoint": {"gkeCluster": {"resourceLink": link}}}
    assert central(reader, answers, membership)._workload_pool() == "p.svc.id.goog"


@pytest.mark.parametrize(("status", "words"), [(404, "serves no ValidatingAdmissionPolicy"), (403, "403")])
def test_a_cluster_without_admission_policies_differs_from_a_refusal(
    reader: Reader, answers: Answers, status: int, words: str
) -> None:
    answers.give(ADMISSION, {"kind": "Status", "message": "no"}, status)
    with pytest.raises(RefusedError, match=words):
        central(reader, answers)._policy()


def test_without_a_policy_nothing_is_tried(reader: Reader, answers: Answers) -> None:
    wrong, right_one = central(reader, answers)._tried("argocd", None)
    assert (wrong, isinstance(right_one, Unread)) == ({}, True)
    unread = Unread("403")
    assert central(reader, answers)._tried("argocd", unread) == ({}, unread)
    assert answers.asked == []


def test_a_dry_run_counts_only_as_the_identity_that_was_asked_for(reader: Reader, answers: Answers) -> None:
    answers.give("selfsubjectreviews", {"status": {"userInfo": {"username": "me@example.com"}}}, 201)
    with pytest.raises(RefusedError, match="impersonation did not reach it"):
        central(reader, answers)._try("write-secret", "POST", "api/v1/namespaces/argocd/secrets", {})


def test_an_agent_may_impersonate_where_the_cluster_says_so(reader: Reader, answers: Answers) -> None:
    answers.give("subjectaccessreviews", {"status": {"allowed": True}}, 201)
    assert central(reader, answers)._agent_may("write-secret")
    answers.give("subjectaccessreviews", {"status": {}}, 201)
    assert not central(reader, answers)._agent_may("write-secret")


@pytest.mark.parametrize(
    ("what", "status", "command"),
    [
        ("reading api/v1/namespaces/argocd", 403, "gcloud container fleet memberships generate-gateway-rbac"),
        ("", 403, "gcloud container fleet memberships generate-gateway-rbac"),
        ("pubsub v1/projects/demo-fleet/topics", 403, "gcloud projects add-iam-policy-binding demo-fleet"),
        ("reading projects/demo-fleet/locations/global/memberships/c", 403, "gcloud projects add-iam-policy-binding"),
    ],
)
def test_a_denied_read_names_the_grant_that_helps(what: str, status: int, command: str) -> None:
    def read() -> None:
        raise RefusedError(what, status, "listing api/v1/secrets at https://gateway/v1/projects/1/c: 403 no")

    found = attempt(read, "")
    assert isinstance(found, Unread)
    assert found.fix.startswith(command)
    assert "$" not in found.fix  # the command is quoted: the shell would not replace it


def test_a_survey_that_fails_is_a_refusal(reader: Reader) -> None:
    class Refusing:
        settings = SETTINGS

        def __getattr__(self, name: str) -> Any:
            raise PermanentError(f"{name}: 403")

    with pytest.raises(RefusedError, match=r"^central: 403$"):
        FleetReader(reader, cast("Any", Refusing()))._survey()


def limits(*buckets: Any, unit: str = "1/{project}/{region}", metric: str = "regional_memberships") -> Any:
    return {"metrics": [{"metric": metric, "consumerQuotaLimits": [{"unit": unit, "quotaBuckets": list(buckets)}]}]}


def test_limits_are_by_region_and_a_spoilt_number_is_left_out(reader: Reader, answers: Answers) -> None:
    answers.give(
        "consumerQuotaMetrics",
        limits({"effectiveLimit": "7", "dimensions": {"region": "us-east1"}}, {"effectiveLimit": "many"}, {}),
    )
    assert fleet(reader)._membership_limits() == {"": 50, "global": 250, "us-east1": 7}
    answers.give("consumerQuotaMetrics", limits({"effectiveLimit": "9"}, metric="api_requests"))
    assert fleet(reader)._membership_limits() == {"": 50, "global": 250}


@pytest.mark.parametrize(
    ("answer", "limit"),
    [
        (limits({"effectiveLimit": "3000"}, unit="1/min/{project}"), 3000),
        (limits({"effectiveLimit": "-1"}, unit="1/min/{project}"), 2400),
        (limits({"effectiveLimit": "3000"}, unit="1/d/{project}"), 2400),
        ({"metrics": []}, 2400),
    ],
)
def test_the_gateways_quota_is_the_limit_a_minute(reader: Reader, answers: Answers, answer: Any, limit: int) -> None:
    answers.give("consumerQuotaMetrics", answer)
    assert gateway_limit(reader.api, "demo-fleet") == limit


def test_the_peak_is_the_largest_minute(reader: Reader, answers: Answers) -> None:
    points = [{"value": {"int64Value": number}} for number in ("3", "40", "x")]
    answers.give("timeSeries", {"timeSeries": [{"points": points}, {}]})
    assert gateway_peak(reader.api, "demo-fleet", NOW) == 40
    answers.give("timeSeries", {})
    assert gateway_peak(reader.api, "demo-fleet", NOW) == 0


def test_an_absent_central_membership_gives_none_and_a_refusal_is_raised(reader: Reader, answers: Answers) -> None:
    path = str(SETTINGS.central_membership)
    answers.refuse(path, 404)
    assert read_membership(reader.api, EXPECTED) is None
    answers.refuse(path, 403)
    with pytest.raises(RefusedError):
        read_membership(reader.api, EXPECTED)


def test_without_an_identity_doctor_says_how_to_log_in() -> None:
    class Nobody:
        settings = SETTINGS

        @property
        def credentials(self) -> Any:
            raise PermanentError("no default credentials")

    [found] = examine(cast("Any", Nobody()), {})
    assert (found.code, found.fix) == (Code.NO_IDENTITY, "gcloud auth application-default login")


def test_a_right_deployment_is_complete() -> None:
    """The values that the checks start from have no part that could not be read."""
    seen = right()
    assert not any(isinstance(getattr(seen.delivery, name), Unread) for name in ("functions", "topics", "jobs"))
