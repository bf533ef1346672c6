"""Settings from the environment (docs/configuration.md)."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.values.errors import RetryableError
from shared.values.labels import LabelKeys
from shared.values.names import MembershipName
from shared.values.settings import MAX_SHARDS, RemovalLimit, SettingsError, load
from tests.unit.given import ENVIRONMENT, settings

REQUIRED = ("FLEET_PROJECT", "FLEET_PROJECT_NUMBER", "CENTRAL_MEMBERSHIP", "ARGOCD_SERVICE_ACCOUNT")
OPTIONAL = (
    "SOURCE_PROJECTS",
    "CENTRAL_PROJECT_NUMBER",
    "CLUSTER_SELECTOR",
    "LABEL_KEYS",
    "ARGOCD_NAMESPACE",
    "ARGOCD_CLUSTER_ROLE",
    "ARGOCD_SHARDS",
    "ARGOCD_URL",
    "PUBSUB_PROJECT",
    "MAX_REMOVALS",
    "SWEEP_REQUESTS",
    "HOLD",
    "REGISTRATION",
    "SECRETS",
    "INSTANCE",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_GKEHUB",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_CONNECTGATEWAY",
    "PUBSUB_EMULATOR_HOST",
)


def test_the_defaults() -> None:
    found = load({name: ENVIRONMENT[name] for name in REQUIRED})
    assert found.source_projects == {"demo-fleet"}
    assert found.selector.matches({})
    assert found.label_keys == LabelKeys()
    assert found.argocd_namespace == "argocd"
    assert found.argocd_cluster_role == "cluster-admin"
    assert found.argocd_shards == 0
    assert found.argocd_url == ""
    assert found.pubsub_project == "demo-fleet"
    assert found.max_removals == RemovalLimit(10, percent=True)
    assert found.sweep_requests == 200
    assert found.hold == timedelta(seconds=600)
    assert (found.registration, found.secrets) == ("create", "write")
    assert {found.container_endpoint, found.gkehub_endpoint, found.connectgateway_endpoint, found.pubsub_emulator} == {
        ""
    }
    assert found.grant == "cluster-admin argocd@demo-fleet.iam.gserviceaccount.com"


def test_empty_and_blank_count_as_not_set() -> None:
    blank = dict.fromkeys(OPTIONAL, "  ")
    assert load({**ENVIRONMENT, **blank}) == load({name: ENVIRONMENT[name] for name in REQUIRED})


def test_lists_are_split_at_commas() -> None:
    found = settings(SOURCE_PROJECTS=" demo-apps, demo-other,", LABEL_KEYS="env , tier")
    assert found.source_projects == {"demo-apps", "demo-other"}
    assert found.label_keys.names == {"env", "tier"}


def test_the_identity_is_read_in_lower_case() -> None:
    assert settings(ARGOCD_SERVICE_ACCOUNT="ArgoCD@Demo-Fleet.iam.gserviceaccount.com").grant.endswith(
        " argocd@demo-fleet.iam.gserviceaccount.com"
    )


def test_the_central_membership_may_be_named_by_the_fleets_number() -> None:
    found = settings(CENTRAL_MEMBERSHIP="//gkehub.googleapis.com/projects/100000000001/locations/global/memberships/c")
    assert str(found.central_membership) == "projects/demo-fleet/locations/global/memberships/c"


ELSEWHERE = "projects/demo-central/locations/europe-west1/memberships/central"


def test_the_central_cluster_may_be_in_another_fleet() -> None:
    found = settings(CENTRAL_MEMBERSHIP=ELSEWHERE, CENTRAL_PROJECT_NUMBER="100000000009")
    assert found.gateway_url(found.central_membership, gke=True) == (
        "https://europe-west1-connectgateway.googleapis.com/v1/projects/100000000009/locations/europe-west1"
        "/gkeMemberships/central"
    )
    own = MembershipName("demo-fleet", "global", "edge")
    assert "/projects/100000000001/" in found.gateway_url(own, gke=False)
    assert found.numbers == {"100000000001": "demo-fleet", "100000000009": "demo-central"}


def test_the_number_of_the_central_project_is_the_fleets_unless_given() -> None:
    assert settings().central_project_number == "100000000001"
    assert settings(CENTRAL_PROJECT_NUMBER="100000000001") == settings()


def test_without_a_fleet_project_no_number_of_another_is_asked_for() -> None:
    with pytest.raises(SettingsError) as raised:
        settings(FLEET_PROJECT="")
    assert [fault.split()[0] for fault in raised.value.faults] == ["FLEET_PROJECT"]


@pytest.mark.parametrize(
    ("number", "wording"),
    [
        ("", "CENTRAL_PROJECT_NUMBER is not set; example: CENTRAL_PROJECT_NUMBER="),
        ("100000000001", "CENTRAL_PROJECT_NUMBER='100000000001': CENTRAL_MEMBERSHIP is in demo-central"),
    ],
)
def test_a_central_cluster_in_another_fleet_needs_that_fleets_number(number: str, wording: str) -> None:
    with pytest.raises(SettingsError, match=wording):
        settings(CENTRAL_MEMBERSHIP=ELSEWHERE, CENTRAL_PROJECT_NUMBER=number)


def test_all_faults_are_reported_at_once_each_with_an_example() -> None:
    wrong = dict.fromkeys((*REQUIRED, *OPTIONAL), "!?,()")
    with pytest.raises(SettingsError) as caught:
        load(wrong)
    wording = str(caught.value)
    for name in (*REQUIRED, *OPTIONAL):
        assert f"{name}='!?,()': " in wording
        assert f"; example: {name}=" in wording


def test_a_missing_setting_is_named_and_can_be_set() -> None:
    with pytest.raises(SettingsError) as caught:
        load({})
    for name in REQUIRED:
        assert f"{name} is not set; example: {name}=" in str(caught.value)
    assert isinstance(caught.value, RetryableError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLEET_PROJECT", "Demo"),
        ("FLEET_PROJECT", "123456789"),
        ("FLEET_PROJECT_NUMBER", "demo-fleet"),
        ("FLEET_PROJECT_NUMBER", "١٢٣"),
        ("SOURCE_PROJECTS", "demo-apps,100000000002"),
        ("SOURCE_PROJECTS", "*"),
        ("SOURCE_PROJECTS", ","),
        ("LABEL_KEYS", ","),
        ("CLUSTER_SELECTOR", "env=prod,"),
        ("CENTRAL_MEMBERSHIP", "central"),
        ("CENTRAL_MEMBERSHIP", "projects/100000000002/locations/global/memberships/central"),
        ("CENTRAL_PROJECT_NUMBER", "demo-central"),
        ("CENTRAL_PROJECT_NUMBER", "100000000009"),
        ("ARGOCD_SERVICE_ACCOUNT", "argocd"),
        ("ARGOCD_SERVICE_ACCOUNT", "serviceAccount:argocd@demo-fleet.iam.gserviceaccount.com"),
        ("ARGOCD_NAMESPACE", "Argo CD"),
        ("ARGOCD_CLUSTER_ROLE", "a/b"),
        ("ARGOCD_SHARDS", "-1"),
        ("ARGOCD_SHARDS", "1001"),
        ("ARGOCD_SHARDS", "two"),
        ("ARGOCD_URL", "argocd.example.com"),
        ("ARGOCD_URL", "javascript:alert(1)"),
        ("ARGOCD_URL", "https://person@argocd.example.com"),
        ("ARGOCD_URL", "https://argocd.example.com/?a=b"),
        ("MAX_REMOVALS", "101%"),
        ("MAX_REMOVALS", "-1"),
        ("MAX_REMOVALS", "%"),
        ("MAX_REMOVALS", "²"),
        ("SWEEP_REQUESTS", "0"),
        ("SWEEP_REQUESTS", "1.5"),
        ("HOLD", "10m"),
        ("HOLD", "-1"),
        ("HOLD", "9" * 20),
        ("HOLD", "9" * 5000),
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER", "127.0.0.1:8081"),
        ("PUBSUB_EMULATOR_HOST", "http://127.0.0.1:8085"),
    ],
)
def test_a_wrong_value_is_a_fault_and_never_a_default(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^the settings are wrong: {name}=.*; example: {name}="):
        settings(**{name: value})


@given(st.dictionaries(st.sampled_from((*REQUIRED, *OPTIONAL)), st.text(max_size=30), max_size=5))
@example({"HOLD": "99999999999999999999"})
def test_any_environment_is_settings_or_a_settings_error(changes: dict[str, str]) -> None:
    with contextlib.suppress(SettingsError):
        load({**ENVIRONMENT, **changes})


@pytest.mark.parametrize(
    ("text", "total", "allowed"),
    [
        ("10%", 0, 0),
        ("10%", 1, 0),
        ("10%", 3, 2),
        ("10%", 4, 3),
        ("10%", 29, 3),
        ("10%", 100, 10),
        ("100%", 100, 99),
        ("0", 100, 0),
        ("5", 100, 5),
        ("500", 100, 99),
    ],
)
def test_the_allowance_is_at_least_three_of_a_percentage_and_never_all(text: str, total: int, allowed: int) -> None:
    assert settings(MAX_REMOVALS=text).max_removals.of(total) == allowed


@pytest.mark.parametrize(
    ("name", "lowest", "below"),
    [
        ("SWEEP_REQUESTS", "1", "0"),
        ("GATEWAY_REQUESTS", "0", "-1"),
        ("DELIVERY_ATTEMPTS", "5", "4"),
        ("DELIVERY_ATTEMPTS", "100", "101"),
        ("HOLD", "0", "-1"),
        ("ARGOCD_SHARDS", "0", "-1"),
        ("ARGOCD_SHARDS", str(MAX_SHARDS), str(MAX_SHARDS + 1)),
        ("MAX_REMOVALS", "100%", "101%"),
        ("MAX_REMOVALS", "7 %", "7 percent"),
        ("SECRETS", "write", "none"),
        ("SECRETS", "external", "x"),
        ("REGISTRATION", "wait", "x"),
    ],
)
def test_a_bound_itself_is_a_value_and_what_is_beyond_is_a_fault(name: str, lowest: str, below: str) -> None:
    assert settings(**{name: lowest})
    with pytest.raises(SettingsError, match=name):
        settings(**{name: below})


@pytest.mark.parametrize(
    "name", ["HOLD", "SWEEP_REQUESTS", "GATEWAY_REQUESTS", "DELIVERY_ATTEMPTS", "ARGOCD_SHARDS", "MAX_REMOVALS"]
)
@pytest.mark.parametrize(
    "digits", ["٢٠", "२०", "\uff12\uff10", "2²", "+20", "20.0", "2e1", "2_0", "0x14", '"20"', "20\u200b"]
)
def test_a_number_has_the_digits_0_to_9_alone(name: str, digits: str) -> None:
    with pytest.raises(SettingsError, match=name):
        settings(**{name: digits})


@pytest.mark.parametrize(("seconds", "hold"), [("0", 0), ("600", 600)])
def test_a_hold_is_in_seconds(seconds: str, hold: int) -> None:
    assert settings(HOLD=seconds).hold == timedelta(seconds=hold)


@pytest.mark.parametrize("number", ["1", "2", "999"])
def test_a_whole_number_is_that_number(number: str) -> None:
    found = settings(SWEEP_REQUESTS=number, ARGOCD_SHARDS=number, GATEWAY_REQUESTS=number)
    assert (found.sweep_requests, found.argocd_shards, found.gateway_requests) == (int(number),) * 3


@pytest.mark.parametrize(("total", "allowed"), [(39, 3), (40, 4), (49, 4), (50, 5)])
def test_a_percentage_is_rounded_down(total: int, allowed: int) -> None:
    assert RemovalLimit(10, percent=True).of(total) == allowed
