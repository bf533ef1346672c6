"""`ops backfill` requests selected clusters without a Secret, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from ops.backfill import left_out, missing
from ops.plan import unread
from shared.values.codes import FindingCode
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, SETTINGS, secret
from tests.unit.surveys import seen, theirs


def test_backfill_requests_what_has_no_secret_alone() -> None:
    found = missing(seen().plan)
    assert sorted(request.subject for request in found) == sorted([str(BLUE.name), str(EDGE.name)])
    assert {request.next.topic for request in found} == {"register-membership"}


def test_backfill_leaves_differing_secrets_to_the_sweep() -> None:
    differing = seen((replace(BLUE, labels={"env": "dev"}),), (BLUE_MEMBER,), (secret(grant="view x@y.example"),))
    codes = {request.code for request in differing.plan.requests}
    assert codes == {FindingCode.GRANT_DIFFERS, FindingCode.SECRET_DIFFERS}
    assert missing(differing.plan) == []


def test_backfill_gives_no_second_secret_to_a_cluster_of_others() -> None:
    others = theirs("by-hand", "https://10.0.0.1", "gke_demo-apps_europe-west1_blue")
    assert missing(seen((BLUE,), (BLUE_MEMBER,), unmanaged=(others,)).plan) == []


def test_backfill_says_of_an_unread_project_that_it_requests_nothing_there() -> None:
    survey = seen((), (), listed=frozenset({"demo-fleet"}))
    assert [finding.code for finding in survey.plan.findings] == [FindingCode.UNREAD_PROJECT]
    (skipped,) = left_out(survey.plan, unread(survey, SETTINGS))
    assert skipped.subject == "projects/demo-apps"
    assert "requested" in skipped.text
    assert "removed" not in skipped.text
