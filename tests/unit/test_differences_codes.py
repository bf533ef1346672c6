"""The code, the limit and the kind of each difference, and what SECRETS and REGISTRATION leave to others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.values.cluster_secret import CLUSTER, FUNCTIONS_PROJECT, INSTANCE, MEMBERSHIP, TYPE
from shared.values.codes import FindingCode, Limit
from shared.values.model import Cluster, Membership
from shared.values.names import ClusterName
from tests.unit.comparisons import ATTACHED, JOINED, NONE_SELECTED, codes, compared, only
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, GRANT, NOW, SETTINGS, secret, settings

EXTERNAL = settings(SECRETS="external")
OF_EARLIER = secret(cluster_id="e" * 64)


def status(value: str, base: Cluster = JOINED) -> dict[str, Any]:
    return {"clusters": {BLUE.name: replace(base, status=value)}}


@pytest.mark.parametrize(
    ("changes", "code", "kind", "limit"),
    [
        ({"clusters": {}}, FindingCode.NOT_LISTED, "remove", Limit.GONE),
        (status("STOPPING"), FindingCode.DELETING, "repair", None),
        ({**status("STOPPING"), "secrets": (OF_EARLIER,)}, FindingCode.EARLIER_CLUSTER, "remove", Limit.GONE),
        ({**status("PROVISIONING"), "secrets": (OF_EARLIER,)}, FindingCode.HOLD_DIFFERS, "repair", None),
        (
            {**status("ERROR"), "secrets": (secret(held="going 2026-11-24T11:00:00Z skip-reconcile=ours"),)},
            FindingCode.HOLD_DIFFERS,
            "repair",
            None,
        ),
    ],
)
def test_each_row_of_the_removal_table_has_its_code(
    changes: dict[str, Any], code: FindingCode, kind: str, limit: Limit | None
) -> None:
    """docs/architecture.md#removal-table. A row that a request changes is not reported besides."""
    request = only(compared(changes))
    assert (request.code, request.kind, request.limit) == (code, kind, limit)
    assert request.next.body() == {"cluster": str(BLUE.name), "membership": str(BLUE_MEMBER.name)}


def test_the_limit_left_counts_every_attached_cluster_that_left() -> None:
    """docs/architecture.md#removal-limits: held ones count until they are removed or back."""
    for secrets in (
        (secret(None, EDGE),),
        (secret(None, EDGE, held="left-fleet 2026-11-24T11:59:00Z skip-reconcile=ours"),),
    ):
        assert compared({"memberships": {}, "secrets": secrets}, base=ATTACHED).left == 1
    assert compared(base=ATTACHED).left == 0
    assert compared(settings=NONE_SELECTED, base=ATTACHED).left == 0


def test_an_attached_cluster_that_left_is_held_under_the_limit_left() -> None:
    request = only(compared({"memberships": {}}, base=ATTACHED))
    assert (request.code, request.kind, request.limit) == (FindingCode.LEFT_FLEET, "hold", Limit.LEFT)


def test_an_unselected_cluster_is_held_under_the_limit_leaving() -> None:
    request = only(compared(settings=NONE_SELECTED))
    assert (request.code, request.limit) == (FindingCode.UNSELECTED, Limit.LEAVING)


def test_an_attached_hold_for_deletion_that_failed_is_released_alone() -> None:
    held = secret(None, EDGE, held="going 2026-11-24T11:00:00Z skip-reconcile=ours")
    changes = {"memberships": {EDGE.name: replace(EDGE, state="ODD")}, "secrets": (held,)}
    assert codes(compared(changes, base=ATTACHED)) == [FindingCode.HOLD_DIFFERS]


@pytest.mark.parametrize(
    ("member", "secrets", "checked"),
    [
        (EDGE, (), True),
        (EDGE, (secret(None, EDGE),), False),
        (replace(EDGE, state="DELETING"), (), False),
        (replace(EDGE, last_connection=NOW - timedelta(hours=1)), (), False),
        (replace(EDGE, cluster=BLUE.name), (), False),
    ],
)
def test_unselected_attached_cluster_is_checked_for_bindings(member: Membership, secrets: Any, checked: bool) -> None:
    """docs/architecture.md#sweep. The check reports and publishes nothing further."""
    found = compared({"memberships": {EDGE.name: member}, "secrets": secrets}, NONE_SELECTED, ATTACHED)
    checks = [(each.topic, each.request.check) for each in found.unchanged if each.topic == "revoke-rbac"]
    assert checks == ([("revoke-rbac", True)] if checked else [])


def test_an_unselected_gke_cluster_is_checked_for_a_binding_that_stayed() -> None:
    found = compared({"secrets": ()}, NONE_SELECTED)
    assert [(each.topic, each.request.check) for each in found.unchanged] == [("revoke-rbac", True)]


@pytest.mark.parametrize("state", ["CREATING", "DELETING", "READY"])
def test_an_attached_cluster_that_is_not_selected_needs_no_report(state: str) -> None:
    changes = {"memberships": {EDGE.name: replace(EDGE, state=state)}, "secrets": ()}
    assert codes(compared(changes, NONE_SELECTED, ATTACHED)) == []


def test_a_cluster_whose_access_must_be_verified_is_not_checked_besides() -> None:
    found = compared({"secrets": (secret(grant=f"other {GRANT}"),)})
    assert codes(found) == [FindingCode.GRANT_DIFFERS]
    assert found.unchanged == ()


def test_external_secrets_check_bindings_and_request_no_secret() -> None:
    """docs/configuration.md: SECRETS=external leaves the Secrets to another controller."""
    for base, name in ((None, BLUE_MEMBER.name), (ATTACHED, EDGE.name)):
        found = compared({"secrets": ()}, EXTERNAL, base)
        assert codes(found) == []
        assert [(each.topic, each.request.membership) for each in found.unchanged] == [("grant-rbac", name)]


def test_with_external_secrets_a_secret_of_ours_is_still_kept_right() -> None:
    differing = {"memberships": {EDGE.name: replace(EDGE, labels={"env": "dev"})}}
    assert codes(compared(differing, EXTERNAL, ATTACHED)) == [FindingCode.SECRET_DIFFERS]
    changed = {"clusters": {BLUE.name: replace(JOINED, labels={"env": "dev"})}}
    assert codes(compared(changed, EXTERNAL)) == [FindingCode.SECRET_DIFFERS]


def test_registration_by_others_leaves_memberships_of_vanished_clusters() -> None:
    found = compared({"secrets": (), "clusters": {}}, settings(REGISTRATION="wait"))
    assert codes(found) == []


def test_our_membership_outside_of_the_source_projects_is_no_orphan() -> None:
    """Its project may be listed, because a Secret of ours names it."""
    outside = ClusterName("demo-left", "europe-west1", "blue")
    members = {BLUE_MEMBER.name: replace(BLUE_MEMBER, cluster=outside)}
    changes = {"secrets": (), "clusters": {}, "memberships": members, "listed": frozenset({"demo-left", "demo-fleet"})}
    assert codes(compared(changes)) == []


def test_a_marked_membership_of_no_gke_cluster_is_no_orphan() -> None:
    odd = replace(EDGE, labels=BLUE_MEMBER.labels)
    found = compared({"memberships": {EDGE.name: odd}}, NONE_SELECTED, {**ATTACHED, "secrets": ()})
    assert codes(found) == []


def test_each_foreign_secret_of_our_mark_is_reported_for_its_own_reason() -> None:
    """docs/configuration.md#several-registrars: another instance, the same one elsewhere, another fleet."""
    own = secret()
    elsewhere = {MEMBERSHIP: "projects/demo-other/locations/global/memberships/x", CLUSTER: ""}
    notes = {
        **{key: text for key, text in own.annotations.items() if key != CLUSTER},
        MEMBERSHIP: elsewhere[MEMBERSHIP],
    }
    fleet = replace(own, name="of-other-fleet", annotations=notes, data={"name": "x", "server": "https://10.0.0.1"})
    cases = [
        (fleet, [FindingCode.OTHER_FLEET]),
        (replace(fleet, labels={**own.labels, INSTANCE: "blue-team"}), []),
        (replace(fleet, annotations={**notes, FUNCTIONS_PROJECT: "demo-rival"}), [FindingCode.SAME_INSTANCE]),
        (replace(fleet, labels={TYPE: "cluster"}), []),
    ]
    for foreign, expected in cases:
        assert codes(compared({"unmanaged": (foreign,)})) == expected


@pytest.mark.parametrize(("ours", "theirs"), [("", ""), ("/", ""), ("", "/")])
def test_an_unmanaged_secret_with_our_server_clashes_whatever_it_says(ours: str, theirs: str) -> None:
    """A person's annotation may name another cluster; Argo CD compares the servers."""
    own = secret()
    slashed = replace(own, data={**own.data, "server": own.data["server"] + ours})
    foreign = replace(
        own,
        name="by-hand",
        labels={TYPE: "cluster"},
        annotations={CLUSTER: "projects/demo-apps/locations/europe-west1/clusters/red"},
        data={"name": "x", "server": own.data["server"] + theirs},
    )
    found = compared({"secrets": (slashed,), "unmanaged": (foreign,)})
    clashes = [each.subject for each in found.findings if each.code is FindingCode.CLASHING_SECRET]
    assert clashes == ["by-hand"]
    assert SETTINGS.argocd_namespace in found.findings[-1].command
