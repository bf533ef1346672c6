"""What the clients of Google's APIs send and conclude: clusters, memberships, registrations, proofs of grants."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.clients import answers, deadline, http
from shared.clients.grant_signer import MAX_TOKEN_LENGTH, GrantSigner
from shared.clients.registration import Registration
from shared.clients.request_budget import BURST_SECONDS, RequestBudget
from shared.clients.transport import authorized_session
from shared.values.codes import ErrorCode
from shared.values.errors import ConflictError, PermanentError, RetryableError, TakenError
from shared.values.names import ClusterName
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE
from tests.unit.google_clients import fleet, gke, refusal
from tests.unit.stub import Identity, Stub, sends, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.values.errors import ReconcileError

CLUSTER = {"name": "blue", "location": "europe-west1", "id": "4711", "status": "RUNNING"}


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with serving() as running:
        yield running


def test_a_complete_list_alone_proves_that_a_cluster_is_gone(stub: Stub) -> None:
    stub.give(sends({"clusters": [CLUSTER]}))
    assert gke(stub).in_list(BLUE.name)
    stub.give(sends({"clusters": []}))
    assert not gke(stub).in_list(BLUE.name)
    stub.give(sends({"missingZones": ["europe-west1-b"]}))
    with pytest.raises(RetryableError) as raised:
        gke(stub).in_list(BLUE.name)
    assert raised.value.code is ErrorCode.INCOMPLETE_LIST


@pytest.mark.parametrize("body", [{"items": []}, {"error": {"code": 500}}, {"clusters": [], "error": {}}])
def test_another_object_is_no_list_of_clusters_or_memberships(stub: Stub, body: Any) -> None:
    stub.give(sends(body))
    reads: list[Callable[[], Any]] = [
        lambda: gke(stub).in_list(BLUE.name),
        lambda: gke(stub).list("demo-apps"),
        lambda: fleet(stub).in_list(EDGE.name),
        lambda: fleet(stub).list("demo-fleet"),
    ]
    for read in reads:
        with pytest.raises(RetryableError) as raised:
            read()
        assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


def test_a_200_with_an_error_is_no_answer(stub: Stub) -> None:
    stub.give(sends({**CLUSTER, "error": {"code": 500}}))
    with pytest.raises(RetryableError) as raised:
        gke(stub).cluster(BLUE.name)
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


@pytest.mark.parametrize(("status", "reason"), [(410, "NOT_FOUND"), (404, "UNKNOWN"), (404, "")])
def test_only_the_apis_own_404_says_that_a_cluster_is_missing(stub: Stub, status: int, reason: str) -> None:
    stub.give(refusal(status, reason))
    with pytest.raises(RetryableError):
        gke(stub).cluster(BLUE.name)


def test_the_fleets_404_ends_the_last_page(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.clients.fleet.MAX_PAGES", 2)
    stub.give(sends({"nextPageToken": "1"}), sends({}))
    assert fleet(stub).list("demo-fleet").items == ()
    stub.give(sends({"nextPageToken": "1"}), sends({"nextPageToken": "2"}), sends({}))
    with pytest.raises(RetryableError) as raised:
        fleet(stub).list("demo-fleet")
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


@pytest.mark.parametrize(
    ("fields", "project", "membership"),
    [
        ({}, "", None),
        ({"membership": f"//gkehub.googleapis.com/{BLUE_MEMBER.name}"}, "demo-fleet", BLUE_MEMBER.name),
        ({"project": "demo-fleet", "membership": str(BLUE_MEMBER.name)}, "demo-fleet", BLUE_MEMBER.name),
        ({"membership": "//gkehub.googleapis.com/projects/77/locations/global/memberships/x"}, "77", None),
        ({"project": "88", "membership": "projects/77/locations/global/memberships/x"}, "88", None),
        ({"membership": "odd"}, "odd", None),
    ],
)
def test_a_cluster_says_which_fleet_it_is_in(stub: Stub, fields: Any, project: str, membership: Any) -> None:
    """A fleet whose project number is not known is another one."""
    stub.give(sends({**CLUSTER, "fleet": fields}))
    found = gke(stub).cluster(BLUE.name)
    assert found is not None
    assert (found.fleet_project, found.membership) == (project, membership)


def test_a_cluster_is_read_with_its_addresses_and_its_problems(stub: Stub) -> None:
    dns = {"dnsEndpointConfig": {"endpoint": "GKE-1.goog"}}
    conditions = [{"message": "no quota"}, "odd", {"message": "no quota"}, {"code": 1}]
    body = {"endpoint": "34.90.1.2", "controlPlaneEndpointsConfig": dns, "statusMessage": "degraded"}
    stub.give(sends({**CLUSTER, **body, "conditions": conditions}))
    found = gke(stub).cluster(BLUE.name)
    assert found is not None
    assert (set(found.addresses), found.problem) == ({"34.90.1.2", "gke-1.goog"}, "degraded; no quota")
    stub.give(sends({**CLUSTER, "conditions": "odd"}))
    again = gke(stub).cluster(BLUE.name)
    assert again is not None
    assert again.problem == ""


def test_a_taken_id_differs_from_other_conflicts(stub: Stub) -> None:
    stub.give(refusal(409, "ALREADY_EXISTS"))
    with pytest.raises(TakenError) as taken:
        fleet(stub, "/").create(BLUE_MEMBER.name, BLUE)
    assert taken.value.status == 409
    assert stub.seen[0].path.startswith("/v1/projects/")
    stub.give(refusal(429, "RESOURCE_EXHAUSTED"))
    with pytest.raises(RetryableError) as raised:
        fleet(stub).create(BLUE_MEMBER.name, BLUE)
    assert not isinstance(raised.value, TakenError)
    assert stub.seen[0].path.startswith("/v1/projects/")


DONE: dict[str, Any] = {"name": "projects/demo-fleet/locations/europe-west1/operations/o", "done": True}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([sends({**DONE, "response": {"@type": "type.googleapis.com/google.protobuf.Empty"}})], True),
        ([refusal(404, "NOT_FOUND"), sends({})], False),
        ([refusal(404, "NOT_FOUND"), sends({"resources": [{"name": str(BLUE_MEMBER.name)}]})], ErrorCode.CONTRADICTION),
        ([refusal(400, "FAILED_PRECONDITION")], ErrorCode.MEMBERSHIP_IN_USE),
        ([sends({**DONE, "error": {"code": 9, "message": "bound"}})], ErrorCode.MEMBERSHIP_IN_USE),
        ([refusal(403, "PERMISSION_DENIED")], ErrorCode.DENIED),
    ],
)
def test_a_deletion_of_a_membership_says_what_became_of_it(stub: Stub, answers: list[Any], expected: Any) -> None:
    """A 404 alone does not prove that it was gone; what others bound to it makes the error permanent."""
    stub.give(*answers)
    if isinstance(expected, bool):
        assert fleet(stub).delete(BLUE_MEMBER.name) is expected
        return
    with pytest.raises((RetryableError, PermanentError)) as raised:
        fleet(stub).delete(BLUE_MEMBER.name)
    error: ReconcileError = raised.value
    assert error.code is expected
    assert isinstance(error, PermanentError) is (expected is ErrorCode.MEMBERSHIP_IN_USE)


# Proofs of grants, and http.


def test_a_proof_that_is_too_long_or_empty_reads_no_certificates(stub: Stub) -> None:
    stub.give(sends({"key": "-----BEGIN CERTIFICATE-----"}))
    signer = GrantSigner("x", stub.url)
    for token in ("", "x" * (MAX_TOKEN_LENGTH + 1), "a.b", "\ud800"):
        assert signer.verify_grant(token, "a") is None
    assert stub.seen == []


def test_a_body_of_exactly_the_most_bytes_is_read(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = json.dumps(CLUSTER).encode()
    stub.give(sends(raw))
    for most, fits in ((len(raw), True), (len(raw) - 1, False)):
        monkeypatch.setattr(http, "MAX_BYTES", most)
        if fits:
            assert gke(stub).cluster(BLUE.name) is not None
            continue
        with pytest.raises(RetryableError) as raised:
            gke(stub).cluster(BLUE.name)
        assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


def test_a_name_of_another_location_is_another_cluster(stub: Stub) -> None:
    stub.give(sends({"clusters": [CLUSTER]}))
    other = replace(BLUE.name, cluster="red")
    assert not gke(stub).in_list(other)
    assert [each.name for each in gke(stub).list("demo-apps").items] == [
        ClusterName("demo-apps", "europe-west1", "blue")
    ]


def test_a_packed_answer_is_unpacked(stub: Stub) -> None:
    stub.give(sends(gzip.compress(json.dumps(CLUSTER).encode()), Content_Encoding="gzip"))
    assert gke(stub).cluster(BLUE.name) is not None


def test_without_an_override_memberships_are_made_at_google() -> None:
    assert Registration(Identity(), "")._client.api_endpoint == "gkehub.googleapis.com"


def test_a_refused_instance_waits_from_the_refusal_on() -> None:
    """docs/architecture.md#answers-of-apis: what it has saved up meanwhile does not count."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    budget = RequestBudget(600, clock=lambda: now[0], sleep=sleep)
    now[0] = 1_000.0
    budget.exhaust()
    budget.wait()
    assert now[0] - 1_000 >= BURST_SECONDS


def test_the_proof_lists_the_location_of_its_cluster_or_membership(stub: Stub) -> None:
    stub.give(sends({}))
    gke(stub).in_list(BLUE.name)
    fleet(stub).in_list(BLUE_MEMBER.name)
    assert [urlsplit(seen.path).path for seen in stub.seen] == [
        "/v1/projects/demo-apps/locations/europe-west1/clusters",
        "/v1/projects/demo-fleet/locations/europe-west1/memberships",
    ]
    assert [urlsplit(seen.path).query for seen in stub.seen] == ["", ""]


def test_a_cluster_in_deletion_is_in_its_list(stub: Stub) -> None:
    stub.give(sends({"clusters": [{**CLUSTER, "status": "STOPPING"}]}))
    assert gke(stub).in_list(BLUE.name)


def test_a_partial_answer_still_says_what_it_leaves_out(stub: Stub) -> None:
    """Otherwise an incomplete list would look complete."""
    stub.give(sends({"nextPageToken": "2"}), sends({}))
    fleet(stub).list("demo-fleet")
    first, second = (parse_qs(urlsplit(seen.path).query) for seen in stub.seen)
    assert second == first | {"pageToken": ["2"]}
    assert int(first["pageSize"][0]) > 0
    assert {"unreachable", "nextPageToken"} <= set(first["fields"][0].split(","))
    stub.give(sends({}))
    gke(stub).list("demo-apps")
    [query] = (parse_qs(urlsplit(seen.path).query) for seen in stub.seen)
    assert "missingZones" in query["fields"][0].split(",")


@pytest.mark.parametrize("status", [201, 202, 206, 299])
def test_only_a_200_is_an_answer_of_a_google_api(stub: Stub, status: int) -> None:
    stub.give(sends(CLUSTER, status))
    with pytest.raises(RetryableError):
        gke(stub).cluster(BLUE.name)


@pytest.mark.parametrize(("code", "kind"), [(6, ConflictError), (13, RetryableError)])
def test_an_operations_own_error_is_no_taken_id(stub: Stub, code: int, kind: type[Exception]) -> None:
    """That the *cluster* is registered already comes after a 200."""
    stub.give(sends({**DONE, "error": {"code": code, "message": "no"}}))
    with pytest.raises(kind) as raised:
        fleet(stub).create(BLUE_MEMBER.name, BLUE)
    assert not isinstance(raised.value, TakenError)


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [(404, "NOT_FOUND", ErrorCode.NOT_FOUND), (503, "UNAVAILABLE", ErrorCode.UNAVAILABLE)],
)
def test_a_refused_registration_is_sent_once(stub: Stub, status: int, reason: str, code: ErrorCode) -> None:
    """Redelivery is what retries."""
    stub.give(refusal(status, reason))
    with pytest.raises(RetryableError) as raised:
        fleet(stub).create(BLUE_MEMBER.name, BLUE)
    assert (raised.value.code, len(stub.seen)) == (code, 1)
    assert not isinstance(raised.value, TakenError)


def test_an_operation_that_does_not_end_is_retried_in_time(stub: Stub) -> None:
    stub.give(sends({**DONE, "done": False}))
    with deadline.within(0.5), pytest.raises(RetryableError) as raised:
        fleet(stub).create(BLUE_MEMBER.name, BLUE)
    assert raised.value.code is ErrorCode.TIMED_OUT


def test_a_poll_after_the_time_of_a_step_has_timed_out(stub: Stub) -> None:
    """The client wraps our error in one of the connection."""
    session = authorized_session(Identity())
    with deadline.within(0), pytest.raises(RetryableError) as raised, answers.translated("polling"):
        session.get(stub.url, timeout=60)
    assert raised.value.code is ErrorCode.TIMED_OUT
