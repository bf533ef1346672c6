"""Source labels made valid for Kubernetes (docs/objects.md#labels)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.values.labels import LabelKeys, is_reserved, translate, valid_key, valid_value
from shared.values.settings import SettingsError
from tests.unit.given import settings

if TYPE_CHECKING:
    from random import Random

KEY = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")

odd = st.text(alphabet=st.sampled_from("aZ9-_.:/ äß") | st.characters(), max_size=80)
google = st.text(alphabet="abz09-_", max_size=63)
sources = st.dictionaries(odd | google | st.just("goog-x"), odd | google, max_size=8)


@given(sources)
def test_the_result_is_always_valid_for_kubernetes(source: dict[str, str]) -> None:
    for key, value in translate(source).labels.items():
        assert KEY.fullmatch(key)
        assert VALUE.fullmatch(value)


@given(sources)
def test_no_two_labels_fall_into_one_unsaid(source: dict[str, str]) -> None:
    result = translate(source)
    taken = [key for key in source if not is_reserved(key)]
    assert len(result.labels) + len(result.warnings) == len(taken)
    assert not set(result.labels) & result.kept


@given(sources)
def test_what_is_valid_is_not_changed(source: dict[str, str]) -> None:
    valid = {key: value for key, value in source.items() if KEY.fullmatch(key) and VALUE.fullmatch(value)}
    expected = {key: value for key, value in valid.items() if not is_reserved(key)}
    result = translate(source).labels
    assert {key: result[key] for key in expected} == expected


@given(sources)
def test_translating_twice_changes_nothing_more(source: dict[str, str]) -> None:
    once = translate(source).labels
    assert translate(once).labels == once


@given(sources, st.randoms())
def test_the_order_of_the_source_does_not_matter(source: dict[str, str], random: Random) -> None:
    shuffled = list(source.items())
    random.shuffle(shuffled)
    assert translate(dict(shuffled)) == translate(source)


@given(sources)
@example({"-goog-x": "a", "_fleet-registrar-x": "b"})
def test_nothing_reserved_comes_out(source: dict[str, str]) -> None:
    assert not [key for key in translate(source).labels if is_reserved(key)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("prod", "prod"),
        ("prod-", "prod"),
        ("_-prod._", "prod"),
        ("example.com:apps", "example.com-apps"),
        ("a" * 64, "a" * 63),
        ("a" * 62 + "-b", "a" * 62),
        ("-", None),
        (":", None),
        ("übergroß", None),
        ("a b", None),
        ("a\n", None),
    ],
)
def test_a_value_is_repaired_where_no_letter_is_lost(text: str, expected: str | None) -> None:
    assert valid_value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("env", "env"),
        ("env_", "env"),
        ("team.example.com/env-", "team.example.com/env"),
        ("", None),
        ("_", None),
        ("größe", None),
        ("Team/env", None),
        ("/env", None),
        ("team/", None),
        ("a/b/c", None),
        ("x" * 254 + "/env", None),
    ],
)
def test_a_key_is_repaired_where_no_letter_is_lost(text: str, expected: str | None) -> None:
    assert valid_key(text) == expected


@pytest.mark.parametrize(
    ("key", "reserved"),
    [
        ("goog-managed", True),
        ("google", False),
        ("fleet-registrar/held", True),
        ("fleet-registrar-cluster-id", True),
        ("argocd.argoproj.io/secret-type", True),
        ("app.kubernetes.io/managed-by", True),
        ("kubernetes.io/x", True),
        ("k8s.io/x", True),
        ("notkubernetes.io/x", False),
        ("kubernetes.io", False),
        ("example.com/env", False),
    ],
)
def test_reserved_keys(key: str, reserved: bool) -> None:
    assert is_reserved(key) is reserved


def test_of_two_that_fall_into_one_the_unchanged_one_wins() -> None:
    result = translate({"env-": "changed", "env": "kept", "_env": "changed too"})
    assert result.labels == {"env": "kept"}
    assert len(result.warnings) == 2


def test_of_two_changed_ones_the_first_in_the_alphabet_wins() -> None:
    assert translate({"env_": "later", "env-": "first"}).labels == {"env": "first"}


def test_the_unchanged_key_wins_also_with_a_value_that_cannot_be_copied() -> None:
    result = translate({"env": "größe", "env-": "b"})
    assert (result.labels, result.kept) == ({}, frozenset({"env"}))


def test_only_the_keys_that_are_asked_for() -> None:
    keys = LabelKeys.parse("env,goog-x")
    assert translate({"env": "a", "tier": "b", "goog-x": "c"}, keys).labels == {"env": "a"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("team:example.com/team", {"example.com/team": "shop"}),
        ("cost-*", {"cost-a": "1", "cost-b": "2"}),
        ("*", {"env": "prod", "team": "shop", "cost-a": "1", "cost-b": "2", "cost": "3"}),
        ("*,team:owner", {"env": "prod", "owner": "shop", "cost-a": "1", "cost-b": "2", "cost": "3"}),
        ("cost-*,cost-a:price", {"price": "1", "cost-b": "2"}),
        ("missing", {}),
    ],
)
def test_keys_are_renamed_and_selected_by_prefix(text: str, expected: dict[str, str]) -> None:
    source = {"env": "prod", "team": "shop", "cost-a": "1", "cost-b": "2", "cost": "3", "goog-x": "4"}
    assert translate(source, LabelKeys.parse(text)).labels == expected


@pytest.mark.parametrize(
    "text",
    [
        "team:fleet-registrar/project",
        "team:argocd.argoproj.io/secret-type",
        "team:app.kubernetes.io/managed-by",
        "team:goog-x",
        "team:example.com/",
        "team:-team",
        "team:",
        ":team",
        "cost-*:price",
        "team:cost-*",
        "c*st",
        "a:x,b:x",
        "a:x,a:y",
        "a,a:x",
        ",",
    ],
)
def test_a_wrong_rename_is_an_error_of_the_settings(text: str) -> None:
    with pytest.raises(SettingsError, match="LABEL_KEYS"):
        settings(LABEL_KEYS=text)


@given(sources, st.sampled_from(["*", "*,env:example.com/env", "goog-x:example.com/x", "a*,b*"]))
def test_no_rule_lets_a_reserved_key_through(source: dict[str, str], text: str) -> None:
    result = translate(source, LabelKeys.parse(text))
    assert not [key for key in result.labels if is_reserved(key)]


def test_spaces_and_empty_parts_of_a_list_of_keys_do_not_count() -> None:
    assert LabelKeys.parse(" env , team : example.com/team ,, , cost-* ,") == LabelKeys.parse(
        "env,team:example.com/team,cost-*"
    )


@pytest.mark.parametrize(
    "text",
    [
        *("a**", "*a*", "**", " , ", "a:b:c", ":", "a:"),
        *("env;team", "env team", "env\nteam", '"env"', "[env]", "!env", "$ENV", "env=prod", "env|team", "env?"),
        *("env\u200b", "env\x00", "en v*", "{env}:team", "env\u200b:team"),
    ],
)
def test_what_is_no_list_of_keys_is_an_error_of_the_settings(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        LabelKeys.parse(text)


def test_an_empty_value_is_kept_and_one_of_signs_alone_is_not_written() -> None:
    found = translate({"env": "", "team": "---"})
    assert found.labels == {"env": ""}
    assert found.kept == {"team"}


def test_the_keys_of_the_source_are_chosen_and_not_what_becomes_of_them() -> None:
    assert translate({"team-": "a", "cost:x": "b"}, LabelKeys.parse("team,cost-x")).labels == {}
