"""What the clients send and conclude: pages, quotas, registrations, proofs, and the order of a sweep's reads."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.clients import deadline, gateway, http
from shared.clients.argocd_secrets import Central
from shared.clients.fleet import Fleet
from shared.clients.gateway import Gateway
from shared.clients.gke import Gke
from shared.clients.grant_signer import MAX_TOKEN_LENGTH, GrantSigner
from shared.clients.request_budget import RequestBudget
from shared.clients.transport import authorized_session
from shared.decisions import rbac
from shared.values.cluster_secret import INSTANCE
from shared.values.codes import ErrorCode
from shared.values.errors import PermanentError, RetryableError, TakenError
from shared.values.names import ClusterName
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NUMBERS, SETTINGS, created
from tests.unit.stub import Identity, Stub, sends, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.values.errors import ReconcileError

METADATA = {"name": "x", "uid": "u", "resourceVersion": "1"}
BINDING = {"kind": "ClusterRoleBinding", "metadata": METADATA}
CLUSTER = {"name": "blue", "location": "europe-west1", "id": "4711", "status": "RUNNING"}
SECRETS = "api/v1/namespaces/argocd/secrets"


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with serving() as running:
        yield running


def gke(stub: Stub) -> Gke:
    return Gke(authorized_session(Identity()), stub.url, NUMBERS)


def fleet(stub: Stub, slash: str = "") -> Fleet:
    return Fleet(authorized_session(Identity()), stub.url + slash, NUMBERS)


def refusal(status: int, reason: str) -> Any:
    return sends({"error": {"code": status, "status": reason, "message": "no"}}, status)


def queries(stub: Stub) -> list[dict[str, str]]:
    return [{key: text for key, [text] in parse_qs(urlsplit(seen.path).query).items()} for seen in stub.seen]


# Kubernetes through the gateway.


def page(*names: str, following: str = "") -> Any:
    items = [{"metadata": {**METADATA, "name": name}} for name in names]
    return sends({"kind": "ClusterRoleBindingList", "metadata": {"continue": following}, "items": items})


def test_each_page_of_a_list_is_asked_for_by_the_token_of_the_last(stub: Stub) -> None:
    stub.give(page("a", following="t/1"), page("b", following="t/2"), page("c"))
    found = Gateway(Identity()).list(stub.url, rbac.BINDINGS, "k=v")
    assert [item["metadata"]["name"] for item in found] == ["a", "b", "c"]
    each = {"labelSelector": "k=v", "limit": str(gateway.PAGE)}
    assert queries(stub) == [each, each | {"continue": "t/1"}, each | {"continue": "t/2"}]


def test_a_list_of_the_most_pages_ends(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "MAX_PAGES", 3)
    stub.give(page("a", following="1"), page("b", following="2"), page("c"))
    assert len(list(Gateway(Identity()).list(stub.url, rbac.BINDINGS, ""))) == 3
    stub.give(page("a", following="1"), page("b", following="2"), page("c", following="3"), page("d"))
    with pytest.raises(RetryableError) as raised:
        list(Gateway(Identity()).list(stub.url, rbac.BINDINGS, ""))
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


def test_a_page_without_end_is_asked_for_once(stub: Stub) -> None:
    stub.give(page("a", following="again"))
    with pytest.raises(RetryableError):
        list(Gateway(Identity()).list(stub.url, rbac.BINDINGS, ""))
    assert len(stub.seen) == 2


def test_a_list_is_a_read_that_a_deletion_may_follow(stub: Stub) -> None:
    stub.give(page())
    with deadline.within(60) as spent:
        list(Gateway(Identity()).list(stub.url, rbac.BINDINGS, ""))
        assert spent.last_read > 0


def test_every_request_to_the_gateway_is_counted_and_spends_the_budget(stub: Stub) -> None:
    budget = RequestBudget(60, clock=lambda: 0.0, sleep=lambda _: None)
    stub.give(sends(BINDING))
    with deadline.within(60) as spent:
        for _ in range(9):
            Gateway(Identity(), budget).get(stub.url, rbac.BINDINGS, "x")
        assert spent.gateway_requests == 9
        budget.wait()
        Gateway(Identity(), budget).get(stub.url, rbac.BINDINGS, "x")
    with deadline.within(0.5), pytest.raises(RetryableError) as raised:
        budget.wait()
    assert raised.value.code is ErrorCode.RATE_LIMITED


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (refusal(429, "RESOURCE_EXHAUSTED"), True),
        (sends({"kind": "Status", "reason": "TooManyRequests"}, 429), False),
        (refusal(503, "UNAVAILABLE"), False),
        (sends(BINDING), False),
    ],
)
def test_only_the_gateways_own_429_makes_the_next_steps_wait(stub: Stub, answer: Any, waits: bool) -> None:
    """A cluster's API server has a limit of its own, which says nothing of the fleet's quota."""
    budget = RequestBudget(600, clock=lambda: 0.0, sleep=lambda _: None)
    stub.give(answer)
    with contextlib.suppress(RetryableError):
        Gateway(Identity(), budget).get(stub.url, rbac.BINDINGS, "x")
    with deadline.within(0.5):
        if waits:
            with pytest.raises(RetryableError):
                budget.wait()
        else:
            budget.wait()


def test_without_a_budget_nothing_waits(stub: Stub) -> None:
    stub.give(refusal(429, "RESOURCE_EXHAUSTED"))
    clusters = Gateway(Identity())
    for _ in range(2):
        with pytest.raises(RetryableError) as raised:
            clusters.get(stub.url, rbac.BINDINGS, "x")
        assert raised.value.code is ErrorCode.RATE_LIMITED


def test_a_body_has_the_type_of_its_call_and_a_read_has_none(stub: Stub) -> None:
    stub.give(sends(BINDING))
    clusters = Gateway(Identity())
    clusters.get(stub.url, rbac.BINDINGS, "x")
    clusters.create(stub.url, rbac.BINDINGS, BINDING)
    clusters.patch(stub.url, rbac.BINDINGS, "x", {"metadata": METADATA})
    clusters.delete(stub.url, rbac.BINDINGS, "x", {"uid": "u", "resourceVersion": "1"})
    assert [(seen.method, seen.headers.get("content-type")) for seen in stub.seen[1:]] == [
        ("POST", "application/json"),
        ("PATCH", "application/merge-patch+json"),
        ("DELETE", "application/json"),
    ]


@pytest.mark.parametrize("size", [0, 1])
def test_an_object_of_the_most_bytes_is_read(stub: Stub, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    raw = json.dumps(BINDING).encode()
    monkeypatch.setattr(gateway, "OBJECT_BYTES", len(raw) - size)
    monkeypatch.setattr(Gateway._call, "__kwdefaults__", {"most": len(raw) - size})
    monkeypatch.setattr(Gateway._checked, "__defaults__", (len(raw) - size,))
    stub.give(sends(raw))
    if size:
        with pytest.raises(RetryableError) as raised:
            Gateway(Identity()).get(stub.url, rbac.BINDINGS, "x")
        assert raised.value.code is ErrorCode.UNUSABLE_ANSWER
    else:
        assert Gateway(Identity()).get(stub.url, rbac.BINDINGS, "x") == BINDING


@pytest.mark.parametrize("status", [200, 500])
def test_only_a_404_says_that_an_object_is_missing(stub: Stub, status: int) -> None:
    stub.give(sends({"kind": "Status", "status": "Failure", "details": {"name": "x"}}, status))
    with pytest.raises(RetryableError):
        Gateway(Identity()).get(stub.url, rbac.BINDINGS, "x")


@pytest.mark.parametrize("missing", ["uid", "resourceVersion", "name"])
def test_an_object_without_its_version_is_no_answer(stub: Stub, missing: str) -> None:
    """Every write needs the version that was read."""
    metadata = {key: text for key, text in METADATA.items() if key != missing}
    stub.give(sends({**BINDING, "metadata": metadata}))
    with pytest.raises(RetryableError) as raised:
        Gateway(Identity()).get(stub.url, rbac.BINDINGS, "x")
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


def test_an_access_review_needs_no_name(stub: Stub) -> None:
    stub.give(sends({"kind": "SubjectAccessReview", "status": {"allowed": True}}))
    review = rbac.reviews(SETTINGS, None, attached=False)[0]
    assert Gateway(Identity()).create(stub.url, rbac.REVIEWS, review)["status"]["allowed"]


def test_a_redirect_of_the_gateway_is_no_answer(stub: Stub) -> None:
    stub.give(sends(BINDING, 300))
    with pytest.raises(RetryableError) as raised:
        Gateway(Identity()).get(stub.url, rbac.BINDINGS, "x")
    assert raised.value.code is ErrorCode.API_ERROR


def listed(*manifests: dict[str, Any]) -> Any:
    items = [
        {**each, "metadata": {**each["metadata"], "uid": f"u{index}", "resourceVersion": "1"}}
        for index, each in enumerate(manifests)
    ]
    return sends({"kind": "SecretList", "items": items})


def labelled(**changes: str | None) -> dict[str, Any]:
    """Our Secret; labels are changed, or taken off."""
    manifest = created()
    labels = {**manifest["metadata"]["labels"], **{key: text for key, text in changes.items() if text is not None}}
    labels = {key: text for key, text in labels.items() if changes.get(key, "") is not None}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}


def test_only_a_writer_is_stopped_by_another_instances_secret(stub: Stub) -> None:
    """docs/configuration.md#several-registrars."""
    central = Central(Gateway(Identity()), stub.url, SETTINGS)
    theirs = labelled(**{INSTANCE: "blue-team"})
    stub.give(listed(theirs))
    assert central.secret_of(BLUE.name) is None
    with pytest.raises(PermanentError) as raised:
        central.secret_of(BLUE.name, claim=True)
    assert raised.value.code is ErrorCode.UNMANAGED_SECRET
    stub.give(listed(theirs, created()))
    assert central.secret_of(BLUE.name, claim=True) is not None
    stub.give(listed())
    assert central.secret_of(BLUE.name, claim=True) is None


def test_our_secret_without_the_instances_label_is_not_unmanaged(stub: Stub) -> None:
    central = Central(Gateway(Identity()), stub.url, SETTINGS)
    stub.give(listed(labelled(**{INSTANCE: None}), labelled(**{INSTANCE: "blue-team"})))
    assert [secret.labels.get(INSTANCE) for secret in central.unmanaged()] == ["blue-team"]


# GKE and the fleet.


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
    with pytest.raises(TakenError):
        fleet(stub, "/").create(BLUE_MEMBER.name, BLUE)
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
