"""The operator's replay and drop of dead letters: a letter leaves only once its message has been published."""

from __future__ import annotations

import argparse
import itertools
import json
import os
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ops import dead_letter_subscription, dead_letters
from ops.dead_letter_subscription import DeadLetterSubscription, opened, peek
from shared.runtime.services import Services
from tests.unit.given import BLUE, settings

if TYPE_CHECKING:
    from ops.dead_letters import Replay
    from tests.contract.pubsub.sides import Side

BODY = json.dumps({"cluster": str(BLUE.name)}).encode()
OURS = {"step": "write-secret", "topic": "write-secret", "code": "denied", "reason": "403", "cause": "a test"}
OPTIONS = argparse.Namespace(dry_run=False, yes=False)
NUMBERS = itertools.count(1)


@dataclass
class Letters:
    """A project of its own, with the subscription `dead-letters` and the topic of `write-secret`."""

    side: Side
    services: Services

    def path(self, kind: str, name: str) -> str:
        return f"projects/{self.services.settings.pubsub_project}/{kind}/{name}"

    def write(self, data: bytes = BODY, **attributes: str) -> None:
        self.services.bus.publish("dead-letters", data, {**OURS, **attributes})

    def replayed(self, body: bytes | None = None, **options: bool) -> list[Replay]:
        chosen = argparse.Namespace(**{**vars(OPTIONS), **options})
        with opened(self.services) as subscription:
            found = [*subscription.letters.values()]
            return [dead_letters._replay(letter, subscription, self.services, body, chosen) for letter in found]

    def received(self, name: str = "write-secret") -> list[tuple[bytes, dict[str, str]]]:
        """What a subscription holds now. Nothing is taken out."""
        path = self.path("subscriptions", name)
        found = self.side.subscriber.pull(subscription=path, max_messages=10, return_immediately=True).received_messages
        if found:
            ids = [each.ack_id for each in found]
            self.side.subscriber.modify_ack_deadline(subscription=path, ack_ids=ids, ack_deadline_seconds=0)
        return [(each.message.data, dict(each.message.attributes)) for each in found]

    @property
    def left(self) -> int:
        return len(self.received("dead-letters"))


@pytest.fixture
def cloud(embedded: Side, monkeypatch: pytest.MonkeyPatch) -> Letters:
    # The first pull returns as soon as there is a letter; those after it find none.
    monkeypatch.setattr(dead_letter_subscription, "EMPTY_SECONDS", (30.0, 0.05))
    transport: Any = embedded.publisher.transport
    project = f"letters-{os.getpid()}-{next(NUMBERS)}"
    found = Letters(embedded, Services(settings(PUBSUB_PROJECT=project, PUBSUB_EMULATOR_HOST=transport._host)))
    for name in ("dead-letters", "write-secret"):
        topic = found.path("topics", name)
        embedded.publisher.create_topic(name=topic)
        embedded.subscriber.create_subscription(name=found.path("subscriptions", name), topic=topic)
    return found


def test_a_replayed_letter_goes_to_its_step_and_leaves(cloud: Letters) -> None:
    cloud.write()
    [one] = cloud.replayed()
    assert (one.topic, one.kept, one.listed_again) == ("write-secret", "", "")
    [(data, attributes)] = cloud.received()
    assert (data, attributes["cause"]) == (BODY, "a test")
    assert "reason" not in attributes
    assert cloud.left == 0


def test_an_object_is_published_as_compact_json(cloud: Letters) -> None:
    cloud.services.bus.publish_object("write-secret", {"cluster": "a", "new": True}, {"cause": "x"})
    assert cloud.received() == [(b'{"cluster":"a","new":true}', {"cause": "x"})]


def test_a_letter_that_cannot_be_published_stays(cloud: Letters) -> None:
    """Here its topic does not exist."""
    cloud.write(step="revoke-rbac")
    [one] = cloud.replayed()
    assert one.kept
    assert cloud.left == 1


def test_a_letter_is_published_before_it_is_taken_out(cloud: Letters) -> None:
    cloud.write()
    with opened(cloud.services) as subscription:
        [letter] = subscription.letters.values()
        subscription.path = cloud.path("subscriptions", "missing")
        with pytest.raises(Exception, match="no subscription"):
            dead_letters._replay(letter, subscription, cloud.services, None, OPTIONS)
        subscription.path = cloud.path("subscriptions", "dead-letters")
    assert len(cloud.received()) == 1


@pytest.mark.parametrize(("yes", "stays"), [(False, 1), (True, 0)])
def test_control_keys_are_replayed_with_yes_only(cloud: Letters, yes: bool, stays: int) -> None:
    """docs/threat-model.md: they request more than a reconciliation."""
    cloud.write(json.dumps({"cluster": str(BLUE.name), "granted": "x"}).encode())
    [one] = cloud.replayed(yes=yes)
    assert one.control_keys == ("granted",)
    assert bool(one.kept) is not yes
    assert len(cloud.received()) == 1 - stays
    assert cloud.left == stays


def test_a_dry_run_publishes_nothing_and_keeps_the_letter(cloud: Letters) -> None:
    cloud.write()
    [one] = cloud.replayed(dry_run=True)
    assert (one.topic, one.kept) == ("write-secret", "")
    assert cloud.received() == []
    assert cloud.left == 1


def test_a_body_that_no_step_takes_is_kept_until_it_is_repaired(cloud: Letters) -> None:
    cloud.write(b"no JSON")
    [one] = cloud.replayed()
    assert one.kept
    [again] = cloud.replayed(BODY)
    assert not again.kept
    assert [data for data, _ in cloud.received()] == [BODY]
    assert cloud.left == 0


def test_listed_letters_are_there_for_the_next_operator(cloud: Letters) -> None:
    """Listing leases the letters, and the lease ends with the command."""
    for number in range(3):
        cloud.write(number=str(number))
    assert [len(peek(cloud.services)) for _ in range(2)] == [3, 3]
    with opened(cloud.services):
        assert cloud.left == 0
    assert cloud.left == 3


def test_a_leased_letter_is_not_delivered_again_meanwhile(cloud: Letters) -> None:
    cloud.write()
    with opened(cloud.services) as subscription:
        calls: list[tuple[int, int]] = []
        client = subscription._client
        spy = SimpleNamespace(
            modify_ack_deadline=lambda **k: calls.append((len(k["ack_ids"]), k["ack_deadline_seconds"]))
        )
        subscription._client = spy
        subscription._modify_ack_deadline(["x"] * 1001, dead_letter_subscription.LEASE_SECONDS)
        subscription._client = client
    assert calls == [(500, 300), (500, 300), (1, 300)]


def test_no_more_letters_are_pulled_than_one_command_shows(cloud: Letters, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        cloud.write(number=str(number))
    monkeypatch.setattr(dead_letter_subscription, "MAX_LETTERS", 2)
    monkeypatch.setattr(dead_letter_subscription, "PULL_BATCH", 1)
    monkeypatch.setattr(dead_letter_subscription, "EMPTY_SECONDS", (30.0, 30.0))  # each of two pulls finds a letter
    with opened(cloud.services) as subscription:
        assert (len(subscription.letters), subscription.is_cut) == (2, True)
    monkeypatch.undo()
    monkeypatch.setattr(dead_letter_subscription, "EMPTY_SECONDS", (30.0, 0.05))
    monkeypatch.setattr(dead_letter_subscription, "MAX_LETTERS", 100)
    with opened(cloud.services) as subscription:
        assert (len(subscription.letters), subscription.is_cut) == (4, False)
        for letter in [*subscription.letters.values()]:
            subscription.acknowledge(letter)
    assert cloud.left == 0


def test_a_missing_subscription_is_a_mistake_of_the_settings(cloud: Letters) -> None:
    elsewhere = Services(
        settings(PUBSUB_PROJECT="demo-other", PUBSUB_EMULATOR_HOST=cloud.services.settings.pubsub_emulator)
    )
    with pytest.raises(Exception, match="PUBSUB_PROJECT"):
        peek(elsewhere)
    assert DeadLetterSubscription(elsewhere).letters == {}


def test_a_message_of_two_megabytes_is_published(cloud: Letters) -> None:
    cloud.services.bus.publish("write-secret", b"x" * 2_000_000, {})
    assert [len(data) for data, _ in cloud.received()] == [2_000_000]


class Pulls:
    """Google's client, as a subscription that gives its letters in portions."""

    def __init__(self, *portions: list[str]) -> None:
        self.portions = [*portions]
        self.leases: list[tuple[list[str], int]] = []

    def pull(self, **_: Any) -> Any:
        names = self.portions.pop(0) if self.portions else []
        messages = [SimpleNamespace(message_id=name, data=BODY, attributes=OURS, publish_time=None) for name in names]
        return SimpleNamespace(
            received_messages=[SimpleNamespace(message=each, ack_id=f"ack-{each.message_id}") for each in messages]
        )

    def modify_ack_deadline(self, *, ack_ids: list[str], ack_deadline_seconds: int, **_: Any) -> None:
        self.leases.append((list(ack_ids), ack_deadline_seconds))


def test_letters_are_pulled_until_nothing_new_has_come_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer need not hold all that is there. What is pulled is leased for five minutes, and then let go."""
    pulls = Pulls(["a"], [], ["b", "a"], [], [], ["never"])
    monkeypatch.setattr(dead_letter_subscription, "_client", lambda _: pulls)
    with opened(Services(settings())) as subscription:
        assert list(subscription.letters) == ["a", "b"]
    assert [lease for lease in pulls.leases if lease[0]] == [
        (["ack-a"], 300),
        (["ack-b", "ack-a"], 300),
        (["ack-a", "ack-b"], 0),
    ]
