"""`ops dead-letters` on letters in memory: what is asked, what leaves, and what stays when a call fails."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ops.__main__ import main
from ops.letters import DeadLetter
from shared.values.errors import RetryableError
from tests.unit.given import NOW, SETTINGS
from tests.unit.test_ops_letters import BLUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


REQUEST = b'{"cluster": "%s"}' % BLUE.encode()


class Subscription:
    """The letters of a subscription; it leases nothing."""

    def __init__(self) -> None:
        self.letters: dict[str, DeadLetter] = {}
        self.taken_out: list[str] = []
        self.published: list[str] = []
        self.is_cut = False
        self.fails = ""

    def put(self, number: int, data: bytes = REQUEST, **attributes: str) -> DeadLetter:
        given = {"topic": "write-secret", "step": "write-secret", "reason": "conflict", "cluster": BLUE} | attributes
        letter = self.letters[f"m{number}"] = DeadLetter(f"m{number}", data, given, NOW)
        return letter

    def acknowledge(self, letter: DeadLetter) -> None:
        self._call("acknowledge")
        self.taken_out.append(letter.message_id)

    def publish(self, topic: str, _data: bytes, _attributes: object) -> None:
        self._call("publish")
        self.published.append(topic)

    def _call(self, name: str) -> None:
        if self.fails == name:
            raise RetryableError("503 Unavailable")


@pytest.fixture
def subscription(monkeypatch: pytest.MonkeyPatch) -> Subscription:
    found = Subscription()

    @contextlib.contextmanager
    def opened(_services: object) -> Iterator[Subscription]:
        yield found

    services = SimpleNamespace(settings=SETTINGS, bus=found, now=lambda: NOW)
    monkeypatch.setattr("ops.dead_letters.opened", opened)
    monkeypatch.setattr("ops.dead_letters.connected", lambda: services)
    return found


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*words: str) -> tuple[int, str]:
        code = main(["dead-letters", *words])
        given = capsys.readouterr()
        return code, given.out + given.err

    return run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "kept"), [("y\n", False), ("YES\n", False), ("\n", True), ("n\n", True)])
def test_a_letter_is_discarded_after_a_yes(
    subscription: Subscription, typed: Any, monkeypatch: pytest.MonkeyPatch, answer: str, *, kept: bool
) -> None:
    letter = subscription.put(1)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert typed("drop", letter.id)[0] == int(kept)
    assert subscription.taken_out == ([] if kept else ["m1"])


def test_without_a_terminal_nothing_is_discarded(
    subscription: Subscription, typed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = subscription.put(1)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    code, text = typed("drop", letter.id)
    assert (code, subscription.taken_out) == (1, [])
    assert "--yes" in text


@pytest.mark.parametrize(
    "words",
    [
        ("drop",),
        ("drop", "a", "--all"),
        ("drop", "--all", "--json"),
        ("replay",),
        ("replay", "a", "--all"),
        ("replay", "a", "--reason", "x"),
        ("replay", "a", "b", "--body", "{}"),
    ],
)
def test_a_choice_that_is_not_clear_is_a_mistake(
    subscription: Subscription, typed: Any, words: tuple[str, ...]
) -> None:
    subscription.put(1)
    assert typed(*words)[0] == 1
    assert (subscription.taken_out, subscription.published) == ([], [])


def test_all_letters_with_a_reason_are_discarded(subscription: Subscription, typed: Any) -> None:
    subscription.put(1)
    subscription.put(2, reason="Denied")
    assert typed("drop", "--all", "--reason", "denied", "--yes")[0] == 0
    assert subscription.taken_out == ["m2"]


@pytest.mark.usefixtures("subscription")
def test_an_unknown_id_is_a_mistake(typed: Any) -> None:
    code, text = typed("drop", "00000000", "--yes")
    assert code == 1
    assert "dead-letters list" in text


@pytest.mark.parametrize("words", [("list",), ("drop", "--all", "--yes")])
def test_a_long_name_in_a_letter_does_not_flood_the_list(
    subscription: Subscription, typed: Any, words: tuple[str, ...]
) -> None:
    subscription.put(1, b'{"cluster": "%s"}' % (b"a" * 100_000), cluster="")
    code, text = typed(*words)
    assert code == 0
    assert len(text) < 2000


def test_a_letter_that_was_published_and_stays_is_named(subscription: Subscription, typed: Any) -> None:
    letter = subscription.put(1)
    subscription.fails = "acknowledge"
    code, text = typed("replay", letter.id)
    assert (code, subscription.published) == (0, ["write-secret"])
    assert "will be listed again" in text


def test_a_letter_that_could_not_be_published_stays(subscription: Subscription, typed: Any) -> None:
    letter = subscription.put(1)
    subscription.fails = "publish"
    code, text = typed("replay", letter.id)
    assert (code, subscription.taken_out) == (1, [])
    assert "is kept: " in text


def test_a_letter_with_control_keys_needs_yes(subscription: Subscription, typed: Any) -> None:
    letter = subscription.put(1, b'{"cluster": "%s", "leave": "hold"}' % BLUE.encode(), step="remove-secret")
    assert typed("replay", letter.id)[0] == 1
    assert subscription.published == []
    code, text = typed("replay", letter.id, "--yes")
    assert code == 0, text
    assert subscription.published == ["remove-secret"]


@pytest.mark.parametrize("cut", [True, False])
def test_a_list_that_was_cut_says_so(subscription: Subscription, typed: Any, *, cut: bool) -> None:
    subscription.put(1)
    subscription.is_cut = cut
    code, text = typed("list")
    assert code == 0
    assert ("There may be more" in text) is cut
