"""The status page: what it answers, what it escapes, what the table selects, and how large it is."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest

from ops.activity import Entry, Log
from ops.doctor.expected import Expected
from ops.doctor.findings import Unread
from ops.health import Backlog, Seen
from ops.overview import Stage
from ops.page import answer as answers
from ops.page.answer import answer
from ops.page.board import Board, Budget, as_json, build, by_cause
from ops.page.render import cluster, cluster_address, content_security_policy, page, snapshot
from ops.page.timeline import timeline
from ops.page.view import SIZES, View, parse, select
from ops.terminal import MistakeError
from shared.values.cluster_secret import INSTANCE
from shared.values.codes import ErrorCode
from shared.values.errors import RetryableError
from shared.values.names import ClusterName
from shared.values.settings import RemovalLimit
from tests.unit.deployment import EXPECTED, right
from tests.unit.given import BLUE, BLUE_MEMBER, NOW, SELECTING, SETTINGS, as_secret, created, secret, settings
from tests.unit.surveys import seen, theirs

HOSTILE = "<script>alert(1)</script>\"'&\x1b[2J\u202eevil\u2066\x85\r\n"


def entry(step: str = "grant-rbac", decision: str = "retry", **more: Any) -> Entry:
    fields = {"code": "denied", "message": "403 no", "cluster": str(BLUE.name), **more}
    return Entry(NOW - timedelta(minutes=1), step, decision, **fields)


def board(survey: Any = None, log: Log | None = None, **more: Any) -> Board:
    survey = survey or seen([BLUE], [BLUE_MEMBER], [secret()])
    delivery = right().delivery
    expected = more.pop("expected", EXPECTED)
    shown = Seen(expected, delivery, more.pop("backlogs", {}), more.pop("letters", 0), survey, NOW, log or Log())
    return build(shown, Budget(120), "me@example.com")


class Source:
    """Shows one board; an exception instead is raised."""

    def __init__(self, shown: Board | Exception) -> None:
        self.shown = shown

    def board(self) -> Board:
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown

    def evidence(self, text: str) -> Any:
        found = self.board()
        names = [row.name for row in found.rows if text in (row.name.short, str(row.name))]
        if not names:
            raise MistakeError(f"no cluster is called {text!r}")
        return found.overview.evidence(names[0])


def test_a_healthy_fleet_says_so() -> None:
    text = page(board(), View())
    assert "Everything works." in text
    assert text.count("<h1>") == 1


def test_every_problem_is_shown_with_its_command() -> None:
    text = html.unescape(
        page(board(seen([BLUE], [BLUE_MEMBER]), letters=2, backlogs={"grant-rbac": Backlog(3, 3600.0)}), View())
    )
    assert "no event or request has reached a step" in text
    assert "gcloud pubsub topics publish register-membership" in text
    assert "python -m ops dead-letters list" in text
    assert "3 messages wait" in text


def test_a_removal_limit_is_shown_once_with_plan_and_release() -> None:
    away = replace(BLUE, labels={})
    limited = replace(SELECTING, max_removals=RemovalLimit(0, percent=False))
    survey = seen([away], [BLUE_MEMBER], [as_secret(created(away))], settings=limited)
    text = html.unescape(page(board(survey), View()))
    assert text.count(f'"release":"{survey.plan.reached[0].hash}"') == 1
    assert f"hold {BLUE.name}" in text


def test_a_dead_letter_that_names_no_cluster_is_one_problem() -> None:
    log = Log(failures=(entry(decision="dead_lettered", cluster="", message="it is not JSON"),))
    [problem] = board(log=log, letters=1).problems
    assert problem.text == "1 dead letter. grant-rbac gave up a message: it is not JSON"
    assert problem.text in page(board(log=log, letters=1), View())


def test_a_letter_that_was_replayed_is_no_problem() -> None:
    log = Log(failures=(entry(decision="dead_lettered", cluster="", message="it is not JSON"),))
    assert board(log=log, letters=0).problems == ()


def test_logged_letters_are_shown_when_the_count_is_unread() -> None:
    log = Log(failures=(entry(decision="dead_lettered", cluster="", message="it is not JSON"),))
    unread, logged = board(log=log, letters=Unread("403")).problems
    assert (unread.unknown, logged.unknown) == (True, False)
    assert "it is not JSON" in logged.text


def test_an_unmanaged_secret_is_to_be_adopted() -> None:
    server = SETTINGS.gateway_url(BLUE_MEMBER.name, gke=True)
    text = page(board(seen([BLUE], [BLUE_MEMBER], unmanaged=[theirs(server=server)])), View())
    assert "python -m ops adopt" in text


def test_a_secret_of_another_registrar_is_not_to_be_adopted() -> None:
    other = replace(secret(), labels={**secret().labels, INSTANCE: "staging"})
    text = html.unescape(page(board(seen([BLUE], [BLUE_MEMBER], unmanaged=[other])), View()))
    assert "belongs to the instance 'staging'" in text
    assert "python -m ops adopt" not in text


def test_what_others_wrote_is_escaped_and_visible() -> None:
    labels = {"env": HOSTILE, HOSTILE: "x"}
    stranger = replace(BLUE, labels=labels, status=HOSTILE, version=HOSTILE)
    log = Log((entry(message=HOSTILE, cluster=HOSTILE, step="write-secret"),), (entry(message=HOSTILE),))
    shown = board(seen([stranger], [replace(BLUE_MEMBER, state=HOSTILE)], unmanaged=[theirs(HOSTILE)]), log)
    texts = [page(shown, View(q=HOSTILE, label=HOSTILE)), snapshot(shown)]
    texts += [answer("GET", "/cluster", {"name": "blue"}, Source(shown)).body]
    texts += [answer("GET", HOSTILE, {}, Source(shown)).body]
    texts += [answer("GET", "/cluster", {"name": HOSTILE}, Source(shown)).body]
    for text in texts:
        assert all(one.isprintable() or one == "\n" for one in text), [one for one in text if not one.isprintable()]
        assert text.count("<script>") == 1
        assert "alert(1)</script>" not in text
        assert "onerror=" not in text


def test_style_and_script_are_those_of_the_policy_and_nothing_is_external() -> None:
    text = page(board(), View())
    for tag in ("style", "script"):
        [content] = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in content_security_policy()
    assert not re.search(r"\bstyle=|\bon[a-z]+=|<iframe|<img|@import|url\(", text)
    assert "default-src 'none'" in content_security_policy()


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "type_"),
    [
        ("GET", "/", {}, 200, answers.HTML),
        ("HEAD", "/", {}, 200, answers.HTML),
        ("GET", "/status.json", {}, 200, answers.JSON),
        ("GET", "/healthz", {}, 200, answers.TEXT),
        ("GET", "/cluster", {"name": "blue"}, 200, answers.HTML),
        ("GET", "/cluster", {"name": "nope"}, 404, answers.HTML),
        ("GET", "/etc/passwd", {}, 404, answers.HTML),
        ("POST", "/", {}, 405, answers.TEXT),
        ("DELETE", "/cluster", {"name": "blue"}, 405, answers.TEXT),
    ],
)
def test_a_request_is_answered(method: str, path: str, query: dict[str, str], status: int, type_: str) -> None:
    found = answer(method, path, query, Source(board()))
    assert (found.status, found.type) == (status, type_)
    assert "frame-ancestors 'none'" in found.all_headers["Content-Security-Policy"]
    assert found.all_headers["Cache-Control"] == "no-store"


def test_what_cannot_be_read_is_a_503_that_says_why() -> None:
    found = answer("GET", "/", {}, Source(RetryableError("no identity", ErrorCode.NO_IDENTITY)))
    assert (found.status, "no identity" in found.body) == (503, True)


def test_the_json_is_what_the_page_shows() -> None:
    document = json.loads(answer("GET", "/status.json", {}, Source(board(seen([BLUE], [BLUE_MEMBER])))).body)
    assert document == json.loads(json.dumps(as_json(board(seen([BLUE], [BLUE_MEMBER])))))
    assert [(one["short"], one["stage"], one["problem"]) for one in document["clusters"]] == [("blue", "missing", True)]
    assert document["gateway"]["peak"] == 120


def fleet(number: int) -> Any:
    several = [
        replace(BLUE, name=ClusterName(f"team-{index % 7}", ("europe-west1", "us-east1")[index % 2], f"c{index:05}"))
        for index in range(number)
    ]
    # Of other projects than the settings': not selected, so nothing of them is a problem.
    return seen(several, [])


def test_ten_thousand_clusters_are_a_page_below_a_megabyte() -> None:
    shown = board(fleet(10_000))
    for size in SIZES:
        assert len(page(shown, View(size=size)).encode()) < 1_000_000
    assert len(snapshot(shown).encode()) < 2_000_000


def refused(number: int) -> Board:
    """So many clusters that the gateway refuses, and one whose log says something else."""
    several = [replace(BLUE, name=replace(BLUE.name, cluster=f"c{index:03}")) for index in range(number + 1)]
    failures = [
        entry(cluster=str(one.name), message=f"{one.name}: 403", code="unreachable" if index else "denied")
        for index, one in enumerate(several)
    ]
    return board(seen(several, []), Log(failures=tuple(failures)))


@pytest.mark.parametrize("render", [snapshot, lambda shown: page(shown, View())])
def test_many_clusters_with_one_cause_are_one_problem(render: Any) -> None:
    text = html.unescape(render(refused(500)))
    shown = text.partition('<h2 id="problems">')[2].partition("</section>")[0]
    assert shown.count('<li class="problem">') == 2
    assert "500 clusters" in shown
    assert "(grant-rbac: unreachable)" in shown
    assert [f"c{index:03}" in shown for index in range(6)] == [True, True, True, True, False, False]
    assert "403" in shown
    assert len(text.encode()) < 1_000_000


def test_the_snapshot_has_details_of_each_problem() -> None:
    shown = refused(500)
    [last] = [row for row in shown.rows if row.cause.endswith("denied")]
    moved = [row for row in shown.rows if row is not last] + [last]
    assert f"<h3>{last.name}</h3>" in snapshot(replace(shown, rows=tuple(moved)))


def test_few_clusters_with_one_cause_are_named_one_by_one() -> None:
    shown = page(refused(3), View()).partition("</section>")[0]
    assert shown.count('<li class="problem">') == 4


def test_many_causes_of_one_stage_are_not_mixed() -> None:
    shown = refused(4)
    groups = by_cause([row for row in shown.rows if row.stage is Stage.FAILED])
    assert [len(group) for group in groups] == [4, 1]


VIEWS: dict[str, tuple[dict[str, str], int]] = {
    "nothing": ({}, 100),
    "a word of the name": ({"q": "c00007"}, 1),
    "words, whatever their case": ({"q": "TEAM-3 us-east1"}, 7),
    "project": ({"project": "team-3"}, 14),
    "location": ({"location": "us-east1"}, 50),
    "kind": ({"kind": "attached"}, 0),
    "stage": ({"stage": "not_selected"}, 100),
    "problems": ({"stage": "problems"}, 0),
    "label": ({"label": "env=prod"}, 100),
    "label key": ({"label": "env"}, 100),
    "another label": ({"label": "env=dev"}, 0),
}


@pytest.mark.parametrize(("query", "number"), VIEWS.values(), ids=VIEWS)
def test_the_table_has_what_the_address_asks_for(query: dict[str, str], number: int) -> None:
    assert select(board(fleet(100)).rows, parse(query)).matching == number


def test_the_table_is_sorted_both_ways() -> None:
    found = board(fleet(100)).rows
    up = [str(row.name.short) for row in select(found, parse({"sort": "name"})).rows]
    down = [str(row.name.short) for row in select(found, parse({"sort": "name", "order": "desc"})).rows]
    assert up == sorted(up)
    assert down[0] == "c00099"


def test_a_page_beyond_the_last_is_the_last() -> None:
    found = select(board(fleet(120)).rows, parse({"page": "9"}))
    assert (found.pages, found.view.page, len(found.rows)) == (3, 3, 20)


@pytest.mark.parametrize("query", [{"page": "-1"}, {"page": "²"}, {"size": "7"}, {"sort": "x; drop"}, {"order": "up"}])
def test_what_an_address_cannot_mean_is_ignored(query: dict[str, str]) -> None:
    assert parse(query) == View()


def test_an_address_leads_back_to_its_view() -> None:
    view = View("a b", "p&q", "eu", "gke", "held", "k=v#", "name", descending=True, page=3, size=100)
    assert parse(dict(parse_qsl(view.address(page=3)[1:]))) == view
    assert parse(dict(parse_qsl(view.address(sort="kind")[1:]))).page == 1


def test_a_cluster_links_to_argo_cd_where_its_address_is_set() -> None:
    shown = board(expected=Expected(settings(ARGOCD_URL="https://argocd.example.com/")))
    link = f'href="https://argocd.example.com/settings/clusters/{quote(secret().data["server"], safe="")}"'
    assert link in page(shown, View())
    assert link in cluster(shown.overview.evidence(BLUE.name), shown)
    assert "/settings/clusters/" not in page(board(), View())


def test_a_cluster_address_names_it_whole() -> None:
    assert dict(parse_qsl(cluster_address(BLUE.name).partition("?")[2])) == {"name": str(BLUE.name)}


def test_a_timeline_is_in_order_and_counts_attempts() -> None:
    young = replace(BLUE, created=NOW - timedelta(minutes=5))
    shown = board(
        seen([young], [replace(BLUE_MEMBER, created=NOW - timedelta(minutes=3))]), Log((entry(attempt=7, attempts=20),))
    )
    found = timeline(shown.overview.evidence(BLUE.name))
    assert [one.what for one in found] == ["cluster created", "membership created", "grant-rbac attempt 7 of 20"]


def test_a_log_that_was_not_read_is_unknown_and_not_empty() -> None:
    shown = board(log=Log(unread="403"))
    assert any(one.unknown and "403" in one.text for one in shown.problems)
    assert "Everything works." not in page(shown, View())


def test_every_stage_has_words() -> None:
    assert all(stage.text for stage in Stage)
