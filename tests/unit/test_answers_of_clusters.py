"""What counts as an answer of a Kubernetes API through the gateway, of the fleet's client and of Pub/Sub: by its content."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from shared.clients.answers import MAX_DEPTH, MAX_VALUES
from shared.clients.argocd_secrets import Central
from shared.clients.fleet import Fleet
from shared.clients.gateway import Gateway
from shared.clients.publisher import Bus
from shared.clients.transport import authorized_session
from shared.decisions import rbac
from shared.values.codes import ErrorCode
from shared.values.errors import ConflictError, PermanentError, ReconcileError, RefusedError, RetryableError
from tests.unit.given import BLUE, BLUE_MEMBER, NUMBERS, SETTINGS, created, secret
from tests.unit.stub import Identity, Stub, sends, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("without_collection")

NAME = "fleet-registrar:argocd@demo-fleet.iam.gserviceaccount.com"
METADATA = {"name": NAME, "uid": "u", "resourceVersion": "1"}
BINDING = {"kind": "ClusterRoleBinding", "metadata": METADATA}
REVIEW = rbac.reviews(SETTINGS, None, attached=False)[0]
VERSION = {"uid": "u", "resourceVersion": "1"}
STATUS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}

# Each is sent with status 200 unless a case has another.
ODD: dict[str, Any] = {
    "nothing": sends(b""),
    "a web page": sends(b"<html>Sign in</html>", Content_Type="text/html"),
    "a list": sends([]),
    "a text": sends("x"),
    "null": sends(None),
    "a failure": sends({**STATUS, "code": 500, "message": "etcd"}),
    "an error": sends({"error": {"code": 500, "status": "INTERNAL", "message": "no"}}),
    "another kind": sends({"kind": "Pod", "metadata": METADATA}),
    "a list of another kind": sends({"kind": "PodList", "items": []}),
    "cut off": sends(b'{"kind": "SecretList", "items": [', Content_Length="1000", Connection="close"),
    "cut off without a length": sends(b'{"kind": "SecretList", "items": ['),
    "lists nested deep": sends(b"[" * 200_000),
    "objects nested deep": sends(b'{"a":' * 200_000),
    "not UTF-8": sends(b'\xff\xfe{"a":1}'),
    "204": sends(b"", 204),
    "202 without a body": sends(b"", 202),
}
EMPTY: dict[str, Any] = {"an empty object": sends({}), "items that are null": sends({"items": None})}


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with serving() as running:
        yield running


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(Identity())


def central(stub: Stub) -> Central:
    return Central(Gateway(Identity()), stub.url, SETTINGS)


def fleet(stub: Stub) -> Fleet:
    return Fleet(authorized_session(Identity()), stub.url, NUMBERS)


KUBERNETES: dict[str, Callable[[Stub], Any]] = {
    "get": lambda stub: Gateway(Identity()).get(stub.url, rbac.BINDINGS, NAME),
    "list": lambda stub: list(Gateway(Identity()).list(stub.url, rbac.BINDINGS, "a=b")),
    "create": lambda stub: Gateway(Identity()).create(
        stub.url, rbac.BINDINGS, rbac.objects(SETTINGS, attached=False)[0]
    ),
    "patch": lambda stub: Gateway(Identity()).patch(stub.url, rbac.BINDINGS, NAME, {"metadata": VERSION}),
    "delete": lambda stub: Gateway(Identity()).delete(stub.url, rbac.BINDINGS, NAME, VERSION),
    "review": lambda stub: Gateway(Identity()).create(stub.url, rbac.REVIEWS, REVIEW),
    "secret_of": lambda stub: central(stub).secret_of(BLUE.name),
    "managed": lambda stub: [*central(stub).managed()],
    "foreign": lambda stub: central(stub).unmanaged(),
    "secret_named": lambda stub: central(stub).secret_named("blue"),
    "create a Secret": lambda stub: central(stub).create(created()),
    "patch a Secret": lambda stub: central(stub).patch(secret(), {"metadata": VERSION}),
    "delete a Secret": lambda stub: central(stub).delete(secret()),
}
FLEET: dict[str, Callable[[Stub], Any]] = {
    "register": lambda stub: fleet(stub).create(BLUE_MEMBER.name, BLUE),
    "unregister": lambda stub: fleet(stub).delete(BLUE_MEMBER.name),
}


@pytest.mark.parametrize("call", KUBERNETES)
@pytest.mark.parametrize("odd", ODD | EMPTY)
def test_a_200_that_is_no_answer_is_retried(stub: Stub, odd: str, call: str) -> None:
    stub.give((ODD | EMPTY)[odd])
    with pytest.raises(RetryableError) as raised:
        KUBERNETES[call](stub)
    assert raised.value.code in (ErrorCode.UNUSABLE_ANSWER, ErrorCode.NO_ANSWER)


@pytest.mark.parametrize("call", FLEET)
@pytest.mark.parametrize("odd", ODD | EMPTY)
def test_an_invalid_operation_is_retried(stub: Stub, odd: str, call: str) -> None:
    stub.give((ODD | EMPTY)[odd])
    with pytest.raises(RetryableError):
        FLEET[call](stub)


@pytest.mark.parametrize("call", FLEET)
@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 500, 503])
@pytest.mark.parametrize("odd", [{"error": None}, {"error": []}, {"error": "invalid_grant"}, [], None, b"<html>", b""])
def test_a_refusal_that_the_official_client_cannot_read_is_retried(
    stub: Stub, call: str, status: int, odd: Any
) -> None:
    stub.give(sends(odd, status))
    with pytest.raises(RetryableError):
        FLEET[call](stub)


@pytest.mark.parametrize(
    "item",
    [
        None,
        "x",
        {},
        {"metadata": None},
        {"metadata": METADATA | {"name": ""}},
        {"metadata": METADATA | {"uid": None}},
        {"metadata": METADATA | {"resourceVersion": 1}},
        {"metadata": METADATA | {"labels": []}},
        {"metadata": METADATA | {"annotations": {"a": 1}}},
    ],
)
def test_a_list_with_an_item_that_is_no_object_is_no_list(stub: Stub, item: Any) -> None:
    stub.give(sends({"kind": "SecretList", "items": [item]}))
    with pytest.raises(RetryableError) as raised:
        list(central(stub).managed())
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


def test_an_empty_list_is_a_list_and_an_object_that_object(stub: Stub, gateway: Gateway) -> None:
    stub.give(sends({"kind": "SecretList", "items": []}))
    assert (central(stub).secret_of(BLUE.name), [*central(stub).managed()]) == (None, [])
    stub.give(sends(BINDING))
    assert gateway.get(stub.url, rbac.BINDINGS, NAME) == BINDING
    stub.give(sends(BINDING), sends({"kind": "Status", "status": "Success"}), sends(BINDING | {"metadata": METADATA}))
    assert gateway.patch(stub.url, rbac.BINDINGS, NAME, {"metadata": VERSION}) == BINDING
    assert [gateway.delete(stub.url, rbac.BINDINGS, NAME, VERSION) for _ in range(2)] == [True, True]


def test_another_object_than_the_one_that_was_asked_for_is_no_answer(stub: Stub, gateway: Gateway) -> None:
    stub.give(sends({"kind": "ClusterRoleBinding", "metadata": METADATA | {"name": "other"}}))
    for call in ("get", "create", "patch", "delete"):
        with pytest.raises(RetryableError) as raised:
            KUBERNETES[call](stub)
        assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


def test_an_object_that_finalizers_keep_is_not_deleted(stub: Stub, gateway: Gateway) -> None:
    kept = METADATA | {"deletionTimestamp": "2026-11-24T12:00:00Z", "finalizers": ["example.com/hold"]}
    stub.give(sends(BINDING | {"metadata": kept}))
    with pytest.raises(RetryableError, match=r"example\.com/hold") as raised:
        gateway.delete(stub.url, rbac.BINDINGS, NAME, VERSION)
    assert raised.value.code is ErrorCode.KEPT_BY_FINALIZERS


def test_a_too_deeply_nested_answer_is_no_answer(stub: Stub, gateway: Gateway) -> None:
    deep: Any = "x"
    for _ in range(MAX_DEPTH):
        deep = [deep]
    stub.give(sends(BINDING | {"subjects": deep}))
    with pytest.raises(RetryableError) as raised:
        gateway.get(stub.url, rbac.BINDINGS, NAME)
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


def test_a_too_deeply_nested_list_or_deletion_is_no_answer(stub: Stub, gateway: Gateway) -> None:
    deep: Any = "x"
    for _ in range(MAX_DEPTH):
        deep = [deep]
    item = {key: value for key, value in BINDING.items() if key != "kind"} | {"spec": deep}
    stub.give(sends({"kind": "ClusterRoleBindingList", "items": [item]}), sends(BINDING | {"spec": deep}))
    with pytest.raises(RetryableError) as listed:
        list(gateway.list(stub.url, rbac.BINDINGS, ""))
    with pytest.raises(RetryableError) as deleted:
        gateway.delete(stub.url, rbac.BINDINGS, NAME, VERSION)
    assert [listed.value.code, deleted.value.code] == [ErrorCode.UNUSABLE_ANSWER] * 2


@pytest.mark.parametrize(
    "odd",
    [
        {"roleRef": "cluster-admin"},
        {"subjects": {}},
        {"subjects": ["x"]},
        {"rules": [[]]},
        {"rules": [{"verbs": "get"}]},
        {"rules": [{"resources": {}}]},
        {"rules": [{"verbs": [1]}]},
    ],
)
def test_an_object_with_a_field_of_another_type_is_no_answer(stub: Stub, gateway: Gateway, odd: dict[str, Any]) -> None:
    stub.give(sends(BINDING | odd))
    with pytest.raises(RetryableError) as raised:
        gateway.get(stub.url, rbac.BINDINGS, NAME)
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


@pytest.mark.parametrize("status", [None, "allowed", [], True, {}, {"allowed": "yes"}])
def test_an_access_review_without_a_verdict_is_no_answer(stub: Stub, gateway: Gateway, status: Any) -> None:
    stub.give(sends({"kind": "SubjectAccessReview", "status": status}))
    with pytest.raises(RetryableError) as raised:
        gateway.create(stub.url, rbac.REVIEWS, REVIEW)
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


def test_an_answer_with_too_many_values_is_no_answer(stub: Stub, gateway: Gateway) -> None:
    stub.give(sends(b'{"kind": "SecretList", "items": [' + b"[]," * MAX_VALUES + b"[]]}"))
    with pytest.raises(RetryableError) as raised:
        list(gateway.list(stub.url, "api/v1/namespaces/argocd/secrets", "a=b"))
    assert str(MAX_VALUES) in str(raised.value)
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


@pytest.mark.parametrize("continues", [["again"], ["a", "b", "a"]])
def test_pages_that_do_not_end_are_no_list(stub: Stub, gateway: Gateway, continues: list[str]) -> None:
    stub.give(*(sends({"kind": "SecretList", "items": [], "metadata": {"continue": each}}) for each in continues))
    with pytest.raises(RetryableError) as raised:
        list(gateway.list(stub.url, "api/v1/namespaces/argocd/secrets", "a=b"))
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER
    assert len(stub.seen) <= len(continues) + 1


REFUSALS: list[tuple[int, bytes, type[ReconcileError], ErrorCode]] = [
    (302, b"", RetryableError, ErrorCode.API_ERROR),
    (400, b'{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}', PermanentError, ErrorCode.INVALID_REQUEST),
    (400, b'{"error": {"code": 400, "status": "FAILED_PRECONDITION"}}', RetryableError, ErrorCode.INVALID_REQUEST),
    (400, json.dumps(STATUS | {"reason": "INVALID_ARGUMENT"}).encode(), RetryableError, ErrorCode.INVALID_REQUEST),
    (403, b'{"error": {"code": 403, "status": "PERMISSION_DENIED"}}', RetryableError, ErrorCode.DENIED),
    (403, json.dumps(STATUS | {"reason": "Forbidden"}).encode(), RefusedError, ErrorCode.CLUSTER_DENIED),
    (404, b'{"error": {"code": 404, "status": "NOT_FOUND"}}', RetryableError, ErrorCode.UNREACHABLE),
    (404, b"<!DOCTYPE html>", RetryableError, ErrorCode.UNREACHABLE),
    (404, b'{"message":"generic::not_found: membership not found","code":5}', RetryableError, ErrorCode.UNREACHABLE),
    (404, json.dumps(STATUS | {"reason": "NotFound"}).encode(), RetryableError, ErrorCode.NOT_FOUND),
    (409, json.dumps(STATUS | {"reason": "Conflict"}).encode(), ConflictError, ErrorCode.CONFLICT),
    (422, json.dumps(STATUS | {"reason": "Invalid"}).encode(), PermanentError, ErrorCode.INVALID_REQUEST),
    (422, b"<html>blocked by policy</html>", RetryableError, ErrorCode.INVALID_REQUEST),
    (429, b'{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}', RetryableError, ErrorCode.RATE_LIMITED),
    (429, json.dumps(STATUS | {"reason": "TooManyRequests"}).encode(), RetryableError, ErrorCode.RATE_LIMITED),
    (503, b'{"error": {"code": 503, "status": "UNAVAILABLE"}}', RetryableError, ErrorCode.UNAVAILABLE),
    (503, b"[" * 100_000, RetryableError, ErrorCode.UNAVAILABLE),
]


@pytest.mark.parametrize("call", [call for call in KUBERNETES if " " not in call])
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal[0]}-{refusal[3]}")
def test_a_refusal_becomes_the_same_error_by_every_verb(
    stub: Stub, call: str, refusal: tuple[int, bytes, type[ReconcileError], ErrorCode]
) -> None:
    status, raw, kind, code = refusal
    stub.give(sends(raw, status))
    with pytest.raises(ReconcileError) as raised:
        KUBERNETES[call](stub)
    assert (type(raised.value), raised.value.code, raised.value.status) == (kind, code, status)


def test_an_object_is_missing_when_the_cluster_names_it(stub: Stub, gateway: Gateway) -> None:
    stub.give(sends(STATUS | {"reason": "NotFound", "code": 404, "details": {"name": NAME}}, 404))
    assert gateway.get(stub.url, rbac.BINDINGS, NAME) is None
    assert not gateway.delete(stub.url, rbac.BINDINGS, NAME, VERSION)
    with pytest.raises(RetryableError):
        gateway.get(stub.url, rbac.BINDINGS, "another")


class Publishing:
    """A gRPC server that answers a publish with bytes, or with a refusal."""

    def __init__(self, answer: bytes | grpc.StatusCode | None) -> None:
        def publish(_: bytes, context: Any) -> bytes:
            if answer is None:
                context.abort(grpc.StatusCode.UNAVAILABLE, "later")
            if isinstance(answer, grpc.StatusCode):
                context.abort(answer, "no")
            return answer  # type: ignore[return-value]

        handler = grpc.unary_unary_rpc_method_handler(publish)
        self.server = grpc.server(ThreadPoolExecutor(1))
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", {"Publish": handler}),)
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def publish(self) -> None:
        try:
            Bus(None, "demo-fleet", f"127.0.0.1:{self.port}").publish("sweep", b"{}", {})
        finally:
            self.server.stop(None)


@pytest.mark.parametrize("answer", [b"", b"\x0a\x00", b"\xff\xff\xff"])
def test_a_publish_that_names_no_message_is_not_done(answer: bytes) -> None:
    with pytest.raises(RetryableError):
        Publishing(answer).publish()


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, PermanentError, ErrorCode.INVALID_REQUEST),
        (grpc.StatusCode.FAILED_PRECONDITION, RetryableError, ErrorCode.INVALID_REQUEST),
        (grpc.StatusCode.PERMISSION_DENIED, RetryableError, ErrorCode.DENIED),
        (grpc.StatusCode.NOT_FOUND, RetryableError, ErrorCode.NOT_FOUND),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, RetryableError, ErrorCode.RATE_LIMITED),
        (grpc.StatusCode.UNAVAILABLE, RetryableError, ErrorCode.UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, RetryableError, ErrorCode.UNAVAILABLE),
    ],
)
def test_a_refused_publish_has_the_codes_of_every_refusal(
    status: grpc.StatusCode, kind: type[ReconcileError], code: ErrorCode
) -> None:
    with pytest.raises(ReconcileError) as raised:
        Publishing(status).publish()
    assert (type(raised.value), raised.value.code) == (kind, code)


def test_a_publish_that_names_its_message_is_done() -> None:
    Publishing(b"\x0a\x017").publish()
