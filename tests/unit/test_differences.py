"""What a sweep requests and reports of what it read: one rule each, on values."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.decisions import secret_plan
from shared.values.cluster_secret import (
    CLUSTER,
    HELD,
    MEMBERSHIP,
    MEMBERSHIP_HASH,
    TYPE,
    ClusterSecret,
    hash_label,
)
from shared.values.codes import FindingCode
from shared.values.names import ClusterName, MembershipName
from tests.unit.comparisons import ALL, ATTACHED, JOINED, NONE_SELECTED, codes, compared, only
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NOW, SETTINGS, patched, secret

if TYPE_CHECKING:
    from shared.values.findings import Differences
    from shared.values.settings import Settings


def test_where_nothing_differs_the_cluster_is_unchanged() -> None:
    for base, names in ((ALL, (BLUE.name, BLUE_MEMBER.name)), (ATTACHED, (None, EDGE.name))):
        found = compared(base=base)
        assert codes(found) == []
        assert [(each.request.cluster, each.request.membership) for each in found.unchanged] == [names]
        assert found.secrets == 1


def test_what_differs_is_not_counted_as_unchanged() -> None:
    for labels in ({"env": "dev"}, {}):
        found = compared({"clusters": {BLUE.name: replace(JOINED, labels=labels)}})
        assert found.requests
        assert found.unchanged == ()


def test_a_changed_label_is_written_and_a_missing_key_is_dropped_apart() -> None:
    changed = compared({"clusters": {BLUE.name: replace(JOINED, labels={"env": "dev"})}})
    assert (only(changed).code, only(changed).kind) == (FindingCode.SECRET_DIFFERS, "repair")
    gone = compared({"clusters": {BLUE.name: replace(JOINED, labels={})}})
    assert (only(gone).code, only(gone).kind) == (FindingCode.LABELS_GONE, "drop")
    assert only(gone).next.request.drop_labels == {"env"}


def test_a_cluster_without_membership_is_registered() -> None:
    for members in (
        {},
        {BLUE_MEMBER.name: replace(BLUE_MEMBER, cluster=ClusterName("demo-apps", "europe-west1", "x"))},
    ):
        request = compared({"memberships": members, "secrets": ()}).requests[0]
        assert (request.code, request.next.topic) == (FindingCode.NOT_REGISTERED, "register-membership")


def test_an_earlier_clusters_membership_is_registered_again() -> None:
    labels = {**BLUE_MEMBER.labels, "fleet-registrar-cluster-id": "e" * 40}
    found = compared({"memberships": {BLUE_MEMBER.name: replace(BLUE_MEMBER, labels=labels)}})
    assert only(found).code is FindingCode.NOT_REGISTERED


def test_a_membership_hidden_by_the_list_registers_nothing() -> None:
    found = compared({"memberships": {}, "unreachable": frozenset({"europe-west1"})})
    assert found.requests == ()
    assert codes(found) == [FindingCode.INCOMPLETE_LIST, FindingCode.INCOMPLETE_LIST]


def test_a_membership_that_is_not_ready_is_reported() -> None:
    found = compared({"memberships": {BLUE_MEMBER.name: replace(BLUE_MEMBER, state="CREATING")}})
    assert codes(found) == [FindingCode.MEMBERSHIP_NOT_READY]


def test_a_cluster_without_secret_is_onboarded() -> None:
    request = only(compared({"secrets": ()}))
    assert (request.code, request.next.topic) == (FindingCode.NO_SECRET, "register-membership")
    assert request.next.request.membership == BLUE_MEMBER.name


def test_a_secret_of_an_earlier_cluster_counts_as_none() -> None:
    request = only(
        compared(
            {
                "clusters": {BLUE.name: replace(JOINED, id="b" * 64)},
                "memberships": {
                    BLUE_MEMBER.name: replace(
                        BLUE_MEMBER, labels={**BLUE_MEMBER.labels, "fleet-registrar-cluster-id": "b" * 40}
                    )
                },
            }
        )
    )
    assert request.code is FindingCode.NO_SECRET


def test_a_grant_for_another_identity_is_verified_again() -> None:
    request = only(compared({"secrets": (secret(grant="view someone@example.com"),)}))
    assert (request.code, request.next.topic) == (FindingCode.GRANT_DIFFERS, "grant-rbac")


def test_a_lost_agent_is_reported_and_asked_for_nothing_but_a_note() -> None:
    lost = {"memberships": {EDGE.name: replace(EDGE, last_connection=NOW - timedelta(hours=1))}}
    noted = (secret(None, EDGE, agent_lost="2026-11-24T11:00:00Z"),)
    found = compared({**lost, "secrets": noted}, base=ATTACHED)
    assert codes(found) == [FindingCode.AGENT_LOST]
    assert found.unchanged == ()
    differing = (secret(None, EDGE, agent_lost="2026-11-24T11:00:00Z", grant="view someone@example.com"),)
    assert codes(compared({**lost, "secrets": differing}, base=ATTACHED)) == [FindingCode.AGENT_LOST]
    assert codes(compared({**lost, "secrets": ()}, base=ATTACHED)) == [FindingCode.AGENT_LOST]


def test_an_attached_cluster_without_secret_is_onboarded() -> None:
    request = only(compared({"secrets": ()}, base=ATTACHED))
    assert (request.code, request.next.request.membership) == (FindingCode.NO_SECRET, EDGE.name)


def test_an_attached_cluster_attached_again_gets_its_own_secret() -> None:
    request = only(compared({"memberships": {EDGE.name: replace(EDGE, unique_id="later")}}, base=ATTACHED))
    assert request.code is FindingCode.NO_SECRET


def test_a_membership_id_that_became_a_gke_clusters_leaves() -> None:
    gke = replace(EDGE, cluster=BLUE.name)
    request = compared({"memberships": {EDGE.name: gke}}, base=ATTACHED).requests[0]
    assert (request.code, request.kind) == (FindingCode.LEFT_FLEET, "hold")


def test_an_attached_cluster_behind_an_incomplete_list_stays() -> None:
    found = compared({"memberships": {}, "unreachable": frozenset({"global"})}, base=ATTACHED)
    assert found.requests == ()
    assert [(each.code, each.subject) for each in found.findings] == [
        (FindingCode.INCOMPLETE_LIST, "the fleet"),
        (FindingCode.INCOMPLETE_LIST, str(EDGE.name)),
    ]


def test_a_cluster_behind_an_incomplete_list_stays() -> None:
    for hidden in (
        {"listed": frozenset({"demo-fleet"})},
        {"missing_zones": {"demo-apps": frozenset({"europe-west1-b"})}},
        {"unreadable": {BLUE.name: "no status"}},
    ):
        found = compared({"clusters": {}, **hidden})
        assert found.requests == ()
        assert (FindingCode.INCOMPLETE_LIST, str(BLUE.name)) in [(each.code, each.subject) for each in found.findings]


def test_a_cluster_that_a_complete_list_lacks_is_removed() -> None:
    request = only(compared({"clusters": {}}))
    assert (request.code, request.kind, request.next.topic) == (FindingCode.NOT_LISTED, "remove", "remove-secret")
    assert request.next.request.leave == ""


def test_an_odd_state_is_reported_and_nothing_is_asked() -> None:
    gke = compared({"clusters": {BLUE.name: replace(JOINED, status="ERROR")}})
    attached = compared({"memberships": {EDGE.name: replace(EDGE, state="ODD")}}, base=ATTACHED)
    for found in (gke, attached):
        assert codes(found) == [FindingCode.UNKNOWN_STATE]
        assert found.unchanged == ()


def test_a_running_cluster_is_in_no_odd_state() -> None:
    for settings in (SETTINGS, NONE_SELECTED):
        assert FindingCode.UNKNOWN_STATE not in codes(compared(settings=settings))
        assert FindingCode.UNKNOWN_STATE not in codes(compared(settings=settings, base=ATTACHED))


def test_a_cluster_of_another_fleet_is_reported() -> None:
    found = compared({"clusters": {BLUE.name: replace(JOINED, fleet_project="demo-other", membership=None)}})
    assert codes(found) == [FindingCode.OTHER_FLEET]


def test_the_secret_of_an_unselected_cluster_is_held_by_request() -> None:
    request = only(compared(settings=NONE_SELECTED))
    assert (request.code, request.kind, request.next.request.leave) == (FindingCode.UNSELECTED, "hold", "hold")
    assert request.next.request.membership == BLUE_MEMBER.name


def test_a_hold_shorter_than_the_setting_asks_for_nothing() -> None:
    def held(age: timedelta) -> Differences:
        since = (NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ")
        annotations = {"argocd.argoproj.io/skip-reconcile": "true"}
        one = secret(held=f"not-wanted {since} skip-reconcile=ours")
        one = replace(one, annotations={**one.annotations, **annotations})
        return compared({"secrets": (one,)}, NONE_SELECTED)

    assert codes(held(SETTINGS.hold - timedelta(seconds=1))) == []
    request = only(held(SETTINGS.hold))
    assert (request.code, request.kind, request.next.request.leave) == (
        FindingCode.HELD_LONG_ENOUGH,
        "remove",
        "remove",
    )


def test_a_hold_without_its_label_is_completed_without_a_limit() -> None:
    since = (NOW - SETTINGS.hold * 2).strftime("%Y-%m-%dT%H:%M:%SZ")
    complete = secret(held=f"not-wanted {since} skip-reconcile=ours")
    labels = {key: value for key, value in complete.labels.items() if key != HELD}
    lacking = replace(complete, labels=labels)
    request = only(compared({"secrets": (lacking,)}, NONE_SELECTED))
    assert (request.code, request.kind, request.limit) == (FindingCode.HOLD_DIFFERS, "repair", None)
    patch = secret_plan.hold(lacking, "not-wanted", NOW)
    assert patch is not None
    assert patched(lacking, patch).hold == complete.hold


def test_a_pinned_secret_is_only_reported() -> None:
    cases: list[tuple[dict[str, Any], Settings]] = [({"clusters": {}}, SETTINGS), ({}, NONE_SELECTED)]
    for changes, settings in cases:
        found = compared({"secrets": (secret(keep="true"),), **changes}, settings)
        assert codes(found) == [FindingCode.PINNED]
    assert codes(compared({"secrets": (secret(keep="true"),)})) == []


def test_a_cluster_in_deletion_is_held_at_once() -> None:
    request = only(compared({"clusters": {BLUE.name: replace(JOINED, status="STOPPING")}}))
    assert (request.code, request.next.request.leave) == (FindingCode.DELETING, "")
    assert request.kind == "repair"


def test_a_secret_that_names_no_cluster_is_reported_alone() -> None:
    ours = secret()
    without = {key: value for key, value in ours.annotations.items() if key not in (CLUSTER, MEMBERSHIP)}
    for odd in (replace(ours, annotations=without), replace(ours, annotations={**ours.annotations, CLUSTER: "odd"})):
        found = compared({"secrets": (replace(odd, name="odd"), ours)})
        assert [(each.code, each.subject) for each in found.findings if each.code is FindingCode.INVALID_SECRET] == [
            (FindingCode.INVALID_SECRET, "odd")
        ]
        assert found.requests == ()


PRESENT_AND_GONE: tuple[dict[str, Any], ...] = ({}, {"clusters": {}, "memberships": {}})


def test_a_secret_that_no_step_would_find_is_reported_and_requested_by_nobody() -> None:
    for base, name in ((ALL, BLUE.name), (ATTACHED, EDGE.name)):
        [ours] = base["secrets"]
        for wrong in (None, "", "0" * 32):
            labels = {**ours.labels, hash_label(name): wrong}
            lost = replace(ours, labels={key: value for key, value in labels.items() if value is not None})
            for changes in PRESENT_AND_GONE:
                found = compared({"secrets": (lost,), **changes}, base=base)
                assert FindingCode.INVALID_SECRET in codes(found)
                assert [one.command for one in found.findings if one.code is FindingCode.INVALID_SECRET] == [
                    f"kubectl -n argocd label --overwrite secret {ours.name} {hash_label(name)}={name.hash}"
                ]
                assert (found.requests, found.unchanged) == ((), ())


def test_a_secret_without_the_label_that_the_policy_asks_for_is_reported() -> None:
    [ours] = ALL["secrets"]
    lost = replace(ours, labels={key: text for key, text in ours.labels.items() if key != MEMBERSHIP_HASH})
    found = compared({"secrets": (lost,)})
    assert [one.command for one in found.findings] == [
        f"kubectl -n argocd label --overwrite secret {ours.name} {MEMBERSHIP_HASH}={BLUE_MEMBER.name.hash}"
    ]
    assert found.requests == ()
    wrong = replace(ours, labels={**ours.labels, MEMBERSHIP_HASH: "x"})
    assert only(compared({"secrets": (wrong,)})).next.topic == "write-secret"


def test_secrets_without_a_name_or_a_server_are_not_alike() -> None:
    ours = secret()
    spoilt = replace(ours, data={**ours.data, "name": "", "server": ""})
    found = compared({"secrets": (spoilt,), "unmanaged": (ClusterSecret("empty", "u", "1"),)})
    assert FindingCode.CLASHING_SECRET not in codes(found)


def test_two_secrets_of_one_cluster_are_reported_and_untouched() -> None:
    for settings in (SETTINGS, NONE_SELECTED):
        found = compared({"secrets": (secret(), replace(secret(), name="twin"))}, settings)
        assert found.requests == ()
        assert FindingCode.DUPLICATE_SECRETS in codes(found)


def test_an_unmanaged_secret_with_our_server_or_name_is_reported() -> None:
    ours = secret()
    theirs = replace(ours, name="by-hand", labels={TYPE: "cluster"}, annotations={})
    server, name = ours.data["server"], ours.data["name"]
    for data, clashes in (
        ({"name": "x", "server": server}, True),
        ({"name": "x", "server": f"{server}/"}, True),
        ({"name": name, "server": "https://10.0.0.1"}, True),
        ({"name": "x", "server": "https://10.0.0.1"}, False),
    ):
        found = compared({"unmanaged": (replace(theirs, data=data),)})
        assert [each.subject for each in found.findings] == (["by-hand"] if clashes else [])


def test_a_server_of_ours_with_a_slash_clashes_too() -> None:
    ours = secret()
    slashed = replace(ours, data={**ours.data, "server": f"{ours.data['server']}/"})
    theirs = replace(
        ours,
        name="by-hand",
        labels={TYPE: "cluster"},
        annotations={},
        data={"name": "x", "server": ours.data["server"]},
    )
    found = compared({"secrets": (slashed,), "unmanaged": (theirs,)})
    assert FindingCode.CLASHING_SECRET in codes(found)


def test_two_secrets_with_one_server_are_reported_with_the_shared_cache() -> None:
    ours = secret()
    theirs = replace(ours, name="by-hand", labels={TYPE: "cluster"}, annotations={})
    twin = replace(ours, name="twin")
    for lists, shares in (
        ({"unmanaged": (replace(theirs, data={"name": "x", "server": ours.data["server"]}),)}, True),
        ({"unmanaged": (replace(theirs, data={**ours.data, "server": "https://10.0.0.1"}),)}, False),
        ({"secrets": (ours, twin)}, True),
        ({"secrets": (ours, replace(twin, data={**ours.data, "server": "https://10.0.0.1"}))}, False),
    ):
        [text] = [one.text for one in compared(lists).findings]
        assert ("cache of both" in text) is shares


def test_what_a_list_leaves_out_is_reported() -> None:
    found = compared(
        {
            "unread": {"demo-fleet": "403"},
            "missing_zones": {"demo-apps": frozenset({"asia-east1-a"})},
            "unreachable": frozenset({"asia-east1"}),
            "unreadable": {EDGE.name: "no state"},
        }
    )
    assert [(each.code, each.subject) for each in found.findings] == [
        (FindingCode.UNREAD_PROJECT, "projects/demo-fleet"),
        (FindingCode.INCOMPLETE_LIST, "projects/demo-apps"),
        (FindingCode.INCOMPLETE_LIST, "the fleet"),
        (FindingCode.UNREADABLE_ITEM, str(EDGE.name)),
    ]


def test_our_membership_of_a_vanished_cluster_is_removed_if_all_was_listed() -> None:
    left: dict[str, Any] = {"secrets": (), "clusters": {}}
    request = only(compared(left))
    assert (request.code, request.next.topic) == (FindingCode.ORPHANED_MEMBERSHIP, "unregister-membership")
    assert request.next.request.membership == BLUE_MEMBER.name
    outside = ClusterName("demo-other", "europe-west1", "blue")
    for members in (
        replace(BLUE_MEMBER, labels={}),
        replace(BLUE_MEMBER, cluster=outside),
        replace(BLUE_MEMBER, cluster=None, labels={}),
    ):
        found = compared({**left, "memberships": {BLUE_MEMBER.name: members}})
        assert FindingCode.ORPHANED_MEMBERSHIP not in codes(found)
    for hidden in (
        {"listed": frozenset({"demo-fleet"})},
        {"missing_zones": {"demo-apps": frozenset({"europe-west1-b"})}},
    ):
        assert FindingCode.ORPHANED_MEMBERSHIP not in codes(compared({**left, **hidden}))


def test_a_membership_with_a_secret_or_a_cluster_is_no_orphan() -> None:
    assert codes(compared({"clusters": {}})) == [FindingCode.NOT_LISTED]
    assert FindingCode.ORPHANED_MEMBERSHIP not in codes(compared({"secrets": ()}))


def test_a_cluster_that_names_another_membership_is_looked_up_there() -> None:
    other = MembershipName("demo-fleet", "europe-west1", "by-gke")
    moved = replace(JOINED, membership=other)
    found = compared({"clusters": {BLUE.name: moved}, "memberships": {other: replace(BLUE_MEMBER, name=other)}})
    assert FindingCode.NOT_REGISTERED not in codes(found)
    assert compared({"clusters": {BLUE.name: moved}}).requests[0].code is FindingCode.NOT_REGISTERED
