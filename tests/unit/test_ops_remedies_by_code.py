"""The command that helps against each error code, and the codes that no command helps against."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ops import remedies
from ops.evidence import Access, Evidence
from ops.explanation import explain
from ops.letters import DeadLetter
from shared.decisions.reports import DOCTOR
from shared.values.cluster_secret import AGENT_LOST, SKIP_RECONCILE, ClusterSecret
from shared.values.codes import ErrorCode
from shared.values.model import Membership
from shared.values.names import ClusterName, Name
from tests.unit.given import (
    BLUE,
    BLUE_MEMBER,
    CENTRAL,
    EDGE,
    NOW,
    SETTINGS,
    as_secret,
    created,
    secret,
)
from tests.unit.surveys import seen, theirs

BINDING = f"fleet-registrar:{SETTINGS.argocd_service_account}"


def commands(code: str, name: Name = BLUE.name, found: str = "") -> list[str]:
    membership = BLUE_MEMBER.name if isinstance(name, ClusterName) else name
    return [one.command for one in remedies.remedies(code, name, membership, SETTINGS, found) if one.command]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (ErrorCode.UNMANAGED_MEMBERSHIP, "gcloud container fleet memberships describe"),
        (ErrorCode.UNMANAGED_SECRET, "kubectl -n argocd get secret demo-apps.europe-west1.blue"),
        (ErrorCode.DUPLICATE_SECRETS, "kubectl -n argocd get secrets -l"),
        (ErrorCode.UNMANAGED_BINDING, f"kubectl get clusterrolebinding {BINDING}"),
        (ErrorCode.NO_ROLE, "kubectl get clusterroles"),
        (ErrorCode.DENIED, DOCTOR),
        (ErrorCode.INVALID_SETTINGS, DOCTOR),
        (ErrorCode.NO_IDENTITY, DOCTOR),
        (ErrorCode.NO_CENTRAL_MEMBERSHIP, DOCTOR),
        (ErrorCode.UNREACHABLE, "gcloud container clusters describe blue"),
        (ErrorCode.OTHER_FLEET, "gcloud container clusters update blue"),
        (ErrorCode.NOT_ADMITTED, "gcloud container fleet memberships generate-gateway-rbac"),
    ],
)
def test_a_code_leads_to_its_command(code: str, words: str) -> None:
    assert any(one.startswith(words) for one in commands(code)), commands(code)


@pytest.mark.parametrize("code", ["", "timed_out", "conflict", "anything that a log holds"])
def test_what_time_repairs_has_no_command(code: str) -> None:
    assert commands(code) == []


def test_a_named_object_is_in_the_command_instead_of_ours() -> None:
    assert any(shlex.split(one)[-1] == "theirs" for one in commands(ErrorCode.UNMANAGED_SECRET, found="theirs"))
    assert any("clusterrolebinding theirs" in one for one in commands(ErrorCode.UNMANAGED_BINDING, found="theirs"))


def test_an_attached_cluster_has_an_agent_and_no_other_fleet() -> None:
    assert commands(ErrorCode.OTHER_FLEET, EDGE.name) == []
    assert all("container clusters" not in one for one in commands(ErrorCode.UNREACHABLE, EDGE.name))


def test_the_labels_of_an_attached_cluster_are_set_on_its_membership() -> None:
    words = shlex.split(remedies.update_labels(EDGE.name, {"b": "2", "a": "1"}))
    assert words[:5] == ["gcloud", "container", "fleet", "memberships", "update"]
    assert {"edge", "--location=global", "--project=demo-fleet", "--update-labels=a=1,b=2"} <= set(words)


def evidence(**more: Any) -> Evidence:
    given: dict[str, Any] = {"membership": BLUE_MEMBER, "cluster": BLUE, "access": Access(True)} | more
    settings_ = given.pop("settings", SETTINGS)
    survey = given.pop("survey", None) or seen(
        [given["cluster"]], secrets=given.pop("secrets", ()), unmanaged=given.pop("unmanaged", ()), settings=settings_
    )
    return Evidence(given["cluster"].name, settings_, survey, **given)


def advised(**more: Any) -> str:
    return "\n".join(explain(evidence(**more)).sections["You can"])


def shown(section: str, **more: Any) -> str:
    return "\n".join(explain(evidence(**more)).sections[section])


def test_the_central_cluster_is_never_registered() -> None:
    central = replace(BLUE, name=CENTRAL)
    assert "central cluster" in shown("Selected", cluster=central, membership=None)


def test_what_gke_says_is_wrong_is_shown() -> None:
    assert "out of addresses" in shown("State", cluster=replace(BLUE, problem="out of addresses"))


def test_a_membership_of_an_earlier_cluster_is_shown() -> None:
    earlier = replace(BLUE_MEMBER, labels={**BLUE_MEMBER.labels, "fleet-registrar-cluster-id": "b" * 40})
    assert "earlier cluster" in shown("Fleet", membership=earlier)
    unmanaged: Membership = replace(BLUE_MEMBER, labels={}, created=NOW - timedelta(days=9))
    cluster = replace(BLUE, created=NOW - timedelta(days=1))
    assert "unregister it" in shown("Fleet", membership=unmanaged, cluster=cluster)


def test_a_persons_skip_and_a_lost_agent_are_shown() -> None:
    skipped = as_secret(created(), **{SKIP_RECONCILE: "true"})
    assert "a person has set" in shown("Argo CD", secrets=(skipped,))
    lost = as_secret(created(), **{AGENT_LOST: "2026-11-24T11:00:00Z"})
    assert "2026-11-24T11:00:00Z" in shown("Argo CD", secrets=(lost,))


def test_a_secret_without_fault_has_no_advice() -> None:
    assert advised(secrets=(secret(),)) == ""


def test_label_keys_that_are_gone_at_the_source_are_shown() -> None:
    before = as_secret(created(replace(BLUE, labels={"env": "prod", "tier": "gold"})))
    assert "tier" in shown("Argo CD", secrets=(before,))


def copy_of(found: ClusterSecret, name: str) -> ClusterSecret:
    return replace(found, name=name, uid=f"uid-{name}")


def test_of_two_secrets_each_has_its_deletion() -> None:
    text = advised(secrets=(secret(), copy_of(secret(), "second")))
    assert "kubectl -n argocd delete secret second" in text
    assert f"kubectl -n argocd delete secret {secret().name}" in text


def test_a_secret_of_others_beside_ours_is_shown() -> None:
    other = theirs("theirs", argocd_name=secret().data["name"])
    assert "kubectl -n argocd get secret theirs" in advised(secrets=(secret(),), unmanaged=(other,))


def test_a_letter_of_pubsub_leads_to_the_status_of_the_functions() -> None:
    letter = DeadLetter("m1", b"{}", {"CloudPubSubDeadLetterSourceSubscription": "grant-rbac"}, NOW)
    assert remedies.STATUS in advised(letters=(letter,))


def test_a_letter_with_control_keys_is_replayed_by_itself() -> None:
    plain = DeadLetter("m1", b"{}", {"reason": "x", "step": "write-secret"}, NOW)
    strong = DeadLetter("m2", b'{"leave": "gone"}', {"reason": "x", "step": "remove-secret"}, NOW)
    text = advised(letters=(plain, strong))
    assert f"dead-letters replay {plain.id}\n" in f"{text}\n"
    assert f"dead-letters replay {strong.id} --yes" in text


def test_a_cluster_of_another_fleet_is_taken_out_of_it() -> None:
    other = replace(BLUE, fleet_project="other-fleet")
    assert "--clear-fleet-project" in advised(cluster=other, membership=None)
