"""What the clients send and conclude: pages, quotas, registrations, proofs, and the order of a sweep's reads."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.clients import deadline, gateway
from shared.clients.argocd_secrets import Central
from shared.clients.gateway import Gateway
from shared.clients.request_budget import RequestBudget
from shared.decisions import rbac
from shared.values.cluster_secret import INSTANCE
from shared.values.codes import ErrorCode
from shared.values.errors import PermanentError, RetryableError
from tests.unit.given import BLUE, SETTINGS, created
from tests.unit.google_clients import refusal
from tests.unit.stub import Identity, Stub, sends, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


METADATA = {"name": "x", "uid": "u", "resourceVersion": "1"}
BINDING = {"kind": "ClusterRoleBinding", "metadata": METADATA}
CLUSTER = {"name": "blue", "location": "europe-west1", "id": "4711", "status": "RUNNING"}
SECRETS = "api/v1/namespaces/argocd/secrets"


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with serving() as running:
        yield running


def queries(stub: Stub) -> list[dict[str, str]]:
    return [
        {key: text for key, [text] in parse_qs(urlsplit(seen.path).query, keep_blank_values=True).items()}
        for seen in stub.seen
    ]


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
    assert [(seen.method, seen.headers.get("content-type")) for seen in stub.seen] == [
        ("GET", None),
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


def test_the_two_lists_of_secrets_leave_none_out(stub: Stub) -> None:
    """One asks for our mark, the other for every other cluster Secret, whatever other labels a Secret has lost."""
    central = Central(Gateway(Identity()), stub.url, SETTINGS)
    stub.give(listed())
    list(central.managed()), central.unmanaged()
    mark = "app.kubernetes.io/managed-by"
    assert [query["labelSelector"] for query in queries(stub)] == [
        f"{mark}=fleet-registrar",
        f"argocd.argoproj.io/secret-type=cluster,{mark}!=fleet-registrar",
    ]


def test_applications_are_listed_where_their_kind_is_installed(stub: Stub) -> None:
    central = Central(Gateway(Identity()), stub.url, SETTINGS)
    status = {"kind": "Status", "status": "Failure"}
    stub.give(
        sends({**status, "reason": "NotFound", "message": "the server could not find the requested resource"}, 404)
    )
    assert central.applications() == []
    assert queries(stub)[0]["limit"] == str(gateway.APPLICATIONS_PAGE)
    stub.give(sends({**status, "reason": "Forbidden"}, 403))
    with pytest.raises(RetryableError):
        central.applications()


def test_every_change_has_its_precondition_on_the_wire(stub: Stub) -> None:
    stub.give(sends(BINDING))
    version = {"uid": "u", "resourceVersion": "1"}
    clusters = Gateway(Identity())
    clusters.patch(stub.url, rbac.BINDINGS, "x", {"metadata": version, "subjects": []})
    clusters.delete(stub.url, rbac.BINDINGS, "x", version)
    patch, deletion = (json.loads(seen.body) for seen in stub.seen)
    assert patch == {"metadata": version, "subjects": []}
    assert (deletion["kind"], deletion["preconditions"]) == ("DeleteOptions", version)


def test_a_name_is_one_part_of_its_path(stub: Stub) -> None:
    name = "system:a/b c?d"
    stub.give(sends({**BINDING, "metadata": {**METADATA, "name": name}}))
    clusters = Gateway(Identity())
    for call in (
        lambda: clusters.get(stub.url, rbac.BINDINGS, name),
        lambda: clusters.patch(stub.url, rbac.BINDINGS, name, {}),
        lambda: clusters.delete(stub.url, rbac.BINDINGS, name, {}),
    ):
        call()
    assert {seen.path.rpartition("/")[2] for seen in stub.seen} == {"system%3Aa%2Fb%20c%3Fd"}


def test_kind_that_is_not_served_is_not_a_lost_agent(stub: Stub) -> None:
    """An API server answers plain text for a group that it does not serve; the gateway answers for a lost agent in JSON."""
    central = Central(Gateway(Identity()), stub.url, SETTINGS)
    stub.give(sends(b"404 page not found\n", 404))
    assert central.applications() == []
    with pytest.raises(RetryableError) as raised:
        list(central.managed())
    assert raised.value.code is ErrorCode.UNREACHABLE
    stub.give(sends({"error": {"status": "NOT_FOUND", "message": "404 page not found"}}, 404))
    with pytest.raises(RetryableError) as raised:
        central.applications()
    assert raised.value.code is ErrorCode.UNREACHABLE
