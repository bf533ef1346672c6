"""A finding that a person must act on names the command, ready to paste."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.decisions import recognition, reports, sweep_plan
from shared.decisions.differences import differences
from shared.values.cluster_secret import CLUSTER, FUNCTIONS_PROJECT, KEEP, MANAGED_BY_LABEL, MEMBERSHIP, ClusterSecret
from shared.values.codes import FindingCode
from shared.values.findings import Differences
from shared.values.inventory import Inventory
from shared.values.messages import Scope
from tests.unit.given import BLUE, BLUE_MEMBER, CENTRAL, EDGE, NOW, SELECTING, SETTINGS, secret, settings

if TYPE_CHECKING:
    from shared.values.settings import Settings

KUBECTL = "kubectl -n argocd"
OURS = secret()
MEMBERS = {BLUE_MEMBER.name: BLUE_MEMBER}


def commands(code: FindingCode, inventory: Inventory, settings: Settings = SETTINGS) -> list[str]:
    inventory = replace(inventory, listed=settings.source_projects - inventory.unread.keys())
    found = differences(inventory, settings, central=CENTRAL, now=NOW)
    return [each.command for each in found.findings if each.code is code]


def unmanaged(name: str, **data: str) -> ClusterSecret:
    labels = {key: value for key, value in OURS.labels.items() if key != MANAGED_BY_LABEL}
    return replace(OURS, name=name, uid=name, labels=labels, annotations={}, data={**OURS.data, **data})


def test_of_two_secrets_the_one_without_our_name_goes() -> None:
    copy = replace(OURS, name="a-copy", uid="2", created="2026-01-01T00:00:00Z")
    inventory = Inventory(secrets=(copy, OURS), clusters={BLUE.name: BLUE}, memberships=MEMBERS)
    assert commands(FindingCode.DUPLICATE_SECRETS, inventory) == [f"{KUBECTL} delete secret a-copy"]


def test_of_secrets_without_our_name_the_oldest_stays() -> None:
    dates = {"a": "2026-01-03T00:00:00Z", "b": "2026-01-01T00:00:00Z", "c": "2026-01-02T00:00:00Z"}
    copies = tuple(replace(OURS, name=name, uid=name, created=date) for name, date in dates.items())
    inventory = Inventory(secrets=copies, clusters={BLUE.name: BLUE}, memberships=MEMBERS)
    assert commands(FindingCode.DUPLICATE_SECRETS, inventory) == [f"{KUBECTL} delete secret c a"]


def test_invalid_secrets_of_ours() -> None:
    spoilt = replace(OURS, name="spoilt", annotations={**OURS.annotations, CLUSTER: "blue"})
    nameless = replace(OURS, name="nameless", annotations={})
    found = commands(FindingCode.INVALID_SECRET, Inventory(secrets=(spoilt, nameless)))
    assert found == [f"{KUBECTL} delete secret spoilt", f"{KUBECTL} delete secret nameless"]


def test_an_unmanaged_secret_for_the_same_cluster() -> None:
    inventory = Inventory(
        secrets=(OURS,), clusters={BLUE.name: BLUE}, memberships=MEMBERS, unmanaged=(unmanaged("by-hand"),)
    )
    assert commands(FindingCode.CLASHING_SECRET, inventory) == [f"{KUBECTL} delete secret by-hand"]


def test_an_unmanaged_secret_with_the_same_name_in_argo_cd() -> None:
    other = unmanaged("by-hand", server="https://192.0.2.1")
    inventory = Inventory(secrets=(OURS,), clusters={BLUE.name: BLUE}, memberships=MEMBERS, unmanaged=(other,))
    assert commands(FindingCode.CLASHING_SECRET, inventory) == [f"{KUBECTL} delete secret by-hand"]


def test_a_secret_of_another_instance_for_our_cluster() -> None:
    other = replace(OURS, labels={**OURS.labels, "fleet-registrar/instance": "second"})
    inventory = Inventory(clusters={BLUE.name: BLUE}, memberships=MEMBERS, unmanaged=(other,))
    assert commands(FindingCode.OTHER_REGISTRAR, inventory) == [f"{KUBECTL} get secret {OURS.name} --show-labels"]


def test_a_cluster_in_another_fleet() -> None:
    elsewhere = replace(BLUE, fleet_project="demo-other")
    command = "gcloud container clusters update blue --location=europe-west1 --project=demo-apps --clear-fleet-project"
    assert commands(FindingCode.OTHER_FLEET, Inventory(clusters={BLUE.name: elsewhere})) == [command]


def test_secrets_of_the_fleet_before_a_change_of_fleet_project() -> None:
    member = "projects/old-fleet/locations/global/memberships/blue"
    old = replace(OURS, annotations={**OURS.annotations, MEMBERSHIP: member})
    (command,) = commands(FindingCode.OTHER_FLEET, Inventory(unmanaged=(old,)))
    selector = "app.kubernetes.io/managed-by=fleet-registrar,fleet-registrar/instance=default"
    assert command.startswith(f"{KUBECTL} get secrets -l {selector} ")


def test_a_pin_is_removed_where_it_is() -> None:
    leaving = {BLUE.name: replace(BLUE, labels={})}
    noted = replace(OURS, annotations={**OURS.annotations, KEEP: "true"})
    labelled = replace(OURS, labels={**OURS.labels, KEEP: "true"})
    unpinned_before = replace(labelled, annotations={**OURS.annotations, KEEP: "false"})
    for pinned, verb in ((noted, "annotate"), (labelled, "label"), (unpinned_before, "label")):
        inventory = Inventory(secrets=(pinned,), clusters=leaving, memberships=MEMBERS)
        assert commands(FindingCode.PINNED, inventory, SELECTING) == [f"{KUBECTL} {verb} secret {OURS.name} {KEEP}-"]


GONE_MEMBER = replace(EDGE, last_connection=NOW - timedelta(hours=1))
ATTACHED = secret(None, EDGE)
SHARDED = settings(ARGOCD_SHARDS="2")
REPORTED = {
    FindingCode.WAITING_FOR_MEMBERSHIP: (Inventory(clusters={BLUE.name: BLUE}), settings(REGISTRATION="wait")),
    FindingCode.PINNED: (
        Inventory(
            secrets=(replace(OURS, labels={**OURS.labels, KEEP: "true"}),),
            clusters={BLUE.name: replace(BLUE, labels={})},
        ),
        SELECTING,
    ),
    FindingCode.UNKNOWN_STATE: (
        Inventory(
            clusters={BLUE.name: replace(BLUE, status="ERROR")},
            memberships={EDGE.name: replace(EDGE, state="BRAND_NEW")},
        ),
        SETTINGS,
    ),
    FindingCode.OTHER_FLEET: (Inventory(clusters={BLUE.name: replace(BLUE, fleet_project="demo-other")}), SETTINGS),
    FindingCode.MEMBERSHIP_NOT_READY: (
        Inventory(clusters={BLUE.name: BLUE}, memberships={BLUE_MEMBER.name: replace(BLUE_MEMBER, state="CREATING")}),
        SETTINGS,
    ),
    FindingCode.AGENT_LOST: (Inventory(memberships={EDGE.name: GONE_MEMBER}), SETTINGS),
    FindingCode.INCOMPLETE_LIST: (
        Inventory(
            secrets=(OURS, ATTACHED),
            unreachable=frozenset({EDGE.name.location}),
            missing_zones={BLUE.name.project: frozenset({BLUE.name.location})},
        ),
        SETTINGS,
    ),
    FindingCode.UNREADABLE_ITEM: (Inventory(unreadable={BLUE.name: "odd", EDGE.name: "odd"}), SETTINGS),
    FindingCode.UNREAD_PROJECT: (Inventory(unread={"demo-apps": "403"}), SETTINGS),
    FindingCode.INVALID_SECRET: (Inventory(secrets=(replace(OURS, annotations={}),)), SETTINGS),
    FindingCode.DUPLICATE_SECRETS: (Inventory(secrets=(OURS, replace(OURS, name="b", uid="2"))), SETTINGS),
    FindingCode.OTHER_CLUSTER: (
        Inventory(
            secrets=(replace(OURS, labels={**OURS.labels, KEEP: "true"}),),
            memberships={BLUE_MEMBER.name: replace(BLUE_MEMBER, cluster=replace(BLUE.name, cluster="red"))},
        ),
        SETTINGS,
    ),
    FindingCode.CLASHING_SECRET: (Inventory(secrets=(OURS,), unmanaged=(unmanaged("by-hand"),)), SETTINGS),
    FindingCode.SAME_INSTANCE: (
        Inventory(unmanaged=(replace(OURS, annotations={**OURS.annotations, FUNCTIONS_PROJECT: "other"}),)),
        SETTINGS,
    ),
    FindingCode.OTHER_REGISTRAR: (
        Inventory(
            clusters={BLUE.name: BLUE},
            memberships=MEMBERS,
            unmanaged=(replace(OURS, labels={**OURS.labels, "fleet-registrar/instance": "second"}),),
        ),
        SETTINGS,
    ),
    FindingCode.INVALID_SHARD: (Inventory(secrets=(replace(OURS, data={**OURS.data, "shard": "-1"}),)), SETTINGS),
    FindingCode.NO_SHARD: (Inventory(secrets=(OURS,)), SHARDED),
}


@pytest.mark.parametrize("code", [FindingCode.CLASHING_SECRET, FindingCode.OTHER_REGISTRAR, FindingCode.INVALID_SHARD])
def test_names_of_secrets_are_one_word_for_the_shell(code: FindingCode) -> None:
    inventory, chosen = REPORTED[code]
    secrets = tuple(replace(one, name="two words") for one in inventory.secrets)
    others = tuple(replace(one, name="two words") for one in inventory.unmanaged)
    (command,) = commands(code, replace(inventory, secrets=secrets, unmanaged=others), chosen)
    assert "two words" in shlex.split(command)


def test_the_annotating_command_quotes_the_secret() -> None:
    command = recognition.annotate_command(replace(OURS, name="two words"), SETTINGS)
    assert "two words" in shlex.split(command)


@pytest.mark.parametrize(("code", "given"), REPORTED.items())
def test_every_report_has_a_command(code: FindingCode, given: tuple[Inventory, Settings]) -> None:
    found = commands(code, *given)
    assert found
    for command in found:
        tool, *rest = shlex.split(command)
        assert tool in ("kubectl", "gcloud", "python")
        assert rest


def test_every_code_that_the_docs_call_reported_is_tested() -> None:
    table = (Path(__file__).parent.parent.parent / "docs" / "codes.md").read_text()
    reported = set(re.findall(r"^\| `(\w+)` \| reported:", table, re.MULTILINE))
    assert reported | {FindingCode.OTHER_CLUSTER} == {*REPORTED, FindingCode.STALE_RELEASE}


def test_a_stale_release_has_a_command() -> None:
    plan = sweep_plan.select(Differences((), (), (), 0, 0), SETTINGS, Scope(release="0" * 16), NOW)
    assert [finding.command for finding in plan.findings] == ["python -m ops plan"]


def test_gke_describes_a_cluster_with_its_messages() -> None:
    wanted = "--format=yaml(status,statusMessage,conditions)"
    assert shlex.split(reports.describe_command(BLUE.name))[-1] == wanted
    assert reports.describe_command(EDGE.name) == (
        "gcloud container fleet memberships describe edge --location=global --project=demo-fleet"
    )
