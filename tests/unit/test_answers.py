"""What is read of an answer of the GKE and the fleet API: the right values, or a fault, and never a guess or a traceback."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from shared.clients.fleet import Fleet
from shared.clients.gke import Gke
from shared.values.errors import PermanentError, RetryableError
from shared.values.names import ClusterName, MembershipName

NUMBERS = {"1": "my-fleet"}
EDGE = MembershipName("my-fleet", "global", "edge")
MEMBER = {"name": str(EDGE), "uniqueId": "u", "state": {"code": "READY"}}
BLUE = ClusterName("team-a", "europe-west1", "blue")
CLUSTER = {"name": "blue", "location": "europe-west1", "id": "4711", "status": "RUNNING"}
NOTHING: Any = object()


def session(*answers: Any, status: int = 200) -> Any:
    """A session that gives one answer after the other; NOTHING is a body that is no JSON."""
    left = list(answers)

    def get(_url: str, **_more: Any) -> Any:
        answer = left.pop(0)

        def json() -> Any:
            if answer is NOTHING:
                raise ValueError("no JSON")
            return answer

        return SimpleNamespace(status_code=status, json=json)

    return SimpleNamespace(get=get)


def fleet(*answers: Any, **more: Any) -> Fleet:
    return Fleet(session(*answers, **more), "", NUMBERS)


def gke(*answers: Any, **more: Any) -> Gke:
    return Gke(session(*answers, **more), "", NUMBERS)


@pytest.mark.parametrize("key", ["resources", "unreachable"])
@pytest.mark.parametrize("odd", [{}, {"a": 1}, 0, 1, "", "x", False, True, [1], [None], [[]]])
def test_what_is_no_list_of_memberships_is_no_empty_list(key: str, odd: Any) -> None:
    for read in (lambda: fleet({key: odd}).in_list(EDGE), lambda: fleet({key: odd}).list("my-fleet")):
        with pytest.raises(RetryableError, match=f"{key} is no list"):
            read()


@pytest.mark.parametrize("key", ["clusters", "missingZones"])
@pytest.mark.parametrize("odd", [{}, 0, "", "x", False, [1], [None]])
def test_what_is_no_list_of_clusters_is_no_empty_list(key: str, odd: Any) -> None:
    for read in (lambda: gke({key: odd}).in_list(BLUE), lambda: gke({key: odd}).list("team-a")):
        with pytest.raises(RetryableError, match=f"{key} is no list"):
            read()


@pytest.mark.parametrize("answer", [NOTHING, None, [], "x", 1])
@pytest.mark.parametrize("status", [200, 202, 204, 304])
def test_what_is_no_object_is_no_answer(answer: Any, status: int) -> None:
    for read in (
        lambda: fleet(answer, status=status).in_list(EDGE),
        lambda: fleet(answer, status=status).membership(EDGE),
        lambda: gke(answer, status=status).in_list(BLUE),
        lambda: gke(answer, status=status).cluster(BLUE),
    ):
        with pytest.raises(RetryableError):
            read()


def test_an_empty_object_is_an_empty_list() -> None:
    assert not fleet({}).in_list(EDGE)
    assert not gke({}).in_list(BLUE)
    assert fleet({}).list("my-fleet") == ([], frozenset())


@pytest.mark.parametrize(
    "odd",
    [
        {"name": "x"},
        {"name": None},
        {"name": "projects/99/locations/global/memberships/edge"},
        {"labels": "x"},
        {"labels": ["a"]},
        {"labels": {"a": None}},
        {"labels": {"a": 1}},
        {"endpoint": "x"},
        {"endpoint": {"gkeCluster": "x"}},
        {"endpoint": {"gkeCluster": {"resourceLink": "//else/projects/p"}}},
        {"endpoint": {"gkeCluster": {"resourceLink": 1}}},
        {"state": "READY"},
        {"lastConnectionTime": "yesterday"},
        {"lastConnectionTime": "2026-11-24T09:00:00"},
        {"lastConnectionTime": 20261124},
    ],
)
def test_a_membership_that_cannot_be_read_is_a_fault_and_in_a_list_makes_its_location_incomplete(odd: Any) -> None:
    with pytest.raises(RetryableError):
        fleet(MEMBER | odd).membership(EDGE)
    other = {"name": "projects/1/locations/us-east1/memberships/other", "uniqueId": "o"}
    if str(odd.get("name")).count("/") or "name" not in odd:
        found, left_out = fleet({"resources": [MEMBER | odd, other]}).list("my-fleet")
        assert [one.name.membership for one in found] == ["other"]
        assert left_out == {"global"}
    else:
        with pytest.raises(RetryableError):
            fleet({"resources": [MEMBER | odd, other]}).list("my-fleet")


@pytest.mark.parametrize(
    "odd",
    [
        {"id": None},
        {"status": ""},
        {"fleet": "x"},
        {"fleet": []},
        {"autopilot": "x"},
        {"resourceLabels": "x"},
        {"resourceLabels": {"a": 1}},
    ],
)
def test_a_cluster_that_cannot_be_read_is_a_fault(odd: Any) -> None:
    with pytest.raises(RetryableError):
        gke(CLUSTER | odd).cluster(BLUE)
    with pytest.raises(RetryableError):
        gke({"clusters": [CLUSTER | odd]}).list("team-a")


def test_what_is_left_out_is_empty_and_what_is_unknown_is_kept() -> None:
    found = fleet({"name": str(EDGE)}).membership(EDGE)
    assert found is not None
    assert (found.unique_id, found.state, found.labels, found.cluster, found.last_connection) == (
        "",
        "UNKNOWN",
        {},
        None,
        None,
    )
    told = fleet(MEMBER | {"state": {"code": "BRAND_NEW"}, "lastConnectionTime": "2026-11-24T09:00:00.123456789Z"})
    membership = told.membership(EDGE)
    assert membership is not None
    assert (membership.state, membership.is_usable) == ("BRAND_NEW", False)
    assert membership.last_connection == datetime(2026, 11, 24, 9, 0, 0, 123456, tzinfo=UTC)


def test_a_membership_without_an_id_is_not_taken_for_the_same() -> None:
    nameless, named = fleet({"name": str(EDGE)}, MEMBER), fleet(MEMBER)
    unknown, known = nameless.membership(EDGE), named.membership(EDGE)
    assert unknown is not None
    assert known is not None
    assert not unknown.is_still(unknown)
    assert not known.is_still(unknown)
    assert not known.is_still(None)
    assert known.is_still(known)


def test_pages_are_read_to_the_end_and_a_gap_in_any_of_them_counts() -> None:
    first = {"resources": [MEMBER], "nextPageToken": "a/b+c"}
    assert fleet(first, {"resources": []}).in_list(EDGE)
    assert fleet(first, {"unreachable": ["projects/1/locations/us-east1"]}).list("my-fleet")[1] == {"us-east1"}
    never = MembershipName("my-fleet", "global", "never")
    with pytest.raises(RetryableError, match="is not known"):
        fleet(first, {"unreachable": ["us-east1"]}).in_list(never)


@pytest.mark.parametrize(
    ("status", "told", "fault"),
    [
        (400, "INVALID_ARGUMENT", PermanentError),
        (400, "FAILED_PRECONDITION", RetryableError),
        (401, "UNAUTHENTICATED", RetryableError),
        (403, "PERMISSION_DENIED", RetryableError),
        (429, "RESOURCE_EXHAUSTED", RetryableError),
        (500, "INTERNAL", RetryableError),
    ],
)
def test_a_refusal_is_told_with_its_code_and_of_the_right_kind(status: int, told: str, fault: type[Exception]) -> None:
    body = {"error": {"code": status, "status": told, "message": "no"}}
    for read in (
        lambda: fleet(body, status=status).membership(EDGE),
        lambda: fleet(body, status=status).in_list(EDGE),
        lambda: gke(body, status=status).cluster(BLUE),
    ):
        with pytest.raises(fault, match=f"{status} {told} no"):
            read()


@pytest.mark.parametrize("odd", [None, [], "x", {"error": "x"}, {"error": None}, NOTHING])
def test_a_refusal_whose_body_is_odd_is_a_refusal(odd: Any) -> None:
    with pytest.raises(RetryableError, match="503"):
        fleet(odd, status=503).membership(EDGE)


def test_a_404_is_none_where_one_thing_is_asked_for_and_a_fault_for_a_list() -> None:
    assert fleet({}, status=404).membership(EDGE) is None
    assert gke(NOTHING, status=404).cluster(BLUE) is None
    with pytest.raises(RetryableError, match="404"):
        fleet({}, status=404).in_list(EDGE)
