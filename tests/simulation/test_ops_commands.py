"""The operator's commands as they are typed, on the simulated world: what they print, as text and JSON, and how they end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import ops.wait
from ops.__main__ import main
from ops.page.reading import Live
from ops.terminal import UNREAD, MistakeError
from shared.values.cluster_secret import HELD
from shared.values.errors import RetryableError
from tests.simulation.given import SECRETS
from tests.simulation.ports import CENTRAL
from tests.simulation.test_ops import BLUE, EDGE, by_hand, in_the_fleet, services
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.letters import DeadLetter

COMMANDS = ("adopt", "backfill", "dead_letters", "explain", "listing", "plan", "shards", "status", "wait")
FAST = "--rate=1000000000"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world that every command connects to. Its dead letters cannot be read."""
    world = World()
    for command in COMMANDS:
        monkeypatch.setattr(f"ops.{command}.connected", lambda: services(world))
    monkeypatch.setattr("ops.explain.peek", refused)
    return world


def refused(_services: object) -> list[DeadLetter]:
    raise RetryableError("503 Unavailable")


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Type a command; returns its exit code and what it printed: as JSON without what goes to standard error."""

    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(words)
        printed = capsys.readouterr()
        return code, printed.out if "--json" in words else printed.out + printed.err

    return run


def as_json(typed: Any, *words: str) -> tuple[int, Any]:
    code, text = typed(*words, "--json")
    return code, json.loads(text)


def break_calls(world: World, *beginnings: str) -> None:
    def fail(phase: str, call: str) -> None:
        if phase == "before" and call.startswith(beginnings):
            raise RetryableError("503 Unavailable")

    world.touch = fail


def with_shards(world: World, number: int) -> None:
    world.settings = replace(world.settings, argocd_shards=number)


# wait


def test_wait_ends_when_the_cluster_is_in_argocd(world: World, typed: Any) -> None:
    world.create(BLUE)
    world.sweep()
    assert typed("wait", "blue", "--for=onboarded") == (0, f"{BLUE} is onboarded\n")
    assert as_json(typed, "wait", str(BLUE), "--for=onboarded")[1]["done"] is True


def test_a_hold_that_cannot_be_read_is_not_onboarded(world: World, typed: Any) -> None:
    world.create(BLUE)
    world.sweep()
    world.central.objects[SECRETS, BLUE.secret_name]["metadata"]["annotations"][HELD] = "by hand"
    assert typed("wait", str(BLUE), "--for=onboarded", "--timeout=0")[0] == 2


def test_wait_for_an_offboarded_cluster_needs_no_cluster(world: World, typed: Any) -> None:
    assert typed("wait", str(EDGE), "--for=offboarded")[0] == 0


def test_wait_gives_up_when_the_time_is_over(world: World, typed: Any) -> None:
    world.create(BLUE)
    code, text = typed("wait", str(BLUE), "--for=onboarded", "--timeout=0")
    assert code == 2
    assert f"python -m ops explain {BLUE}" in text


def test_wait_names_the_error_that_it_met(world: World, typed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops.wait, "INTERVAL", 0.01)
    world.create(BLUE)
    world.sweep()
    break_calls(world, "gateway list")
    code, answer = as_json(typed, "wait", str(BLUE), "--for=onboarded", "--timeout=1")
    assert (code, answer["done"]) == (2, False)
    assert "503" in answer["error"]


# shards


def test_shards_needs_the_number_of_controllers(world: World, typed: Any) -> None:
    code, text = typed("shards")
    assert code == 1
    assert "ARGOCD_SHARDS" in text


def test_shards_shows_the_moves_and_assign_writes_them(world: World, typed: Any) -> None:
    world.create(BLUE)
    world.sweep()
    with_shards(world, 2)
    code, answer = as_json(typed, "shards")
    assert (code, answer["assigned"], len(answer["moves"])) == (2, False, 1)
    code, text = typed("shards")
    assert code == 2
    assert "python -m ops shards --assign" in text
    code, answer = as_json(typed, "shards", "--assign", FAST)
    assert (code, answer["failed"]) == (0, {})
    code, text = typed("shards")
    assert code == 0
    assert "Every Secret of this instance names its shard." in text


def test_shards_names_wrong_shards_and_secrets_of_others(world: World, typed: Any) -> None:
    world.create(BLUE)
    world.sweep()
    with_shards(world, 2)
    assert typed("shards", "--assign", FAST)[0] == 0
    by_hand(world, "https://10.0.0.1")  # shard 3 of two
    code, text = typed("shards")
    assert code == 2
    assert "wrong: by-hand" in text


def test_a_shard_that_cannot_be_written_is_a_failure(world: World, typed: Any) -> None:
    world.create(BLUE)
    world.sweep()
    with_shards(world, 2)
    break_calls(world, "gateway patch")
    code, text = typed("shards", "--assign", FAST)
    assert code == 1
    assert "failed: demo-apps.europe-west1.blue" in text
    code, answer = as_json(typed, "shards", "--assign", FAST)
    assert (code, list(answer["failed"])) == (1, ["demo-apps.europe-west1.blue"])


# adopt and backfill


def test_adopt_as_json_says_what_was_taken_over(world: World, typed: Any) -> None:
    by_hand(world, in_the_fleet(world))
    code, answer = as_json(typed, "adopt", "--dry-run")
    assert (code, answer["dryRun"], world.queue) == (0, True, [])
    code, answer = as_json(typed, "adopt", FAST)
    assert (code, answer["dryRun"]) == (0, False)
    assert world.queue


def test_an_adoption_that_fails_is_named_and_ends_with_1(world: World, typed: Any) -> None:
    by_hand(world, in_the_fleet(world))
    break_calls(world, "gateway patch")
    code, text = typed("adopt", FAST)
    assert code == 1
    assert "not taken over: by-hand" in text
    assert "Took over 0 of 1 Secret;" in text
    assert "1 Secrets taken over" not in text  # the progress counts tries
    assert as_json(typed, "adopt", FAST)[0] == 1


def test_adopt_names_what_could_not_be_read(world: World, typed: Any) -> None:
    by_hand(world, in_the_fleet(world))
    break_calls(world, "container list")
    code, text = typed("adopt", "--dry-run")
    assert code == UNREAD
    assert "skipped: projects/demo-apps, projects/demo-fleet could not be read: " in text
    code, answer = as_json(typed, "adopt", "--dry-run")
    assert (code, {*answer["unread"]} >= {"projects/demo-apps"}) == (UNREAD, True)


def test_backfill_as_json_publishes_unless_it_is_a_dry_run(world: World, typed: Any) -> None:
    world.create(BLUE)
    code, answer = as_json(typed, "backfill", "--dry-run")
    assert (code, answer["dryRun"], world.published) == (0, True, [])
    assert as_json(typed, "backfill")[0] == 0
    assert [topic for topic, *_ in world.published] == ["register-membership"]


def test_a_rate_that_the_gateway_does_not_bear_is_a_mistake(world: World, typed: Any) -> None:
    code, text = typed("backfill", FAST)
    assert code == 1
    assert "--rate" in text
    assert world.calls == []


# what could not be read


@pytest.mark.parametrize("part", ["gateway list", "gkehub list"])
def test_plan_without_the_secrets_or_the_fleet_is_unknown(world: World, typed: Any, part: str) -> None:
    world.create(BLUE)
    break_calls(world, part)
    code, text = typed("plan")
    assert code == UNREAD
    assert "503" in text


def test_explain_tells_each_part_that_could_not_be_read(world: World, typed: Any) -> None:
    world.create(BLUE)
    world.sweep()
    break_calls(world, "container get", "gkehub", "gateway get")
    code, answer = as_json(typed, "explain", "projects/elsewhere/locations/europe-west1/clusters/blue")
    assert code == UNREAD
    assert "503" in "".join(answer["sections"]["State"])
    code, answer = as_json(typed, "explain", str(BLUE))
    assert "503" in "".join(answer["sections"]["Fleet"])
    assert "503" in "".join(answer["sections"]["Dead letters"])


def test_explain_of_an_attached_cluster_says_that_the_fleet_is_unread(world: World, typed: Any) -> None:
    world.attach(EDGE)
    break_calls(world, "gkehub")
    code, answer = as_json(typed, "explain", str(EDGE))
    assert code == UNREAD
    assert "503" in "".join(answer["sections"]["State"])


def test_list_shows_clusters_and_says_that_the_log_is_unread(world: World, typed: Any) -> None:
    world.create(BLUE)
    code, answer = as_json(typed, "list")
    assert code == UNREAD
    assert {one["name"] for one in answer["clusters"]} == {str(BLUE), str(CENTRAL)}
    assert "the log" in answer["unread"]
    code, text = typed("list", "--search", "nothing")
    assert "0 clusters" in text


@pytest.mark.parametrize("command", ["list", "plan", "backfill"])
def test_a_project_that_no_sweep_reads_is_a_usage_error(world: World, typed: Any, command: str) -> None:
    world.create(BLUE)
    code, _ = typed(command, "--project", "no-such-project")
    assert code == 1


def test_status_says_what_could_not_be_read(world: World, typed: Any, tmp_path: Any) -> None:
    world.create(BLUE)
    code, answer = as_json(typed, "status")
    assert code == UNREAD
    assert answer
    page = tmp_path / "status.html"
    assert typed("status", "--html", str(page)) == (UNREAD, f"wrote {page}\n")
    assert "blue" in page.read_text()
    code, text = typed("status", "--html", str(tmp_path / "nowhere" / "status.html"))
    assert code == 1
    assert "cannot be written" in text


def test_the_status_page_reads_once_for_all_visitors(world: World) -> None:
    world.create(BLUE)
    connected = []

    def connect() -> Any:
        connected.append(1)
        return services(world)

    live = Live(connect)
    first = live.board()
    assert live.board() is first
    assert live.evidence("blue").name == BLUE
    assert len(connected) == 1
    old = Live(connect, fresh=-1.0)
    assert old.board() is not old.board()
    with pytest.raises(MistakeError):
        live.evidence("nobody")


def test_an_interrupted_command_ends_with_130(world: World, typed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("ops.plan.run", interrupted)
    code, text = typed("plan")
    assert code == 130
    assert "interrupted" in text
