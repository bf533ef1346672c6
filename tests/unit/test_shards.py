"""Argo CD's shards (docs/operate.md#shards)."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions import shards
from shared.decisions.differences import differences
from shared.values.codes import FindingCode
from shared.values.inventory import Inventory
from tests.unit.given import BLUE, BLUE_MEMBER, CENTRAL, NOW, created, secret, settings

if TYPE_CHECKING:
    from shared.values.cluster_secret import ClusterSecret


def sharded(name: str, shard: str = "") -> ClusterSecret:
    """Our Secret with that name, and that shard if one is given."""
    own = secret()
    return replace(own, name=name, uid=name, data={**own.data, **({"shard": shard} if shard else {})})


def reported(*secrets: ClusterSecret, shards: str = "3") -> list[tuple[FindingCode, str]]:
    inventory = Inventory(
        secrets=secrets,
        unmanaged=(),
        memberships={BLUE_MEMBER.name: BLUE_MEMBER},
        clusters={BLUE.name: BLUE},
        listed=frozenset({"demo-apps", "demo-fleet"}),
    )
    found = differences(inventory, settings(ARGOCD_SHARDS=shards), central=CENTRAL, now=NOW).findings
    return [(one.code, one.subject) for one in found if one.code in (FindingCode.INVALID_SHARD, FindingCode.NO_SHARD)]


@given(st.lists(st.text(min_size=1), max_size=40, unique=True), st.integers(1, 9))
def test_one_after_the_other_shards_differ_by_one_at_most(names: list[str], number: int) -> None:
    counts = shards.usage([], number)
    for name in names:
        counts[shards.least_used(counts, name)] += 1
    assert max(counts.values()) - min(counts.values()) <= 1


def test_simultaneous_onboardings_spread_over_equal_shards() -> None:
    chosen = Counter(shards.least_used({0: 7, 1: 7, 2: 7}, f"cluster-{number}") for number in range(300))
    assert set(chosen) == {0, 1, 2}
    assert min(chosen.values()) > 60


def test_a_persons_number_stays_and_counts() -> None:
    theirs = [sharded("a", "0"), sharded("b", "0"), sharded("c", "9"), sharded("d"), sharded("e"), sharded("f")]
    given_out = shards.assignments(theirs, theirs, 3)
    assert [one.name for one, _ in given_out] == ["d", "e", "f"]
    assert Counter(shard for _, shard in given_out)[0] == 0
    assert shards.usage(theirs, 3) == {0: 2, 1: 0, 2: 0}


def test_a_new_secret_names_its_shard_and_changes_nothing_else() -> None:
    manifest = created()
    written = shards.with_shard(manifest, 2)
    assert base64.b64decode(written["data"].pop("shard")) == b"2"
    assert written == manifest


@pytest.mark.parametrize("shard", ["-1", "3", "x", "01", "1.0", "٣", " 1"])
def test_a_wrong_shard_is_reported(shard: str) -> None:
    assert reported(sharded("a", shard)) == [(FindingCode.INVALID_SHARD, "a")]


@pytest.mark.parametrize(("shard", "expected"), [("-1", 1), ("x", 1), ("7", 0), ("", 0)])
def test_without_the_setting_only_impossible_shards_are_reported(shard: str, expected: int) -> None:
    assert len(reported(sharded("a", shard), shards="0")) == expected


def test_secrets_without_a_shard_are_reported_in_one_line() -> None:
    assert reported(sharded("a"), sharded("b"), sharded("c", "1")) == [(FindingCode.NO_SHARD, "Argo CD")]
    assert reported(sharded("a", "0"), sharded("b", "2")) == []


def test_the_patch_is_made_from_the_very_version_that_was_read() -> None:
    one = sharded("a")
    patch = shards.shard_patch(one, 1)
    assert (patch["metadata"]["uid"], patch["metadata"]["resourceVersion"]) == (one.uid, one.resource_version)
    assert list(patch["data"]) == ["shard"]


def test_assignments_fill_up_the_shards_that_have_fewer() -> None:
    theirs = [sharded(name, "0") for name in "abc"]
    ours = [sharded(f"m{number}") for number in range(6)]
    assert Counter(shard for _, shard in shards.assignments(ours, [*theirs, *ours], 3)) == {1: 3, 2: 3}
