"""The bounds of an answer, what each client's exception means, and a step's time (docs/architecture.md#answers-of-apis)."""

from __future__ import annotations

import json
import time
from typing import Any

import grpc
import pytest
import requests
import urllib3
from google.api_core.exceptions import Aborted, GoogleAPICallError, RetryError
from google.auth.exceptions import RefreshError
from google.protobuf.message import DecodeError
from kubernetes.client.exceptions import ApiException

from shared.clients import answers, deadline
from shared.clients.answers import MAX_DEPTH, Refusal
from shared.values.codes import ErrorCode
from shared.values.errors import ConflictError, PermanentError, ReconcileError, RetryableError


def code(raised: pytest.ExceptionInfo[Any]) -> ErrorCode:
    found: ErrorCode = raised.value.code
    return found


def test_a_body_of_the_most_bytes_and_values_is_an_answer() -> None:
    raw = json.dumps({"a": 1, "b": 2}).encode()
    assert answers.parsed(raw, len(raw), "x", raw.count(b",")) == {"a": 1, "b": 2}
    for most, values in ((len(raw) - 1, None), (len(raw), raw.count(b",") - 1)):
        with pytest.raises(RetryableError) as raised:
            answers.parsed(raw, most, "x", values)
        assert code(raised) is ErrorCode.UNUSABLE_ANSWER


def nested(depth: int, *, lists: bool) -> Any:
    """A body of so many levels, the outer object included."""
    inner: Any = "x"
    for _ in range(depth - 1):
        inner = [inner] if lists else {"a": inner}
    return {"a": inner}


@pytest.mark.parametrize("lists", [True, False])
def test_a_body_has_64_levels_at_most(lists: bool) -> None:
    answers.check_depth(nested(MAX_DEPTH, lists=lists), "x")
    with pytest.raises(RetryableError) as raised:
        answers.check_depth(nested(MAX_DEPTH + 1, lists=lists), "x")
    assert code(raised) is ErrorCode.UNUSABLE_ANSWER


def test_a_list_needs_one_of_its_keys() -> None:
    keys = frozenset({"items", "missing"})
    cases: list[dict[str, Any]] = [{}, {"items": []}, {"missing": [], "other": 1}]
    for fits in cases:
        answers.require_list_of(fits, keys, "x")
    with pytest.raises(RetryableError) as raised:
        answers.require_list_of({"other": 1}, keys, "x")
    assert code(raised) is ErrorCode.UNUSABLE_ANSWER


@pytest.mark.parametrize("odd", [None, 1, [], {}])
def test_a_refusal_with_odd_fields_is_read_as_far_as_it_goes(odd: Any) -> None:
    google = json.dumps({"error": {"status": odd, "message": odd}}).encode()
    cluster = json.dumps({"kind": "Status", "reason": odd, "message": odd, "details": {"name": odd}}).encode()
    assert Refusal.read(403, google) == Refusal(403, "", "")
    assert Refusal.read(403, cluster) == Refusal(403, "", "", by_cluster=True)


def class_of(package: str) -> type[Exception]:
    return type("OddError", (Exception,), {"__module__": package})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (requests.ConnectionError("x"), ErrorCode.NO_ANSWER),
        (requests.ReadTimeout("x"), ErrorCode.TIMED_OUT),
        (requests.ConnectTimeout("x"), ErrorCode.TIMED_OUT),
        (urllib3.exceptions.ProtocolError("x"), ErrorCode.NO_ANSWER),
        (urllib3.exceptions.ReadTimeoutError(None, "", "x"), ErrorCode.TIMED_OUT),  # type: ignore[arg-type]
        (OSError("x"), ErrorCode.NO_ANSWER),
        (TimeoutError("x"), ErrorCode.TIMED_OUT),
        (RetryError("x", cause=None), ErrorCode.TIMED_OUT),
        (RefreshError("x"), ErrorCode.NO_IDENTITY),
        (ApiException(status=0, reason="TLS"), ErrorCode.NO_ANSWER),
        (class_of("kubernetes.client.rest")("x"), ErrorCode.NO_ANSWER),
        (class_of("google.protobuf.json_format")("x"), ErrorCode.UNUSABLE_ANSWER),
        (DecodeError("x"), ErrorCode.UNUSABLE_ANSWER),
        (ValueError("x"), ErrorCode.UNUSABLE_ANSWER),
        (RecursionError("x"), ErrorCode.UNUSABLE_ANSWER),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_a_client_raises_is_retryable_with_its_code(error: Exception, expected: ErrorCode) -> None:
    with pytest.raises(RetryableError) as raised, answers.translated("x"):
        raise error
    assert (code(raised), raised.value.__cause__) == (expected, error)


@pytest.mark.parametrize("error", [ConflictError("x"), PermanentError("x")])
def test_an_error_of_this_project_stays_as_it_is(error: ReconcileError) -> None:
    with pytest.raises(ReconcileError) as raised, answers.translated("x"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("package", ["builtins", "google.cloud.x", "kubernetes_asyncio.x"])
def test_a_fault_of_the_program_is_no_fault_of_an_answer(package: str) -> None:
    with pytest.raises(Exception, match="a bug") as raised, answers.translated("x"):
        raise class_of(package)("a bug")
    assert not isinstance(raised.value, ReconcileError)


def test_a_refusal_of_an_official_client_has_its_status() -> None:
    with pytest.raises(ConflictError) as raised, answers.translated("x"):
        raise Aborted("x")
    assert (raised.value.status, raised.value.reason) == (409, "ABORTED")
    with pytest.raises(RetryableError) as unknown, answers.translated("x"):
        raise GoogleAPICallError("x")
    assert (code(unknown), unknown.value.status) == (ErrorCode.NO_ANSWER, 0)
    assert Aborted.grpc_status_code is grpc.StatusCode.ABORTED


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Both clocks of the process: a test sets the time."""
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_a_call_gets_the_rest_of_its_steps_time_and_none_after_it(clock: list[float]) -> None:
    assert deadline.remaining(20) == 20
    with deadline.within(30):
        assert deadline.remaining(20) == 20
        clock[0] += 25
        assert deadline.remaining(20) == 5
        with deadline.within(60):
            assert deadline.remaining(20) == 5
        with deadline.within(2):
            assert deadline.remaining(20) == 2
        for _ in range(2):
            clock[0] += 5
            with pytest.raises(TimeoutError):
                deadline.remaining(20)
    assert deadline.remaining(20) == 20


def test_a_destructive_call_follows_its_read_within_ten_seconds(clock: list[float]) -> None:
    deadline.require_fresh_read("x")
    with deadline.within(100):
        deadline.require_fresh_read("x")
        deadline.note_read()
        clock[0] += deadline.FRESH_SECONDS
        deadline.require_fresh_read("x")
        clock[0] += 0.1
        with pytest.raises(RetryableError) as raised:
            deadline.require_fresh_read("x")
        assert code(raised) is ErrorCode.STALE_READ
        deadline.note_read()
        deadline.require_fresh_read("x")


def test_requests_to_the_gateway_are_counted_within_a_step() -> None:
    deadline.note_gateway_request()
    assert deadline.gateway_requests() == 0
    with deadline.within(10) as spent:
        for _ in range(3):
            deadline.note_gateway_request()
        with deadline.within(5):
            deadline.note_gateway_request()
        assert (deadline.gateway_requests(), spent.gateway_requests) == (4, 4)
    assert deadline.gateway_requests() == 0
