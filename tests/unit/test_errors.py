"""Which refusals are permanent (docs/architecture.md#errors)."""

from __future__ import annotations

import pytest

from shared.values.codes import ErrorCode
from shared.values.errors import (
    ConflictError,
    PermanentError,
    ReconcileError,
    RefusedError,
    RetryableError,
    TakenError,
    fault,
)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, ""),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (408, ""),
        (409, "ALREADY_EXISTS"),
        (409, "ABORTED"),
        (412, ""),
        (429, "RESOURCE_EXHAUSTED"),
        (499, "CANCELLED"),
        (400, "FAILED_PRECONDITION"),
        (400, "OUT_OF_RANGE"),
        (400, ""),
        (418, ""),
        (500, "INTERNAL"),
        (501, "UNIMPLEMENTED"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
        (302, ""),
    ],
)
def test_what_is_not_known_to_be_permanent_is_retryable(code: int, status: str) -> None:
    error = fault(code, status, "m", "reading x")
    assert type(error) is (ConflictError if code == 409 else RetryableError)
    assert (error.status, error.reason) == (code, status)


@pytest.mark.parametrize(
    ("code", "status", "by_cluster"), [(400, "INVALID_ARGUMENT", False), (422, "", True), (422, "Invalid", True)]
)
def test_what_can_never_go_well_is_permanent(code: int, status: str, by_cluster: bool) -> None:
    assert type(fault(code, status, "m", "reading x", by_cluster=by_cluster)) is PermanentError
    assert type(fault(code, status, "m", "reading x", by_cluster=not by_cluster)) is RetryableError


@pytest.mark.parametrize("kind", [TakenError, ConflictError, RefusedError])
def test_what_a_step_may_ask_about_is_retryable_when_it_does_not(kind: type[ReconcileError]) -> None:
    assert issubclass(kind, RetryableError)
    assert not issubclass(kind, PermanentError)


def test_a_fault_says_what_was_tried_and_is_short_enough_for_an_attribute() -> None:
    assert str(fault(503, "UNAVAILABLE", "later", "reading x")) == "reading x: 503 UNAVAILABLE later"
    assert str(fault(0, "", "", "reading x")) == "reading x: no answer"
    assert len(str(fault(500, "", "x" * 5000, "reading x"))) == 900


@pytest.mark.parametrize("code", [0, 401, 403, 404, 409, 412, 429, 500, 503])
def test_an_argument_is_invalid_for_good_in_a_400_only(code: int) -> None:
    assert not isinstance(fault(code, "INVALID_ARGUMENT", "", "x"), PermanentError)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (0, ErrorCode.NO_ANSWER),
        (302, ErrorCode.API_ERROR),
        (499, ErrorCode.API_ERROR),
        (500, ErrorCode.UNAVAILABLE),
        (503, ErrorCode.UNAVAILABLE),
    ],
)
def test_a_refusal_of_500_and_more_is_unavailable(status: int, code: ErrorCode) -> None:
    error = fault(status, "", "", "x")
    assert (error.code, error.status) == (code, status)
