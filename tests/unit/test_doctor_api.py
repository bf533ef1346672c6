"""The APIs as `ops doctor` reads them: pages, policies, refusals, and what is no answer at all."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ops.doctor.api import Api, Kubernetes, RefusedError, attempt
from ops.doctor.findings import Unread
from tests.unit.session import Answers

URL = "https://gateway.example.com/v1/projects/1/locations/global/memberships/m"
SECRETS = "api/v1/namespaces/argocd/secrets"


@pytest.fixture
def answers() -> Answers:
    return Answers()


def api(answers: Answers, **environment: str) -> Api:
    return Api(cast("Any", answers), environment)


def cluster(answers: Answers) -> Kubernetes:
    return Kubernetes(cast("Any", answers), URL)


def test_all_pages_are_read(answers: Answers) -> None:
    pages = [{"topics": [{"name": "a"}], "nextPageToken": "t"}, {"topics": [{"name": "b"}]}]
    answers.give("v1/projects/p/topics", lambda _body: pages.pop(0))
    assert [one["name"] for one in api(answers).pages("pubsub", "v1/projects/p/topics", "topics")] == ["a", "b"]
    assert answers.asked[1].endswith("?pageToken=t")


def test_pages_without_an_end_are_refused(answers: Answers) -> None:
    answers.give("topics", {"topics": [], "nextPageToken": "t"})
    with pytest.raises(RefusedError, match="more than 50 pages"):
        api(answers).pages("pubsub", "v1/projects/p/topics", "topics")


@pytest.mark.parametrize("page", [{"topics": "x"}, {"topics": ["x"]}, {"topics": {}}])
def test_a_page_that_is_no_list_of_objects_is_refused(answers: Answers, page: Any) -> None:
    answers.give("topics", page)
    with pytest.raises(RefusedError, match="topics"):
        api(answers).pages("pubsub", "v1/projects/p/topics", "topics")


@pytest.mark.parametrize("body", ["<html>a proxy</html>", ["a"], 7, None])
def test_a_200_that_is_no_object_is_refused(answers: Answers, body: Any) -> None:
    answers.give("topics", body)
    with pytest.raises(RefusedError):
        api(answers).get("pubsub", "v1/projects/p/topics")


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ({}, "https://pubsub.googleapis.com/"),
        ({"PUBSUB_EMULATOR_HOST": "127.0.0.1:1"}, "http://127.0.0.1:1/"),
        (
            {"CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": "http://localhost:2/", "PUBSUB_EMULATOR_HOST": "127.0.0.1:1"},
            "http://localhost:2/",
        ),
    ],
)
def test_an_endpoint_is_googles_or_the_one_of_the_environment(
    answers: Answers, environment: dict[str, str], host: str
) -> None:
    answers.give("topics", {})
    api(answers, **environment).get("pubsub", "topics")
    assert answers.asked == [f"GET {host}topics"]


def test_a_policy_has_bindings_or_none(answers: Answers) -> None:
    answers.give("p:getIamPolicy", {"bindings": [{"role": "r"}, "spoilt"]})
    assert api(answers).policy("cloudresourcemanager", "v3/projects/p", post=True) == ({"role": "r"},)
    answers.give("p:getIamPolicy", {})
    assert api(answers).policy("cloudresourcemanager", "v3/projects/p", post=False) == ()


def attempted(answers: Answers, path: str = "v1/projects/team/topics", member: str = "user:me@example.com") -> Unread:
    found = attempt(lambda: api(answers).get("pubsub", path), member)
    assert isinstance(found, Unread)
    return found


def test_an_api_that_is_not_enabled_leads_to_the_command_that_enables_it(answers: Answers) -> None:
    metadata = {"consumer": "projects/team", "service": "pubsub.googleapis.com"}
    answers.refuse(
        "topics", 403, "disabled", [{"reason": "OTHER"}, {"reason": "SERVICE_DISABLED", "metadata": metadata}]
    )
    assert attempted(answers).fix == "gcloud services enable pubsub.googleapis.com --project=team"


def test_a_denied_read_leads_to_the_role_that_allows_it(answers: Answers) -> None:
    answers.refuse("topics", 403, "denied")
    found = attempted(answers)
    assert found.denied
    assert "roles/viewer" in found.fix
    assert "team" in found.fix
    answers.refuse(":getIamPolicy", 403, "denied")
    assert "roles/iam.securityReviewer" in attempted(answers, "v3/projects/team:getIamPolicy").fix


def test_no_answer_and_a_server_error_have_no_command(answers: Answers) -> None:
    assert attempted(answers).fix == ""
    answers.refuse("topics", 503, "unavailable")
    assert not attempted(answers).denied


def status(name: str = "blue") -> dict[str, Any]:
    return {"kind": "Status", "message": "not found", "details": {"name": name}}


def test_only_the_clusters_own_404_for_this_name_means_absent(answers: Answers) -> None:
    answers.give("secrets/blue", status(), 404)
    assert cluster(answers).get(f"{SECRETS}/blue", "blue") is None
    for body in (status("another"), {"error": {"message": "no membership"}}, "404 page not found"):
        answers.give("secrets/blue", body, 404)
        with pytest.raises(RefusedError):
            cluster(answers).get(f"{SECRETS}/blue", "blue")


def test_a_list_without_items_is_refused(answers: Answers) -> None:
    answers.give(SECRETS, {"items": [{"kind": "Secret"}, 7]})
    assert cluster(answers).items(SECRETS) == ({"kind": "Secret"},)
    answers.give(SECRETS, {"kind": "SecretList"})
    with pytest.raises(RefusedError, match="items is not a list"):
        cluster(answers).items(SECRETS)


def test_a_review_is_asked_as_the_impersonated_user(answers: Answers) -> None:
    answers.give("subjectaccessreviews", {"status": {"allowed": True}}, 201)
    assert cluster(answers).review("SubjectAccessReview", {"user": "a"}, "b") == {"allowed": True}
    assert answers.headers[-1]["Impersonate-User"] == "b"
    answers.give("subjectaccessreviews", {"message": "no"}, 403)
    with pytest.raises(RefusedError, match="403"):
        cluster(answers).review("SubjectAccessReview", {})


def test_a_dry_run_tells_what_the_server_would_answer(answers: Answers) -> None:
    answers.give(SECRETS, {"kind": "Status", "message": "denied by policy"}, 403)
    assert cluster(answers).dry_run("POST", SECRETS, {}, "writer") == (403, "denied by policy")
    assert answers.asked[-1].endswith("?dryRun=All")
    answers.give(f"{SECRETS}/blue", {"kind": "Secret"})
    assert cluster(answers).dry_run("PATCH", f"{SECRETS}/blue", {}, "writer")[0] == 200
    assert answers.headers[-1]["Content-Type"] == "application/merge-patch+json"


@pytest.mark.parametrize(("body", "code"), [({"kind": "Status"}, 503), ({"message": "gateway"}, 404)])
def test_a_dry_run_that_no_api_server_answered_is_refused(answers: Answers, body: Any, code: int) -> None:
    answers.give(SECRETS, body, code)
    with pytest.raises(RefusedError):
        cluster(answers).dry_run("POST", SECRETS, {}, "writer")
