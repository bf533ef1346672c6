"""What a Secret gets at its creation, at the next cluster of its name, while it is held, and when access comes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.decisions import secret_facts, secret_plan
from shared.values.cluster_secret import HELD, KEEP, LABEL_KEYS, REFRESH, SKIP_RECONCILE, ClusterSecret, timestamp
from shared.values.target import target_of
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, NOW, SETTINGS, as_secret, created, patched, secret

pytestmark = pytest.mark.usefixtures("without_collection")

LATER = NOW + timedelta(hours=3)
LATER_BLUE = replace(BLUE, id="b" * 64, labels={"env": "sandbox"})
LATER_MEMBER = replace(BLUE_MEMBER, unique_id="uid-later", labels={})
IDENTIFYING = {
    "argocd.argoproj.io/secret-type",
    "app.kubernetes.io/managed-by",
    "fleet-registrar/membership-hash",
    "fleet-registrar/cluster-hash",
    "fleet-registrar/instance",
}


def plan(current: ClusterSecret, cluster: Any = BLUE, membership: Any = BLUE_MEMBER, **more: Any) -> Any:
    arguments = {"granted": True, "drop": frozenset(), "now": LATER, **more}
    return secret_plan.plan(current, target_of(cluster, membership), SETTINGS, **arguments)


def after(current: ClusterSecret, cluster: Any = BLUE, membership: Any = BLUE_MEMBER, **more: Any) -> ClusterSecret:
    return patched(current, plan(current, cluster, membership, **more).patch)


def test_new_secret_has_no_label_to_select_on() -> None:
    manifest = secret_plan.new_secret(target_of(BLUE, BLUE_MEMBER), SETTINGS, LATER)
    assert set(manifest["metadata"]["labels"]) == IDENTIFYING
    assert manifest["metadata"]["annotations"][LABEL_KEYS] == ""


def test_new_secret_notes_a_lost_agent() -> None:
    lost = replace(EDGE, last_connection=LATER - timedelta(hours=1))
    for membership, noted in ((lost, True), (replace(EDGE, last_connection=LATER), False)):
        manifest = secret_plan.new_secret(target_of(None, membership), SETTINGS, LATER)
        assert ("fleet-registrar/agent-lost" in manifest["metadata"]["annotations"]) is noted


@pytest.mark.parametrize("granted", [True, False])
def test_second_write_adds_labels_and_nothing_else(granted: bool) -> None:
    first = as_secret(secret_plan.new_secret(target_of(BLUE, BLUE_MEMBER), SETTINGS, LATER))
    patch = plan(first, granted=granted).patch
    facts = {key for key, value in secret_facts.fact_labels(target_of(BLUE, BLUE_MEMBER)).items() if value is not None}
    assert set(patch["metadata"]["labels"]) == {"env", *facts}
    assert patch["metadata"]["annotations"] == {LABEL_KEYS: "env"}
    assert "data" not in patch
    assert plan(patched(first, patch), granted=granted).patch is None


def test_recreated_cluster_gets_no_label_of_the_earlier() -> None:
    current = secret(replace(BLUE, labels={"env": "prod", "payments": "yes"}), keep="true", held="spoilt")
    current = replace(
        current,
        labels={**current.labels, "team": "by-hand"},
        annotations={**current.annotations, "note": "by hand", SKIP_RECONCILE: "true", KEEP: "true"},
        data={**current.data, "project": "team-a", "shard": "2"},
    )
    found = after(current, LATER_BLUE, LATER_MEMBER)
    fresh = ClusterSecret.read({**created(LATER_BLUE, LATER_MEMBER), "metadata": _meta(LATER_BLUE, LATER_MEMBER)})
    assert found.labels == fresh.labels
    assert found.annotations == {**fresh.annotations, REFRESH: timestamp(LATER)}
    assert found.data == current.data


def _meta(cluster: Any, membership: Any) -> Any:
    return {**created(cluster, membership)["metadata"], "uid": "u", "resourceVersion": "1"}


def test_labels_of_the_earlier_wait_for_the_proof() -> None:
    found = plan(secret(), LATER_BLUE, LATER_MEMBER, granted=False)
    assert (found.patch, found.needs_grant, found.gone) == (None, True, frozenset())


def test_same_cluster_keeps_what_people_added() -> None:
    current = secret(membership_uid="uid-earlier")
    current = replace(current, labels={**current.labels, "team": "by-hand"})
    found = after(current)
    assert found.labels["team"] == "by-hand"


def test_attached_cluster_registered_again_keeps_what_people_added() -> None:
    current = secret(None, EDGE)
    current = replace(current, labels={**current.labels, "team": "by-hand"})
    found = after(current, None, replace(EDGE, unique_id="uid-later", last_connection=LATER))
    assert found.labels["team"] == "by-hand"
    assert found.annotations[REFRESH] == timestamp(LATER)


def test_refresh_once_for_another_membership_uid() -> None:
    found = after(secret(membership_uid="uid-earlier"))
    assert found.annotations[REFRESH] == timestamp(LATER)
    assert plan(found, now=LATER + timedelta(hours=1)).patch is None


def test_refresh_once_for_access_granted_again() -> None:
    current = replace(secret(), created=timestamp(NOW))
    proven = LATER - timedelta(seconds=5)
    found = after(current, renewed=proven)
    assert found.annotations[REFRESH] == timestamp(proven)
    assert plan(found, renewed=proven, now=LATER + timedelta(minutes=9)).patch is None


@pytest.mark.parametrize("younger", [0, 5])
def test_no_refresh_for_a_secret_as_young_as_the_proof(younger: int) -> None:
    current = replace(secret(), created=timestamp(LATER))
    assert plan(current, renewed=LATER - timedelta(seconds=younger)).patch is None


def test_labels_of_an_earlier_cluster_are_no_lost_labels() -> None:
    """They go at once, with the proof: no sweep has to drop them, and no limit counts them."""
    later = replace(BLUE, id="b" * 64, labels={})
    found = plan(secret(), later)
    assert found.gone == frozenset()


def test_no_refresh_without_the_proof() -> None:
    assert plan(secret(), granted=False, renewed=LATER).patch is None


def test_hold_shows_as_a_label_and_goes_with_it() -> None:
    held = patched(secret(), secret_plan.hold(secret(), "not-wanted", NOW) or {})
    assert held.labels[HELD] == "not-wanted"
    assert secret_plan.hold(held, "not-wanted", LATER) is None
    other = patched(held, secret_plan.hold(held, "going", LATER) or {})
    assert other.labels[HELD] == "going"
    released = patched(other, secret_plan.release(other) or {})
    assert HELD not in {*released.labels, *released.annotations}
    granted = after(held)
    assert HELD not in {*granted.labels, *granted.annotations}


@pytest.mark.parametrize(("before", "kept"), [({}, "going"), ({HELD: "not-wanted"}, "going")])
def test_label_of_a_hold_is_repaired(before: dict[str, str], kept: str) -> None:
    held = patched(secret(), secret_plan.hold(secret(), "going", NOW) or {})
    spoilt = replace(held, labels={key: value for key, value in held.labels.items() if key != HELD} | before)
    assert after(spoilt, granted=False).labels[HELD] == kept
    assert patched(spoilt, secret_plan.hold(spoilt, "going", LATER) or {}).annotations[HELD] == held.annotations[HELD]


def test_label_of_no_hold_is_removed() -> None:
    current = replace(secret(), labels={**secret().labels, HELD: "going"})
    assert HELD not in after(current, granted=False).labels


@pytest.mark.parametrize("config", ["", "{", "[]", "null", "[" * 100_000])
def test_repair_of_an_unreadable_config_names_the_restart(config: str) -> None:
    found = plan(replace(secret(), data={**secret().data, "config": config}))
    assert found.patch["data"].keys() == {"config"}
    assert found.warnings == (secret_plan.UNREADABLE_CONFIG,)


def test_repair_of_a_readable_config_needs_no_restart() -> None:
    found = plan(replace(secret(), data={**secret().data, "config": '{"username":"x"}'}))
    assert found.patch["data"].keys() == {"config"}
    assert found.warnings == ()
