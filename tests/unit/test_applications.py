"""Applications and the clusters that they need: orphans, and deletions that wait while a Secret is held."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ops import holds, orphans, plan
from ops.evidence import Access, Evidence
from ops.explanation import Explanation, explain
from ops.overview import rows
from shared.values import application
from shared.values.application import Application
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, SELECTING, SETTINGS, secret
from tests.unit.surveys import seen, theirs

if TYPE_CHECKING:
    from ops.survey import Snapshot

HELD = "not-wanted 2026-11-24T11:00:00Z skip-reconcile=ours"
NAME = "demo-apps.europe-west1.blue"
SERVER = BLUE_MEMBER.name.gateway_url(SETTINGS.fleet_project_number, gke=True)
OTHER = replace(BLUE, labels={"env": "dev"})


def manifest(**destination: str) -> dict[str, Any]:
    return {"metadata": {"name": "shop"}, "spec": {"destination": destination}}


@pytest.mark.parametrize(
    ("destination", "is_orphan"),
    [
        ({"name": NAME}, False),
        ({"server": SERVER}, False),
        ({"server": f"{SERVER}/"}, False),
        ({"name": "by-hand"}, False),
        ({"name": "in-cluster"}, False),
        ({"server": "https://kubernetes.default.svc"}, False),
        ({"name": "demo-apps.europe-west1.gone"}, True),
        ({"server": "https://192.0.2.9"}, True),
        ({"name": "demo-apps.europe-west1.gone", "server": SERVER}, True),
        ({}, True),
    ],
)
def test_application_without_a_secret_for_its_cluster_is_an_orphan(
    destination: dict[str, str], is_orphan: bool
) -> None:
    known = [secret(), theirs("by-hand", "https://192.0.2.1")]
    one = Application.read(manifest(**destination))
    assert application.orphans([one], known) == ([one] if is_orphan else [])


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ({"name": NAME}, str(BLUE.name)),
        ({"name": "demo-fleet.global.memberships.edge"}, str(EDGE.name)),
        ({"server": SERVER}, str(BLUE_MEMBER.name)),
        ({"name": "other-fleet.global.memberships.edge"}, ""),
        ({"name": "prod"}, ""),
        ({"server": "https://192.0.2.9"}, ""),
    ],
)
def test_orphan_names_the_cluster_of_ours_that_it_had(destination: dict[str, str], expected: str) -> None:
    one = Application.read(manifest(**destination))
    assert [found["cluster"] for found in orphans.as_json([one], SETTINGS)] == [expected]
    assert expected in orphans.as_text([one], SETTINGS)


@pytest.mark.parametrize(
    "spoilt",
    [{"spec": None}, {"spec": {"destination": []}}, {"spec": {"destination": {"name": 1, "server": None}}}, {}],
)
def test_spoilt_destination_counts_as_none(spoilt: dict[str, Any]) -> None:
    assert Application.read({"metadata": {"name": "a"}, **spoilt}) == Application("a")


@pytest.mark.parametrize("odd", [None, 7, True, "x", {}, {"kind": "ApplicationSet"}, [None], [7], [[]], ["x"]])
def test_spoilt_owners_and_finalizers_count_as_none(odd: Any) -> None:
    meta = {"name": "a", "ownerReferences": odd, "finalizers": odd, "deletionTimestamp": odd if odd != "x" else 7}
    assert Application.read({"metadata": meta}) == Application("a")


def test_application_says_who_made_it_and_whether_its_deletion_waits() -> None:
    meta = {
        "name": "shop",
        "deletionTimestamp": "2026-11-24T11:30:00Z",
        "finalizers": ["resources-finalizer.argocd.argoproj.io/background"],
        "ownerReferences": [{"kind": "ApplicationSet", "name": "baseline"}],
    }
    one = Application.read({"metadata": meta})
    assert (one.deleted_at, one.cascades, one.generator) == ("2026-11-24T11:30:00Z", True, "baseline")


def held(*applications: Application, selecting: bool = True, unread: str = "") -> Snapshot:
    """A held cluster with Applications; `selecting`: the selector asks for it again."""
    clusters = (BLUE if selecting else OTHER,)
    found = seen(clusters, secrets=[secret(held=HELD)], settings=SELECTING)
    return replace(found, applications=applications, applications_unread=unread)


WAITING = Application("shop", NAME, deleted_at="2026-11-24T11:30:00Z", generator="baseline", cascades=True)


def explained(snapshot: Snapshot) -> Explanation:
    cluster = snapshot.inventory.clusters[BLUE.name]
    return explain(Evidence(BLUE.name, SELECTING, snapshot, cluster, BLUE_MEMBER, access=Access(True, ())))


def test_a_release_with_waiting_deletions_is_warned_of() -> None:
    [warning] = holds.releases(held(WAITING, Application("other", NAME)), SELECTING)
    assert "shop" in warning
    assert "other" not in warning
    assert str(BLUE.name) in warning


def test_nothing_is_warned_of_where_no_release_or_no_deletion_waits() -> None:
    assert holds.releases(held(WAITING, selecting=False), SELECTING) == []
    assert holds.releases(held(Application("shop", NAME)), SELECTING) == []
    elsewhere = replace(WAITING, cluster_name="demo-apps.europe-west1.red")
    assert holds.releases(held(elsewhere), SELECTING) == []
    free = replace(seen(secrets=[secret()], settings=SELECTING), applications=(WAITING,))
    assert holds.releases(free, SELECTING) == []


def test_unreadable_applications_are_unknown_and_not_none() -> None:
    [warning] = holds.releases(held(unread="403"), SELECTING)
    assert "403" in warning
    assert any("403" in line for line in explained(held(unread="403")).sections["Argo CD"])


@pytest.mark.parametrize("selecting", [True, False])
def test_explain_names_waiting_deletions_and_how_to_keep_the_workloads(selecting: bool) -> None:
    explanation = explained(held(WAITING, selecting=selecting))
    assert any("shop" in line for line in explanation.sections["Argo CD"])
    assert explanation.advice[0].command == (
        'kubectl -n argocd patch applications.argoproj.io shop --type=merge \'--patch={"metadata":{"finalizers":null}}\''
    )


def test_the_status_page_shows_waiting_deletions_beside_the_hold() -> None:
    [reason] = [row.reason for row in rows(held(WAITING), SELECTING) if row.name == BLUE.name]
    assert "1 deletion waits" in reason
    [reason] = [row.reason for row in rows(held(), SELECTING) if row.name == BLUE.name]
    assert "wait" not in reason


@pytest.mark.parametrize("selecting", [True, False])
def test_plan_says_what_a_hold_does_where_it_holds(selecting: bool) -> None:
    found = seen([BLUE if selecting else OTHER], secrets=[secret(), theirs()], settings=SELECTING)
    assert (holds.EFFECT in plan.as_text(found.plan, SELECTING)) is not selecting


def test_explain_says_what_a_hold_does() -> None:
    assert any(line in holds.EFFECT for line in explained(held()).sections["Argo CD"])
