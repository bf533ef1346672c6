"""The cluster Secret: which labels are copied, changed and dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.given import (
    BLUE,
    patched,
    secret,
    settings,
)
from tests.unit.secret_plans import labelled, plan

if TYPE_CHECKING:
    from shared.values.cluster_secret import ClusterSecret
    from shared.values.model import Cluster


def after(current: ClusterSecret, cluster: Cluster, **arguments: Any) -> tuple[dict[str, str], str]:
    """The source's labels on the Secret, and our list of keys, once the plan has been carried out."""
    found = plan(current, cluster, **arguments)
    now = patched(current, found.patch) if found.patch else current
    own = {key: value for key, value in now.labels.items() if "/" not in key}
    return own, now.annotations["fleet-registrar/label-keys"]


def test_new_and_changed_labels_go_through_at_once() -> None:
    assert after(secret(), labelled(env="dev", tier="a")) == ({"env": "dev", "tier": "a"}, "env,tier")


def test_a_label_that_is_gone_at_the_source_stays_until_a_sweep_drops_it() -> None:
    assert after(secret(), labelled()) == ({"env": "prod"}, "env")
    assert after(secret(), labelled(), drop=("env",)) == ({}, "")


def test_a_dropped_label_goes_with_any_last_writer() -> None:
    current = secret()
    current = replace(current, labels={**current.labels, "env": "a person's"})
    assert after(current, labelled(), drop=("env",)) == ({}, "")


def test_a_label_is_dropped_only_if_it_is_gone_in_our_own_read() -> None:
    assert after(secret(), BLUE, drop=("env", "other")) == ({"env": "prod"}, "env")


def test_a_label_that_we_did_not_write_is_never_dropped() -> None:
    current = secret()
    current = replace(current, labels={**current.labels, "theirs": "1"})
    assert after(current, BLUE, drop=("theirs",)) == ({"env": "prod", "theirs": "1"}, "env")


def test_a_persons_value_under_a_key_that_is_not_listed_stays() -> None:
    current = secret(labelled())
    current = replace(current, labels={**current.labels, "env": "theirs"})
    assert after(current, BLUE) == ({"env": "theirs"}, "")


def test_a_persons_label_of_the_same_value_becomes_ours() -> None:
    current = secret(labelled())
    current = replace(current, labels={**current.labels, "env": "prod"})
    assert after(current, BLUE) == ({"env": "prod"}, "env")


def test_what_a_person_changed_or_took_away_under_our_key_comes_back() -> None:
    current = secret()
    assert after(replace(current, labels={**current.labels, "env": "x"}), BLUE) == ({"env": "prod"}, "env")
    without = {key: value for key, value in current.labels.items() if key != "env"}
    assert after(replace(current, labels=without), BLUE) == ({"env": "prod"}, "env")


def test_of_a_value_that_cannot_be_copied_the_old_one_stays_with_a_warning() -> None:
    assert after(secret(), labelled(env="größe"), drop=("env",)) == ({"env": "prod"}, "env")
    assert plan(secret(), labelled(env="größe")).warnings


def test_keys_left_out_by_the_settings_are_gone() -> None:
    under = settings(LABEL_KEYS="tier")
    assert after(secret(), BLUE, under=under) == ({"env": "prod"}, "env")
    assert after(secret(), BLUE, under=under, drop=("env",)) == ({}, "")


@pytest.mark.parametrize("key", ["fleet-registrar/kind", "app.kubernetes.io/managed-by"])
def test_our_marks_are_never_dropped_or_taken_over(key: str) -> None:
    current = secret(label_keys=f"env,{key}")
    found = plan(current, BLUE, drop=(key,))
    now = patched(current, found.patch) if found.patch else current
    assert now.labels[key] == current.labels[key]
    assert plan(replace(current, labels={**current.labels, key: "x"})).patch is not None
