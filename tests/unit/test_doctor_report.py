"""The report of doctor: exit codes, lines, the canary's verdict, what refusals mean, and the push configuration of a step."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops import pause
from ops.activity import parse_time as timestamp
from ops.doctor import canary
from ops.doctor.api import RefusedError, attempt, refusal
from ops.doctor.codes import Code
from ops.doctor.diagnosis import diagnose
from ops.doctor.expected import Expected
from ops.doctor.findings import Check, Finding, Status, Unread, as_json, as_text, exit_code
from ops.doctor.reading_cluster import right_secret
from ops.terminal import MistakeError
from shared.values.names import ClusterName, MembershipName, Name
from tests.unit import given
from tests.unit.deployment import EXPECTED, right, uri
from tests.unit.surveys import seen

DOCTOR = Path(__file__).parents[2] / "docs" / "doctor.md"
PASSED = Finding("apis", Status.PASS, "", "25 enabled")
WARNED = Finding("sweep", Status.WARN, "sweep", "is PAUSED", "gcloud scheduler jobs resume sweep", Code.JOB_PAUSED)
FAILED = Finding("topics", Status.FAIL, "sweep", "does not exist", "gcloud pubsub topics create sweep", "topic_missing")
UNKNOWN = Finding("sinks", Status.UNKNOWN, "p", "403", "", Code.UNREAD)


@pytest.mark.parametrize(
    ("found", "code"),
    [((PASSED,), 0), ((PASSED, WARNED), 2), ((PASSED, UNKNOWN), 2), ((WARNED, FAILED, UNKNOWN), 1), ((), 0)],
)
def test_exit_code_is_of_the_worst_finding(found: tuple[Finding, ...], code: int) -> None:
    assert exit_code(found) == code
    assert as_json(found, 1.0)["exitCode"] == code


def test_report_has_one_line_a_finding_and_its_fix_below() -> None:
    lines = as_text([PASSED, FAILED], 1.24).splitlines()
    assert [line.split()[0] for line in lines] == ["pass", "fail", "fix:", "2"]
    assert lines[2].endswith("fix: gcloud pubsub topics create sweep")
    assert lines[3] == "2 checks in 1.2 s: 1 pass, 1 fail."


def test_a_read_that_several_checks_lack_is_explained_once() -> None:
    why, fix = "reading the lists: 503", "gcloud container fleet memberships generate-gateway-rbac --help"
    lacking = [Finding(check, Status.UNKNOWN, check[0], why, fix, Code.UNREAD) for check in ("a", "b", "c")]
    other = Finding("d", Status.UNKNOWN, "d", "reading quotas: 403", fix, Code.UNREAD)
    document = as_text([*lacking, other], 1.0)
    assert document.count(why) == 1
    assert document.count("see a") == 2
    assert document.index(why) < document.index("see a")
    assert document.count("fix: ") == 2
    assert [one["message"] for one in as_json(lacking, 1.0)["findings"]] == [why] * 3


def test_a_fix_stays_above_a_finding_that_refers_to_another_check() -> None:
    fix = "gcloud auth login"
    given = [("a", "403"), ("b", "503"), ("b", "403")]
    lines = as_text(
        [Finding(check, Status.UNKNOWN, "", why, fix, Code.UNREAD) for check, why in given], 1.0
    ).splitlines()
    assert [line.split()[0] for line in lines] == ["unknown", "fix:", "unknown", "fix:", "unknown", "2"]


def test_one_fix_for_several_findings_of_a_check_is_shown_once() -> None:
    another = Finding("topics", Status.FAIL, "x", "does not exist", "another", "topic_missing")
    lines = as_text([FAILED, FAILED, another], 1.0).splitlines()
    assert [line.split()[0] for line in lines] == ["fail", "fail", "fix:", "fail", "fix:", "1"]


def test_message_of_an_api_cannot_move_the_cursor() -> None:
    document = as_text([Finding("c", Status.FAIL, "s", "a\x1b[2Jb\nc", "")], 0)
    assert "\x1b" not in document
    assert len(document.splitlines()) == 2


def test_report_as_json_is_whole() -> None:
    document = json.loads(json.dumps(as_json([PASSED, WARNED], 1.0)))
    assert document["counts"] == {"pass": 1, "warn": 1, "fail": 0, "unknown": 0}
    assert document["findings"][1]["code"] == "schedule_paused"
    assert document["findings"][1].keys() == {"check", "status", "subject", "message", "fix", "code"}


def test_failed_reads_of_a_check_are_one_line() -> None:
    check = Check("permissions")
    for project in ("a", "b", "c"):
        check.known(Unread(f"403 for {project}"), project)
    [found] = check.end("", "passed")
    assert found.status is Status.UNKNOWN
    assert found.message == "403 for a (and 2 more reads failed)"


def test_failures_of_a_check_are_a_line_each() -> None:
    check = Check("apis")
    check.fail(Code.API_DISABLED, "a", "not enabled", "gcloud")
    check.fail(Code.API_DISABLED, "b", "not enabled", "gcloud")
    check.known(Unread("403"), "c")
    assert [one.status for one in check.end("", "")] == [Status.FAIL, Status.FAIL, Status.UNKNOWN]


# The canary


def entry(step: str, decision: str, *following: str, second: int = 0, **more: Any) -> dict[str, Any]:
    payload = {"step": step, "decision": decision, "code": "selected", "message": "text", "next": [*following], **more}
    return {"timestamp": f"2026-11-24T12:00:{second:02}.5Z", "jsonPayload": payload}


CHAIN = [
    entry("register-membership", "unchanged", "grant-rbac"),
    entry("grant-rbac", "unchanged", "write-secret", second=1),
]


def judged(*entries: dict[str, Any]) -> Finding:
    [found] = canary.verdict("blue", canary.lines_of(entries), "demo-fleet", "doctor canary 1")
    return found


def test_canary_that_changes_nothing_passes() -> None:
    found = judged(*CHAIN, entry("write-secret", "unchanged", second=2))
    assert found.status is Status.PASS
    assert "2.0 s" in found.message


def test_canary_ends_with_the_end_topic() -> None:
    assert judged(*CHAIN, entry("write-secret", "updated", "cluster-events")).status is Status.PASS


def test_canary_that_is_dead_lettered_fails_with_the_reason() -> None:
    found = judged(*CHAIN, entry("write-secret", "dead_lettered", message="unmanaged Secret"))
    assert (found.status, found.code) == (Status.FAIL, Code.CANARY_FAILED)
    assert "unmanaged Secret" in found.message


@pytest.mark.parametrize(
    "name",
    [
        ClusterName("demo-fleet", "europe-west1", "bleu"),
        ClusterName("demo-typo", "europe-west1", "blue"),
        MembershipName("demo-fleet", "global", "egde"),
    ],
    ids=str,
)
def test_canary_of_a_cluster_that_does_not_exist_is_a_mistake(name: Name) -> None:
    with pytest.raises(MistakeError, match=name.project):
        canary.check(name, seen(), given.SETTINGS)


def test_canary_of_an_unread_cluster_is_no_mistake() -> None:
    canary.check(ClusterName("demo-apps", "europe-west1", "new"), seen(listed=frozenset()), given.SETTINGS)
    canary.check(MembershipName("demo-fleet", "global", "new"), replace(seen(), fleet_unread="503"), given.SETTINGS)


@pytest.mark.parametrize("entries", [[], CHAIN[:1], [entry("register-membership", "retry")]])
def test_canary_without_an_end_is_late(entries: list[dict[str, Any]]) -> None:
    found = judged(*entries)
    assert (found.status, found.code) == (Status.WARN, Code.CANARY_LATE)
    assert found.fix.startswith("gcloud logging read")


def test_canary_that_retried_and_succeeded_passes() -> None:
    retried = entry("grant-rbac", "retry")
    assert judged(CHAIN[0], retried, CHAIN[1], entry("write-secret", "unchanged")).status is Status.PASS


def test_canary_tells_a_step_before_what_it_led_to() -> None:
    last = entry("write-secret", "unchanged")
    overtaking = canary.lines_of([CHAIN[0], last, CHAIN[1]])
    assert [one.step for one in overtaking] == ["register-membership", "grant-rbac", "write-secret"]
    assert canary.is_whole(overtaking)
    assert not canary.is_whole(canary.lines_of([CHAIN[0], last]))
    assert not canary.is_whole(canary.lines_of(CHAIN))


def test_log_entries_without_a_decision_are_left_out() -> None:
    assert canary.lines_of([{"textPayload": "started"}, {"jsonPayload": {"message": "x"}}]) == []


# What an API refuses


def refused(error: RefusedError) -> Unread:
    def read() -> str:
        raise error

    found = attempt(read, "user:you@example.com")
    assert isinstance(found, Unread)
    return found


def test_disabled_api_is_unread_with_its_command() -> None:
    detail = {
        "reason": "SERVICE_DISABLED",
        "metadata": {"service": "eventarc.googleapis.com", "consumer": "projects/demo-fleet"},
    }
    answer = {"error": {"message": "Eventarc API has not been used", "details": [detail]}}
    found = refused(refusal("eventarc v1/projects/demo-fleet/locations/-/triggers", 403, answer))
    assert found.fix == "gcloud services enable eventarc.googleapis.com --project=demo-fleet"
    assert not found.denied


@pytest.mark.parametrize(
    ("what", "role"),
    [
        ("cloudresourcemanager v1/projects/team-a:getIamPolicy", "roles/iam.securityReviewer"),
        ("eventarc v1/projects/team-a/locations/-/triggers", "roles/viewer"),
    ],
)
def test_refused_read_is_unknown_with_the_grant(what: str, role: str) -> None:
    found = refused(refusal(what, 403, {"error": {"message": "denied"}}))
    assert found.denied
    assert found.fix == (f"gcloud projects add-iam-policy-binding team-a --member=user:you@example.com --role={role}")


def test_outage_is_unread_and_not_denied() -> None:
    found = refused(refusal("pubsub v1/projects/a/topics", 503, {"message": "unavailable"}))
    assert not found.denied
    assert "503" in found.why


@pytest.mark.parametrize("text", ["2026-11-24T12:00:00Z", "2026-11-24T12:00:00.000Z", "2026-11-24T12:00:00.000000001Z"])
def test_times_of_apis_are_read_with_any_precision(text: str) -> None:
    assert timestamp(text) == given.NOW


def test_an_invalid_time_is_no_time() -> None:
    assert timestamp("yesterday") is None
    assert timestamp(None) is None


@pytest.mark.parametrize("is_gke", [True, False])
def test_tried_secret_is_one_that_write_secret_makes(is_gke: bool) -> None:
    made = right_secret(EXPECTED, is_gke=is_gke)
    assert made["type"] == "Opaque"
    assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "fleet-registrar"
    assert set(made["data"]) == {"server", "config", "name"}


# Pause and resume


def test_resume_restores_endpoint_account_and_audience() -> None:
    restored = pause.push_config(uri("write-secret"), Expected(given.SETTINGS))
    assert restored == {
        "pushEndpoint": uri("write-secret"),
        "oidcToken": {
            "serviceAccountEmail": "fleet-registrar-push@demo-fleet.iam.gserviceaccount.com",
            "audience": uri("write-secret"),
        },
    }


def test_audience_that_is_left_out_is_the_endpoint() -> None:
    one = pause.push_config("https://x", EXPECTED)
    other = {"pushEndpoint": "https://x/", "oidcToken": {"serviceAccountEmail": EXPECTED.push_account}}
    assert pause.is_same(one, other)
    assert not pause.is_same(one, {"pushEndpoint": "https://x"})


def test_command_that_restores_another_configuration_is_whole() -> None:
    token = {"serviceAccountEmail": "p@example.com", "audience": "https://a"}
    document = pause.restore("demo-fleet", "sweep", {"pushEndpoint": "https://x", "oidcToken": token})
    assert document == (
        "gcloud pubsub subscriptions modify-push-config sweep --project=demo-fleet --push-endpoint=https://x"
        " --push-auth-service-account=p@example.com --push-auth-token-audience=https://a"
    )


# The documentation


def test_documentation_lists_every_check_and_every_code() -> None:
    rows = [line.split("|") for line in DOCTOR.read_text().splitlines() if line.startswith("| `")]
    codes = {code for row in rows for code in re.findall(r"`([a-z_]+)`", row[3] if len(row) > 4 else "")}
    assert codes == {str(code) for code in Code} - {Code.UNREAD}
    checks = {found.check for found in diagnose(EXPECTED, right(), given.NOW)}
    assert {row[1].strip(" `") for row in rows if len(row) > 4} == checks | {"canary"}
