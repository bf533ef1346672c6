"""Messages between the steps: bodies, attributes, reversals (docs/architecture.md#messages)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.values.codes import ErrorCode
from shared.values.errors import PermanentError, RetryableError
from shared.values.messages import (
    OFFBOARDING,
    ONBOARDING,
    STEPS,
    Message,
    OutgoingMessage,
    Scope,
    StepRequest,
    json_object,
    parse,
    parse_scope,
    request_for,
    reverses,
    truncate,
)
from shared.values.names import ClusterName, MembershipName
from tests.unit.given import NOW, SETTINGS

pytestmark = pytest.mark.usefixtures("without_collection")

CLUSTER = "projects/demo-apps/locations/europe-west1/clusters/blue"
MEMBERSHIP = "projects/demo-fleet/locations/global/memberships/edge"
BLUE = ClusterName.parse(CLUSTER)
EDGE = MembershipName.parse(MEMBERSHIP)

steps = st.sampled_from(STEPS)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["cluster", "membership", "granted", "drop_labels", "leave", "new", "reversed", ""])
plausible = st.sampled_from([CLUSTER, MEMBERSHIP, "hold", "remove", "cluster-admin a@b.cc", ["env"]])


def read(step: str, **body: Any) -> StepRequest:
    return parse(step, json.dumps(body).encode(), SETTINGS)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, StepRequest]:
    step = draw(steps)
    cluster, membership = draw(st.sampled_from([(BLUE, None), (None, EDGE), (BLUE, EDGE)]))
    granted = draw(st.text(max_size=9)) if step == "write-secret" else ""
    drop = draw(st.frozensets(st.text(max_size=9))) if step == "write-secret" else frozenset()
    leave = draw(st.sampled_from(["", "hold", "remove"])) if step == "remove-secret" else ""
    uid = draw(st.text(max_size=9)) if step == "write-secret" else ""
    secret = draw(st.text(max_size=9)) if step in ("write-secret", "remove-secret") else ""
    renewed = draw(st.booleans()) if step == "write-secret" else False
    new = draw(st.booleans()) if step == "grant-rbac" else False
    previous = draw(st.text(max_size=9)) if step in ("grant-rbac", "write-secret", "revoke-rbac") else ""
    return step, StepRequest(cluster, membership, granted, drop, leave, secret, uid, new, renewed, previous)  # type: ignore[arg-type]


@given(requests())
def test_a_request_is_read_as_it_is_written(pair: tuple[str, StepRequest]) -> None:
    step, request = pair
    assert parse(step, json.dumps(OutgoingMessage(step, request).body()).encode(), SETTINGS) == request


@given(steps, st.binary(max_size=60))
@example("write-secret", b"")
@example("write-secret", b"[" * 100_000)
@example("write-secret", b"\xff\xfe{}")
@example("write-secret", b"9" * 5000)
def test_junk_bytes_are_permanent_and_nothing_else(step: str, data: bytes) -> None:
    with pytest.raises(PermanentError, match=step):
        parse(step, data, SETTINGS)


@given(steps, st.dictionaries(keys, junk | plausible, max_size=4))
def test_any_object_is_a_request_or_a_fault(step: str, body: dict[str, Any]) -> None:
    try:
        request = read(step, **body)
    except (PermanentError, RetryableError) as error:
        truncate(str(error)).encode()
    else:
        assert request.cluster or request.membership


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({}, "neither cluster nor membership"),
        ({"cluster": None}, "not a cluster's name"),
        ({"cluster": [CLUSTER]}, "not a cluster's name"),
        ({"cluster": MEMBERSHIP}, "not a cluster's name"),
        ({"membership": CLUSTER}, "not a membership's name"),
        ({"cluster": CLUSTER, "membership": 7}, "not a membership's name"),
        ({"membership": MEMBERSHIP.replace("demo-fleet", "other-fleet")}, "not in our fleet"),
        ({"cluster": CLUSTER.replace("demo-apps", "100000000003")}, "write the project id"),
        ({"force": True}, "unknown keys 'force'"),
    ],
)
def test_an_invalid_body_is_reported(step: str, body: dict[str, Any], fault: str) -> None:
    with pytest.raises(PermanentError, match=fault):
        read(step, **body)


@pytest.mark.parametrize(
    ("step", "body", "fault"),
    [
        ("write-secret", {"granted": True}, "granted is not a text"),
        ("write-secret", {"drop_labels": "env"}, "drop_labels is not a list"),
        ("write-secret", {"drop_labels": [1]}, "drop_labels is not a list"),
        ("remove-secret", {"leave": "now"}, "neither hold, remove nor other-cluster"),
        ("remove-secret", {"leave": ""}, "neither hold, remove nor other-cluster"),
        ("write-secret", {"membership_uid": 1}, "membership_uid is not a text"),
        ("write-secret", {"renewed": 1}, "renewed is neither true nor false"),
        ("grant-rbac", {"new": "yes"}, "new is neither true nor false"),
    ],
)
def test_a_key_of_a_wrong_type_is_permanent(step: str, body: dict[str, Any], fault: str) -> None:
    with pytest.raises(PermanentError, match=fault):
        read(step, cluster=CLUSTER, **body)


@pytest.mark.parametrize(
    ("step", "key"),
    [(step, key) for step in STEPS for key in ("force", "changed")]
    + [
        ("write-secret", "leave"),
        ("remove-secret", "granted"),
        ("register-membership", "granted"),
        ("revoke-rbac", "leave"),
    ],
)
def test_an_unknown_key_is_retryable(step: str, key: str) -> None:
    """A newer version may have sent it, while functions of two versions run."""
    with pytest.raises(RetryableError, match=f"unknown keys '{key}'") as caught:
        read(step, cluster=CLUSTER, **{key: "hold"})
    assert caught.value.code is ErrorCode.UNKNOWN_KEY


@pytest.mark.parametrize("body", [{"all": True}, {"all": "yes", "project": "demo-apps"}])
def test_an_unknown_key_of_a_sweep_is_retryable(body: dict[str, Any]) -> None:
    with pytest.raises(RetryableError) as caught:
        parse_scope(json.dumps(body).encode(), SETTINGS)
    assert caught.value.code is ErrorCode.UNKNOWN_KEY


@pytest.mark.parametrize(
    "body",
    [
        {"project": "demo-apps", "release": "x"},
        {"project": 7},
        {"cluster": "blue"},
        {"project": 7, "all": 1},
        {"project": ""},
        {"project": "demo-apps\n"},
        {"project": "projects/demo-apps"},
        {"project": "100000000002"},
        {"release": ""},
        {"cluster": ""},
    ],
)
def test_a_wrong_sweep_message_is_permanent(body: dict[str, Any]) -> None:
    with pytest.raises(PermanentError):
        parse_scope(json.dumps(body).encode(), SETTINGS)


@pytest.mark.parametrize(
    ("given", "project"),
    [("demo-apps", "demo-apps"), ("example.com:apps", "example.com:apps"), ("100000000001", "demo-fleet")],
)
def test_the_project_of_a_sweep_is_canonical(given: str, project: str) -> None:
    assert parse_scope(json.dumps({"project": given}).encode(), SETTINGS).project == project


def test_all_invalid_settings_are_reported_at_once_with_an_example() -> None:
    with pytest.raises(PermanentError) as caught:
        read("write-secret", cluster=1, membership=2, granted=3, drop_labels=4, leave=5)
    for part in ("cluster's name", "membership's name", "granted is", "drop_labels is", "'leave'", "Example: {"):
        assert part in str(caught.value)


def test_the_proof_of_a_grant_is_not_shown() -> None:
    assert "eyJ" not in repr(read("write-secret", cluster=CLUSTER, granted="eyJhbGciOiJSUzI1NiJ9.e30.x"))


def test_names_are_canonical() -> None:
    request = read(
        "register-membership",
        cluster="//container.googleapis.com/projects/100000000001/zones/europe-west1-b/clusters/blue",
        membership="//gkehub.googleapis.com/projects/100000000001/locations/global/memberships/edge",
    )
    assert request.body() == {
        "cluster": "projects/demo-fleet/locations/europe-west1-b/clusters/blue",
        "membership": MEMBERSHIP,
    }


def test_a_chain_turns_between_onboarding_and_offboarding_only() -> None:
    for step in STEPS:
        for topic in (*STEPS, "cluster-events", "dead-letters"):
            crossing = (step in ONBOARDING and topic in OFFBOARDING) or (step in OFFBOARDING and topic in ONBOARDING)
            assert reverses(step, topic) is crossing


@pytest.mark.parametrize(
    ("before", "topic", "after"),
    [
        ({}, "grant-rbac", {}),
        ({}, "remove-secret", {"reversed": "true"}),
        ({"reversed": "true"}, "grant-rbac", {"reversed": "true"}),
        (
            {"cause": "c", "traceparent": "t", "requested-by": "sweep", "else": "x", "googclient_x": "y", "step": "z"},
            "grant-rbac",
            {"cause": "c", "traceparent": "t", "requested-by": "sweep"},
        ),
        ({"cause": "x" * 2000}, "grant-rbac", {"cause": "x" * 1000}),
    ],
)
def test_what_is_handed_on(before: dict[str, str], topic: str, after: dict[str, str]) -> None:
    assert Message(b"{}", before).forwarded_attributes("register-membership", topic) == after


@given(st.text(st.characters(exclude_categories=[])))
@example("ü" * 600)
@example("\ud800")
def test_an_attribute_is_cut_to_what_pubsub_takes(text: str) -> None:
    """Half a surrogate pair is legal in JSON and nowhere else."""
    assert len(truncate(text).encode()) <= 1000


def test_age_is_counted_from_publishing() -> None:
    assert Message(b"", published=NOW).age(NOW + timedelta(hours=2)) == timedelta(hours=2)
    assert Message(b"").age(NOW) == timedelta()


def test_a_fault_shows_only_the_beginning_of_a_large_body() -> None:
    with pytest.raises(PermanentError) as caught:
        json_object(b"x" * 10_000_000, "the message")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("step", "key", "value"),
    [
        ("register-membership", "granted", 1),
        ("register-membership", "new", "x"),
        ("remove-secret", "drop_labels", "x"),
        ("grant-rbac", "secret_uid", 1),
    ],
)
def test_a_key_of_another_step_is_unknown_whatever_its_value(step: str, key: str, value: object) -> None:
    """A newer version may give it that meaning."""
    with pytest.raises(RetryableError) as raised:
        read(step, cluster=CLUSTER, **{key: value})
    assert raised.value.code is ErrorCode.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("scope", "inside"),
    [
        (Scope(), [True, True]),
        (Scope(project="demo-apps"), [True, False]),
        (Scope(project="demo-fleet"), [False, True]),
        (Scope(cluster=BLUE), [True, False]),
        (Scope(cluster=replace(BLUE, cluster="red")), [False, False]),
    ],
)
def test_an_attached_cluster_is_in_the_scope_of_the_fleets_project(scope: Scope, inside: list[bool]) -> None:
    requests = [StepRequest(BLUE), StepRequest(membership=EDGE)]
    assert [scope.includes(request.cluster, "demo-fleet") for request in requests] == inside


@pytest.mark.parametrize(
    "body",
    [
        {"release": "x", "seals": "abc"},
        {"release": "x", "seals": {"a": 1}},
        {"release": "x", "seals": [1]},
        {"seals": ["a"]},
        {"release": 1},
        {"project": "demo-apps", "cluster": CLUSTER},
    ],
)
def test_a_sweep_takes_seals_with_their_release_only(body: object) -> None:
    with pytest.raises(PermanentError):
        parse_scope(json.dumps(body).encode(), SETTINGS)


def test_a_request_that_names_nothing_has_no_name() -> None:
    with pytest.raises(ValueError, match="names"):
        _ = StepRequest().name


def test_a_request_for_one_name_has_it_under_its_key() -> None:
    assert request_for(BLUE).names == {"cluster": CLUSTER}
    assert request_for(EDGE).names == {"membership": MEMBERSHIP}
