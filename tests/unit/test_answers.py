"""What is read of an answer of the GKE and the fleet API: the right values, or a fault, and never a guess or a traceback."""

from __future__ import annotations

from datetime import UTC, datetime
from http.client import RemoteDisconnected
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client.exceptions import ApiException
from requests import RequestException
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError, ProtocolError

from shared.clients import answers
from shared.clients.fleet import Fleet
from shared.clients.gke import Gke
from shared.clients.transport import authorized_session
from shared.values.codes import ErrorCode
from shared.values.errors import PermanentError, RetryableError
from shared.values.inventory import Inventory, Listed
from shared.values.names import ClusterName, MembershipName
from tests.unit.stub import Identity, Stub, sends, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS = {"1": "my-fleet"}
EDGE = MembershipName("my-fleet", "global", "edge")
MEMBER = {"name": str(EDGE), "uniqueId": "u", "state": {"code": "READY"}}
OTHER = {"name": "projects/1/locations/us-east1/memberships/other", "uniqueId": "o"}
BLUE = ClusterName("team-a", "europe-west1", "blue")
CLUSTER = {"name": "blue", "location": "europe-west1", "id": "4711", "status": "RUNNING"}
LINK = "//container.googleapis.com/{1}projects/{0}/locations/europe-west1/clusters/blue"
NOTHING: Any = object()
STUBS: list[Stub] = []


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with serving() as running:
        STUBS.append(running)
        yield
        STUBS.clear()


def session(*answers: Any, status: int = 200) -> Any:
    """A session whose API gives one answer after the other; NOTHING is a body that is no JSON."""
    STUBS[0].give(*(sends(b"<html>" if answer is NOTHING else answer, status) for answer in answers))
    return authorized_session(Identity())


def fleet(*answers: Any, **more: Any) -> Fleet:
    return Fleet(session(*answers, **more), STUBS[0].url, NUMBERS)


def gke(*answers: Any, **more: Any) -> Gke:
    return Gke(session(*answers, **more), STUBS[0].url, NUMBERS)


@pytest.mark.parametrize("key", ["resources", "unreachable"])
@pytest.mark.parametrize("odd", [None, {}, {"a": 1}, 0, 1, "", "x", False, True, [1], [None], [[]]])
def test_what_is_no_list_of_memberships_is_no_empty_list(key: str, odd: Any) -> None:
    for read in (lambda: fleet({key: odd}).in_list(EDGE), lambda: fleet({key: odd}).list("my-fleet")):
        with pytest.raises(RetryableError, match=f"{key} is not a list"):
            read()


@pytest.mark.parametrize("key", ["clusters", "missingZones"])
@pytest.mark.parametrize("odd", [None, {}, 0, "", "x", False, [1], [None]])
def test_what_is_no_list_of_clusters_is_no_empty_list(key: str, odd: Any) -> None:
    for read in (lambda: gke({key: odd}).in_list(BLUE), lambda: gke({key: odd}).list("team-a")):
        with pytest.raises(RetryableError, match=f"{key} is not a list"):
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


REFUSED = ConnectionRefusedError(111, "Connection refused")
PEER = RemoteDisconnected("Remote end closed connection without response")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RequestException(MaxRetryError(HTTPConnectionPool("x"), "/", REFUSED)), "[Errno 111] Connection refused"),
        (RequestException(ProtocolError("Connection aborted.", PEER)), str(PEER)),
        (ProtocolError(ValueError(), OSError()), str((ValueError(), OSError()))),
        (OSError("reset"), "reset"),
        (
            ApiException(status=0, reason="SSLError\ncertificate verify failed"),
            "Reason: SSLError certificate verify failed",
        ),
    ],
)
def test_a_broken_connection_keeps_the_words_of_its_cause(error: Exception, words: str) -> None:
    with pytest.raises(RetryableError) as raised, answers.translated("reading x"):
        raise error
    assert str(raised.value) == f"reading x: no answer: {words}"


def test_an_empty_object_is_an_empty_list() -> None:
    assert not fleet({}).in_list(EDGE)
    assert not gke({}).in_list(BLUE)
    assert fleet({}).list("my-fleet") == Listed()


@pytest.mark.parametrize(
    "odd",
    [
        {"labels": "x"},
        {"labels": ["a"]},
        {"labels": {"a": None}},
        {"labels": {"a": 1}},
        {"endpoint": "x"},
        {"endpoint": {"gkeCluster": "x"}},
        {"endpoint": {"gkeCluster": {}}},
        {"endpoint": {"gkeCluster": {"resourceLink": "//else/projects/p"}}},
        {"endpoint": {"gkeCluster": {"resourceLink": 1}}},
        {"endpoint": {"gkeCluster": {"resourceLink": LINK.format("99", "")}}},
        {"endpoint": {"gkeCluster": {"resourceLink": LINK.format("team-a", "v1/")}}},
        {"endpoint": {"gkeCluster": {"resourceLink": "https:" + LINK.format("team-a", "v1/")}}},
        {"uniqueId": 1},
        {"state": "READY"},
        {"lastConnectionTime": "yesterday"},
        {"lastConnectionTime": "2026-11-24T09:00:00"},
        {"lastConnectionTime": 20261124},
        {"uniqueId": "uid-\ud800"},
    ],
)
def test_a_membership_that_cannot_be_read_alone_is_left_out_of_a_list(odd: Any) -> None:
    with pytest.raises(RetryableError) as raised:
        fleet(MEMBER | odd).membership(EDGE)
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER
    found = fleet({"resources": [MEMBER | odd, OTHER]}).list("my-fleet")
    assert [one.name.membership for one in found.items] == ["other"]
    assert (found.missing, [*found.unreadable]) == (frozenset(), [EDGE])


def test_a_membership_of_an_odd_name_hides_its_location() -> None:
    odd = MEMBER | {"name": "projects/1/locations/europe-west1/memberships/Not_A_Name"}
    found = fleet({"resources": [odd, OTHER]}).list("my-fleet")
    assert [one.name.membership for one in found.items] == ["other"]
    assert found.missing == {"europe-west1"}


@pytest.mark.parametrize("name", ["x", None, 1])
def test_a_membership_without_a_name_is_no_list(name: Any) -> None:
    for read in (
        lambda: fleet({"resources": [MEMBER | {"name": name}, OTHER]}).list("my-fleet"),
        lambda: fleet({"resources": [MEMBER | {"name": name}]}).in_list(EDGE),
    ):
        with pytest.raises(RetryableError):
            read()


def test_a_resource_link_with_the_fleet_projects_number_is_understood() -> None:
    linked = MEMBER | {"endpoint": {"gkeCluster": {"resourceLink": LINK.format("1", "")}}}
    found = fleet(linked).membership(EDGE)
    assert found is not None
    assert found.cluster == ClusterName("my-fleet", "europe-west1", "blue")


def test_another_object_than_the_one_that_was_asked_for_is_no_answer() -> None:
    for read in (
        lambda: fleet(OTHER).membership(EDGE),
        lambda: gke(CLUSTER | {"name": "red"}).cluster(BLUE),
        lambda: gke(CLUSTER | {"location": "us-east1"}).cluster(BLUE),
    ):
        with pytest.raises(RetryableError) as raised:
            read()
        assert raised.value.code is ErrorCode.UNUSABLE_ANSWER


@pytest.mark.parametrize(
    "odd",
    [
        {"id": None},
        {"id": 1},
        {"status": ""},
        {"status": 2},
        {"fleet": "x"},
        {"fleet": []},
        {"fleet": {"project": 1}},
        {"autopilot": "x"},
        {"resourceLabels": "x"},
        {"resourceLabels": {"a": 1}},
        {"networkConfig": {"network": "net-\ud800"}},
        {"endpoint": "\udfff"},
    ],
)
def test_a_cluster_that_cannot_be_read_alone_is_left_out_of_a_list(odd: Any) -> None:
    with pytest.raises(RetryableError) as raised:
        gke(CLUSTER | odd).cluster(BLUE)
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER
    found = gke({"clusters": [CLUSTER | odd, CLUSTER | {"name": "red"}]}).list("team-a")
    assert [one.name.cluster for one in found.items] == ["red"]
    assert (found.missing, [*found.unreadable]) == (frozenset(), [BLUE])


def test_a_cluster_without_a_name_hides_its_location_and_proves_nothing() -> None:
    nameless = {key: value for key, value in CLUSTER.items() if key != "name"}
    assert gke({"clusters": [nameless]}).list("team-a").missing == {"europe-west1"}
    for read in (
        lambda: gke({"clusters": [nameless]}).in_list(BLUE),
        lambda: gke({"clusters": [{"id": "1"}]}).list("team-a"),
    ):
        with pytest.raises(RetryableError):
            read()


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
    answer = fleet(MEMBER | {"state": {"code": "BRAND_NEW"}, "lastConnectionTime": "2026-11-24T09:00:00.123456789Z"})
    membership = answer.membership(EDGE)
    assert membership is not None
    assert (membership.state, membership.is_usable) == ("BRAND_NEW", False)
    assert membership.last_connection == datetime(2026, 11, 24, 9, 0, 0, 123456, tzinfo=UTC)


def test_a_membership_without_an_id_is_not_taken_for_the_same() -> None:
    reads = fleet({"name": str(EDGE)}, MEMBER)
    unknown, known = reads.membership(EDGE), reads.membership(EDGE)
    assert unknown is not None
    assert known is not None
    assert not unknown.is_still(unknown)
    assert not known.is_still(unknown)
    assert not known.is_still(None)
    assert known.is_still(known)


def test_pages_are_read_to_the_end_and_a_gap_in_any_of_them_counts() -> None:
    first = {"resources": [MEMBER], "nextPageToken": "a/b+c"}
    assert fleet(first, {"resources": []}).in_list(EDGE)
    assert fleet(first, {"unreachable": ["projects/1/locations/us-east1"]}).list("my-fleet").missing == {"us-east1"}
    never = MembershipName("my-fleet", "global", "never")
    with pytest.raises(RetryableError, match="is not known"):
        fleet(first, {"unreachable": ["us-east1"]}).in_list(never)


@pytest.mark.parametrize(
    ("status", "reason", "fault"),
    [
        (400, "INVALID_ARGUMENT", PermanentError),
        (400, "FAILED_PRECONDITION", RetryableError),
        (401, "UNAUTHENTICATED", RetryableError),
        (403, "PERMISSION_DENIED", RetryableError),
        (429, "RESOURCE_EXHAUSTED", RetryableError),
        (500, "INTERNAL", RetryableError),
    ],
)
def test_a_refusal_has_its_code_and_the_right_type(status: int, reason: str, fault: type[Exception]) -> None:
    body = {"error": {"code": status, "status": reason, "message": "no"}}
    for read in (
        lambda: fleet(body, status=status).membership(EDGE),
        lambda: fleet(body, status=status).in_list(EDGE),
        lambda: gke(body, status=status).cluster(BLUE),
    ):
        with pytest.raises(fault, match=f"{status} {reason} no"):
            read()


@pytest.mark.parametrize("odd", [None, [], "x", {"error": "x"}, {"error": None}, NOTHING])
def test_a_refusal_whose_body_is_odd_is_a_refusal(odd: Any) -> None:
    with pytest.raises(RetryableError) as raised:
        fleet(odd, status=503).membership(EDGE)
    assert (raised.value.code, raised.value.status) == (ErrorCode.UNAVAILABLE, 503)


def test_a_404_for_one_object_means_none() -> None:
    answer = {"error": {"code": 404, "status": "NOT_FOUND", "message": "no"}}
    assert fleet(answer, status=404).membership(EDGE) is None
    assert gke(answer, status=404).cluster(BLUE) is None
    for read in (
        lambda: fleet(answer, status=404).in_list(EDGE),
        lambda: fleet({}, status=404).membership(EDGE),
        lambda: gke(NOTHING, status=404).cluster(BLUE),
    ):
        with pytest.raises(RetryableError) as raised:
            read()
        assert raised.value.code is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("tokens", [["a", "a"], ["a", "b", "a"]])
def test_pages_that_do_not_end_are_no_list(tokens: list[str]) -> None:
    pages = [{"nextPageToken": token} for token in tokens]
    with pytest.raises(RetryableError) as raised:
        fleet(*pages).list("my-fleet")
    assert raised.value.code is ErrorCode.UNUSABLE_ANSWER
    assert len(STUBS[0].seen) <= 1 + len(tokens)


@pytest.mark.parametrize(
    ("left_out", "hides", "knows"),
    [
        ("us-east1", "us-east1", "global"),
        ("projects/1/locations/us-east1", "us-east1", "global"),
        ("projects/1/locations/us-east1/memberships/till", "us-east1", "global"),
        ("", "global", ""),
        ("//x", "global", ""),
        ("projects/1", "global", ""),
        ("projects/1/locations/-", "global", ""),
    ],
)
def test_what_a_list_leaves_out_hides_its_location_or_everything(left_out: str, hides: str, knows: str) -> None:
    """AIP-217 allows locations, names of objects in them and names of their parents."""
    inventory = Inventory(unreachable=fleet({"unreachable": [left_out]}).list("my-fleet").missing)
    assert not inventory.knows_membership(MembershipName("my-fleet", hides, "edge"))
    assert not knows or inventory.knows_membership(MembershipName("my-fleet", knows, "edge"))
    missing = gke({"missingZones": [left_out]}).list("team-a").missing
    inventory = Inventory(listed=frozenset({"team-a"}), missing_zones={"team-a": missing})
    assert not inventory.knows(ClusterName("team-a", hides, "blue"))
    assert not knows or inventory.knows(ClusterName("team-a", "europe-west1", "blue"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"fleet": None, "resourceLabels": None, "autopilot": None}, ("", None, False, "RUNNING")),
        ({"fleet": {}, "autopilot": {"enabled": False}, "statusMessage": None}, ("", None, False, "RUNNING")),
        ({"fleet": {"project": "my-fleet", "membership": ""}, "zone": "x"}, ("my-fleet", None, False, "RUNNING")),
        ({"fleet": {"membership": f"//gkehub.googleapis.com/{EDGE}"}}, ("my-fleet", EDGE, False, "RUNNING")),
        ({"fleet": {"project": "my-fleet", "membership": str(EDGE)}}, ("my-fleet", EDGE, False, "RUNNING")),
        ({"autopilot": {"enabled": True}, "status": "BRAND_NEW"}, ("", None, True, "BRAND_NEW")),
        ({"networkConfig": None, "endpoint": None, "releaseChannel": {}}, ("", None, False, "RUNNING")),
        ({"createTime": "2024-02-05T12:34:56+00:00", "conditions": [{"code": "x"}]}, ("", None, False, "RUNNING")),
    ],
)
def test_a_cluster_without_optional_fields_is_read(fields: Any, expected: Any) -> None:
    found = gke(CLUSTER | fields).cluster(BLUE)
    assert found is not None
    assert (found.fleet_project, found.membership, found.autopilot, found.status) == expected


@pytest.mark.parametrize(
    ("fields", "cluster", "state"),
    [
        ({"labels": None, "endpoint": None, "lastConnectionTime": None}, None, "READY"),
        ({"lastConnectionTime": "", "createTime": None, "state": {}}, None, "UNKNOWN"),
        ({"endpoint": {"gkeCluster": None}}, None, "READY"),
        ({"endpoint": {"onPremCluster": {"resourceLink": "//gkeonprem.googleapis.com/x"}}}, None, "READY"),
        ({"endpoint": {"edgeCluster": {"resourceLink": "//edgecontainer.googleapis.com/x"}}}, None, "READY"),
        ({"endpoint": {"applianceCluster": {}, "googleManaged": True}}, None, "READY"),
        ({"endpoint": {"gkeCluster": {"resourceLink": LINK.format("team-a", "")[27:]}}}, BLUE, "READY"),
        (
            {"endpoint": {"gkeCluster": {"resourceLink": LINK.format("team-a", "").replace("locations", "zones")}}},
            BLUE,
            "READY",
        ),
        ({"name": f"//gkehub.googleapis.com/{EDGE}", "state": {"code": "DELETING"}}, None, "DELETING"),
    ],
)
def test_a_membership_of_every_kind_is_read(fields: Any, cluster: Any, state: str) -> None:
    found = fleet(MEMBER | fields).membership(EDGE)
    assert found is not None
    assert (found.cluster, found.state) == (cluster, state)
