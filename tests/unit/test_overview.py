"""Which state a cluster is in, and why: one situation each, from the lists and the log."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ops import listing
from ops.activity import Entry
from ops.overview import Overview, Row, Stage, rows
from ops.plan import unread
from shared.values.codes import Decision, ErrorCode
from shared.values.settings import RemovalLimit
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NOW, SELECTING, SETTINGS, as_secret, created, secret, settings
from tests.unit.surveys import seen, theirs

if TYPE_CHECKING:
    from shared.values.settings import Settings

HELD = "not-wanted 2026-11-24T11:50:00Z skip-reconcile=ours"
LOST = replace(EDGE, last_connection=NOW - timedelta(hours=1))
SERVER = SETTINGS.gateway_url(BLUE_MEMBER.name, gke=True)


def entry(step: str = "grant-rbac", decision: str = "retry", minutes: float = 1, **more: Any) -> Entry:
    query = {"code": "denied", "message": "403 no", "cluster": str(BLUE.name), **more}
    return Entry(NOW - timedelta(minutes=minutes), step, decision, **query)


def row(*, name: object = BLUE.name, entries: tuple[Entry, ...] = (), with_: Settings = SETTINGS, **lists: Any) -> Row:
    survey = seen(settings=with_, **({"memberships": [BLUE_MEMBER]} | lists))
    [found] = [one for one in rows(survey, with_, entries) if one.name == name]
    return found


CASES: dict[str, tuple[Stage, str, dict[str, Any]]] = {
    "its Secret is as it should be": (Stage.IN_ARGOCD, "", {"secrets": [secret()]}),
    "no event came": (Stage.MISSING, "no event or request has reached a step", {}),
    "a step failed": (
        Stage.FAILED,
        "grant-rbac attempt 7 of 20 (denied): 403 no",
        {"entries": (entry(attempt=7, attempts=20),)},
    ),
    "a step gave up": (
        Stage.FAILED,
        "grant-rbac gave up (denied): 403 no",
        {"entries": (entry(decision="dead_lettered", attempt=1, attempts=20),)},
    ),
    "a step does not answer": (
        Stage.MISSING,
        "grant-rbac: no answer since register-membership published its request",
        {"entries": (entry("register-membership", "registered", 10, next=("grant-rbac",)),)},
    ),
    "a step worked just now": (
        Stage.ON_ITS_WAY,
        "",
        {"entries": (entry("register-membership", "registered", 0.5, next=("grant-rbac",)),)},
    ),
    "it is young": (Stage.ON_ITS_WAY, "", {"clusters": [replace(BLUE, created=NOW - timedelta(seconds=10))]}),
    "it is held": (Stage.HELD, "held since 2026-11-24T11:50:00Z (not-wanted)", {"secrets": [secret(held=HELD)]}),
    "it is not selected": (Stage.NOT_SELECTED, "", {"clusters": [replace(BLUE, labels={})], "with_": SELECTING}),
    "it is in ERROR": (Stage.NOT_RUNNING, "ERROR", {"clusters": [replace(BLUE, status="ERROR")]}),
    "it is created": (Stage.PROVISIONING, "", {"clusters": [replace(BLUE, status="PROVISIONING")]}),
    "it is deleted": (Stage.LEAVING, "", {"clusters": [replace(BLUE, status="STOPPING")], "secrets": [secret()]}),
    "it is in another fleet": (Stage.OTHER_FLEET, "fleet of x", {"clusters": [replace(BLUE, fleet_project="x")]}),
    "another Secret is for it": (
        Stage.CONFLICT,
        "Secret by-hand is for this cluster",
        {"unmanaged": [theirs(server=SERVER)]},
    ),
    "it has two Secrets": (Stage.CONFLICT, "2 Secrets", {"secrets": [secret(), replace(secret(), name="two")]}),
    "its Secret was changed by hand": (
        Stage.DIFFERS,
        "the next sweep publishes write-secret: its Secret differs",
        {"secrets": [replace(secret(), labels={**secret().labels, "env": "dev"})]},
    ),
    "its Secret is of an earlier cluster": (
        Stage.MISSING,
        "its Secret is of an earlier cluster",
        {"clusters": [replace(BLUE, id="b" * 64)], "secrets": [secret()]},
    ),
    "its project was not read": (
        Stage.UNKNOWN,
        "403",
        {"clusters": [], "secrets": [secret()], "listed": frozenset({"demo-fleet"})},
    ),
    "others register it": (Stage.WAITING, "", {"memberships": [], "with_": settings(REGISTRATION="wait")}),
    "others write Secrets": (Stage.EXTERNAL, "", {"with_": settings(SECRETS="external")}),
    "its agent is lost": (Stage.AGENT_LOST, "agent is lost", {"name": EDGE.name, "memberships": [LOST]}),
}


@pytest.mark.parametrize(("stage", "reason", "given"), CASES.values(), ids=CASES)
def test_a_clusters_stage_follows_lists_and_log(stage: Stage, reason: str, given: dict[str, Any]) -> None:
    found = row(**given)
    assert (found.stage, reason in found.reason) == (stage, True), found


def test_a_row_has_the_time_of_its_grant() -> None:
    granted = entry(decision=Decision.GRANTED, minutes=5)
    assert row(secrets=[secret()], entries=(granted,)).granted_at == granted.time
    assert row(secrets=[secret()], entries=(entry(decision=Decision.REVOKED), granted)).granted_at is None
    assert row(secrets=[secret()]).granted_at is None


def test_a_failure_of_a_settled_cluster_is_no_problem() -> None:
    assert row(secrets=[secret()], entries=(entry(),)).stage is Stage.IN_ARGOCD


def test_what_the_removal_limit_stops_says_so() -> None:
    away = replace(BLUE, labels={})
    limited = replace(SELECTING, max_removals=RemovalLimit(0, percent=False))
    found = row(clusters=[away], secrets=[as_secret(created(away))], with_=limited)
    assert (found.stage, found.reason.split(":")[0]) == (Stage.LEAVING, "the removal limit stops remove-secret")


def test_problems_come_first() -> None:
    green = replace(BLUE, name=replace(BLUE.name, cluster="aaa"), status="ERROR")
    found = rows(seen([BLUE, green], [BLUE_MEMBER], [secret()]), SETTINGS)
    assert [one.stage.is_problem for one in found] == [True, False]


def test_evidence_of_one_cluster_leaves_the_others_out() -> None:
    survey = seen([BLUE], [BLUE_MEMBER, EDGE], [])
    overview = Overview(survey, SETTINGS, (entry(code=ErrorCode.NO_ROLE), entry(cluster="", membership=str(EDGE.name))))
    evidence = overview.evidence(BLUE.name)
    assert [*evidence.seen.inventory.memberships] == [BLUE_MEMBER.name]
    assert [(one.code, one.decision) for one in evidence.activity.entries] == [(ErrorCode.NO_ROLE, Decision.RETRY)]
    assert {one.subject for one in evidence.seen.plan.requests} == {str(BLUE.name)}


def test_the_list_says_once_why_its_clusters_are_unknown() -> None:
    why = "listing secrets: 403 PERMISSION_DENIED"
    survey = replace(seen(), secrets_unread=why)
    text = listing.as_text(rows(survey, SETTINGS), unread(survey, SETTINGS))
    assert text.count(why) == 1
    assert text.count("the Secrets could not be read") == len(rows(survey, SETTINGS)) > 1
