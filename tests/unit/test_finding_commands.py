"""A finding that a person must act on names the command, ready to paste."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.decisions.differences import differences
from shared.values.cluster_secret import CLUSTER, KEEP, MANAGED_BY_LABEL, MEMBERSHIP, ClusterSecret
from shared.values.codes import FindingCode
from shared.values.inventory import Inventory
from tests.unit.given import BLUE, BLUE_MEMBER, CENTRAL, NOW, SELECTING, SETTINGS, secret

if TYPE_CHECKING:
    from shared.values.settings import Settings

KUBECTL = "kubectl -n argocd"
OURS = secret()
MEMBERS = {BLUE_MEMBER.name: BLUE_MEMBER}


def commands(code: FindingCode, inventory: Inventory, settings: Settings = SETTINGS) -> list[str]:
    inventory = replace(inventory, listed=settings.source_projects)
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
    assert commands(FindingCode.OTHER_REGISTRAR, inventory) == [f"{KUBECTL} delete secret {OURS.name}"]


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
    for pinned, verb in ((noted, "annotate"), (labelled, "label")):
        inventory = Inventory(secrets=(pinned,), clusters=leaving, memberships=MEMBERS)
        assert commands(FindingCode.PINNED, inventory, SELECTING) == [f"{KUBECTL} {verb} secret {OURS.name} {KEEP}-"]
