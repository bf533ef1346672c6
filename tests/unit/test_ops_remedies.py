"""What is advised for each code: the right command for the right object, and nothing destructive without a check first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ops import limits, remedies
from ops.activity import Activity, Entry
from ops.adoption import Skipped, match_secrets
from ops.doctor.expected import Expected
from ops.evidence import Evidence
from ops.explanation import UNSETTLED, Explanation, explain
from ops.letters import DeadLetter, group_letters, replay
from shared.decisions.sweep_plan import Reached
from shared.values.codes import ErrorCode, Limit
from shared.values.errors import PermanentError
from shared.values.model import GONE
from shared.values.names import ClusterName
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NOW, SETTINGS, settings
from tests.unit.surveys import seen, theirs

MEMBER = BLUE_MEMBER.name
SERVER = MEMBER.gateway_url(SETTINGS.fleet_project_number, gke=True)


def commands(code: str, name: ClusterName = BLUE.name, found: str = "") -> list[str]:
    return [one.command for one in remedies.remedies(code, name, MEMBER, SETTINGS, found) if one.command]


@pytest.mark.parametrize(
    ("code", "found", "part"),
    [
        (ErrorCode.NOT_ADMITTED, "", f"--membership={MEMBER.membership}"),
        (ErrorCode.UNMANAGED_MEMBERSHIP, "", f"memberships delete {MEMBER.membership}"),
        (ErrorCode.UNMANAGED_SECRET, "", f"delete secret {BLUE.name.secret_name}"),
        (ErrorCode.UNMANAGED_SECRET, "by-hand", "delete secret by-hand"),
        (ErrorCode.DUPLICATE_SECRETS, "", "get secrets"),
        (ErrorCode.UNMANAGED_BINDING, "", "delete clusterrolebinding fleet-registrar:argocd@"),
        (ErrorCode.UNMANAGED_BINDING, "theirs", "delete clusterrolebinding theirs"),
        (ErrorCode.DENIED, "", "doctor"),
        (ErrorCode.INVALID_SETTINGS, "", "doctor"),
        (ErrorCode.NO_IDENTITY, "", "doctor"),
        (ErrorCode.NO_CENTRAL_MEMBERSHIP, "", "doctor"),
        (ErrorCode.OTHER_FLEET, "", "--clear-fleet-project"),
    ],
)
def test_each_code_has_the_command_for_its_object(code: ErrorCode, found: str, part: str) -> None:
    assert any(part in command for command in commands(code, found=found))


def test_identities_of_a_project_with_a_domain_have_googles_form() -> None:
    scoped = settings(PUBSUB_PROJECT="example.com:our-apps")
    [advice] = remedies.remedies(ErrorCode.NOT_ADMITTED, EDGE.name, EDGE.name, scoped)
    assert "grant-rbac@our-apps.example.com.iam.gserviceaccount.com" in advice.command
    assert Expected(scoped).push_account == "fleet-registrar-push@our-apps.example.com.iam.gserviceaccount.com"


def test_a_code_that_only_time_helps_against_has_no_command() -> None:
    assert commands(ErrorCode.RATE_LIMITED) == []
    assert remedies.remedies(ErrorCode.OTHER_FLEET, EDGE.name, EDGE.name, SETTINGS) == []


@pytest.mark.parametrize("code", list(ErrorCode))
def test_a_deletion_is_never_the_first_advice(code: ErrorCode) -> None:
    for command in commands(code)[:1]:
        assert " delete " not in command


def test_an_unreachable_cluster_is_checked_by_its_kind() -> None:
    gke = [one.command for one in remedies.unreachable(BLUE.name, MEMBER)]
    attached = [one.command for one in remedies.unreachable(EDGE.name, EDGE.name)]
    assert gke != attached


# Adoption: what is not taken over, and why.


def test_a_secret_with_evidence_for_two_clusters_is_not_adopted() -> None:
    green = replace(BLUE, name=ClusterName("demo-fleet", "us-east1", "green"), addresses=frozenset({"34.90.1.3"}))
    ambiguous = theirs("gke_demo-apps_europe-west1_blue", "https://34.90.1.3")
    adoptions, left = match_secrets(seen((BLUE, green), (BLUE_MEMBER,), unmanaged=(ambiguous,)), SETTINGS)
    assert adoptions == []
    assert "fleet-registrar/cluster=" in left[0].command


@pytest.mark.parametrize(
    "secret",
    [
        theirs("x", EDGE.name.gateway_url(SETTINGS.fleet_project_number, gke=False)),
        theirs("x", SERVER),
    ],
)
def test_a_secret_of_an_unselected_cluster_is_not_adopted(secret: object) -> None:
    never = settings(CLUSTER_SELECTOR="env=never")
    found = seen(unmanaged=(secret,), settings=never)  # type: ignore[arg-type]
    adoptions, left = match_secrets(found, never)
    assert (adoptions, [one.secret.name for one in left]) == ([], ["x"])


def test_a_secret_of_a_cluster_outside_the_source_projects_is_not_adopted() -> None:
    outside = theirs("x", "https://10.0.0.1", "gke_demo-other_europe-west1_blue")
    adoptions, left = match_secrets(seen(unmanaged=(outside,)), SETTINGS)
    assert adoptions == []
    assert "SOURCE_PROJECTS" in left[0].reason
    assert isinstance(left[0], Skipped)


@pytest.mark.parametrize(
    ("membership", "own"),
    [
        (replace(BLUE_MEMBER, name=EDGE.name), False),
        (
            replace(BLUE_MEMBER, name=EDGE.name, labels={**BLUE_MEMBER.labels, "fleet-registrar-cluster-id": "e" * 40}),
            True,
        ),
        (replace(BLUE_MEMBER, name=EDGE.name, labels={}, created=NOW - timedelta(days=9)), True),
    ],
)
def test_an_adopted_secret_names_the_membership_of_this_very_cluster(membership: object, own: bool) -> None:
    cluster = replace(BLUE, created=NOW)
    named = theirs("x", "https://10.0.0.1", "gke_demo-apps_europe-west1_blue")
    found = seen((cluster,), (membership,), unmanaged=(named,))  # type: ignore[arg-type]
    [one], _ = match_secrets(found, SETTINGS, change_server=True)
    assert one.request.membership == (MEMBER if own else EDGE.name)
    assert list(one.patch["metadata"]["annotations"]) == ["fleet-registrar/membership", "fleet-registrar/cluster"]


# Letters and limits.


def test_a_letter_without_a_source_goes_nowhere() -> None:
    for attributes in ({}, {"topic": "write-secret"}, {"CloudPubSubDeadLetterSourceSubscription": "elsewhere"}):
        with pytest.raises(PermanentError):
            replay(DeadLetter("1", b"{}", attributes), SETTINGS, None)


def test_groups_begin_with_the_oldest_letter_and_those_without_a_time() -> None:
    ours = {"step": "write-secret", "reason": "403"}
    late, early, unknown = (
        DeadLetter(id_, b"{}", ours, time)
        for id_, time in (("late", NOW), ("early", NOW - timedelta(hours=1)), ("unknown", None))
    )
    [group] = group_letters([late, early, unknown])
    assert {letter.message_id for letter in group.letters} == {"late", "early", "unknown"}
    order = [letter.message_id for letter in group.letters]
    assert order.index("early") < order.index("late")


@pytest.mark.parametrize(
    ("limit", "allowed", "secrets", "never_all"),
    [
        (Limit.LEAVING, 2, 3, True),
        (Limit.LEAVING, 2, 30, False),
        (Limit.GONE, 2, 3, False),
        (Limit.LEAVING, 2, None, False),
    ],
)
def test_a_small_fleets_limit_is_never_all(limit: Limit, allowed: int, secrets: int | None, never_all: bool) -> None:
    reached = Reached(limit, (), 9, allowed, "0123456789abcdef")
    assert ("never all" in limits.as_text(reached, SETTINGS, secrets)) is never_all


def nobody(**more: Any) -> Explanation:
    """A cluster that GKE and the lists do not have."""
    name = replace(BLUE.name, cluster="nobody")
    given: dict[str, Any] = {"settings": SETTINGS, "seen": seen(), "cluster": GONE} | more
    return explain(Evidence(name, **given))


def advised(explained: Explanation) -> list[str]:
    return [one.command for one in explained.advice if one.command]


def test_a_cluster_that_nothing_speaks_of_is_not_called_gone() -> None:
    explained = nobody()
    assert explained.code == UNSETTLED
    assert explained.sections["Selected"] == ["no: no cluster has this name"]
    for absent in ("no membership", "no Secret of ours", "no dead letter", "no log entry"):
        assert absent in explained.sections["State"][1]
    assert advised(explained) == [f"python -m ops list --project {BLUE.name.project}"]


@pytest.mark.parametrize(
    "trace",
    [
        {"letters": (DeadLetter("1", b"{}"),)},
        {"activity": Activity((Entry(NOW, "write-secret", "created", "", ""),))},
        {"membership": BLUE_MEMBER},
    ],
)
def test_a_cluster_with_a_trace_has_existed(trace: dict[str, Any]) -> None:
    assert nobody(**trace).sections["Selected"] == ["no: it does not exist any more"]


def test_what_was_not_read_is_no_proof_that_nothing_has_the_name() -> None:
    state = nobody(activity=Activity(unread="403"), letters_unread="403").sections["State"][1]
    assert "no membership" in state
    assert "log entry" not in state
    assert "dead letter" not in state


@pytest.mark.parametrize("cluster", [None, GONE])
def test_a_project_outside_the_sources_is_added_or_misspelt(cluster: Any) -> None:
    outside = settings(SOURCE_PROJECTS="demo-fleet")
    explained = nobody(cluster=cluster, unread="403", settings=outside, seen=seen([], settings=outside))
    assert "SOURCE_PROJECTS" in explained.advice[0].text
    assert advised(explained) == [f"gcloud container clusters list --project={BLUE.name.project}"]


def test_each_command_is_advised_once() -> None:
    """An attached cluster whose objects were not looked into, and which has no Secret."""
    explained = explain(Evidence(EDGE.name, SETTINGS, seen(), membership=EDGE))
    found = advised(explained)
    assert any("topics publish register-membership" in command for command in found)
    assert len(found) == len(set(found))
