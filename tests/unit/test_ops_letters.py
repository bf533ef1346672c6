"""What a dead letter says of itself, how letters fold, and what a replay publishes."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from ops.dead_letters import as_text
from ops.letters import DeadLetter, about, group_letters, named, original, replay, shown
from shared.values.errors import PermanentError, RetryableError
from tests.unit.given import NOW, SETTINGS

BLUE = "projects/demo-apps/locations/europe-west1/clusters/blue"
EDGE = "projects/demo-fleet/locations/global/memberships/edge"


def ours(number: int = 1, data: bytes = b"{}", step: str = "write-secret", **attributes: str) -> DeadLetter:
    marks = {"topic": step, "step": step, "reason": "unmanaged Secret", "cluster": BLUE} | attributes
    return DeadLetter(f"m{number}", data, marks, NOW + timedelta(minutes=number))


def pubsubs(number: int = 1, data: bytes = b"{}", topic: str = "grant-rbac", **attributes: str) -> DeadLetter:
    source = {"Subscription": topic, "SubscriptionProject": "demo-fleet", "DeliveryCount": "20"}
    marks = {f"CloudPubSubDeadLetterSource{key}": value for key, value in source.items()}
    return DeadLetter(f"m{number}", data, marks | attributes, NOW + timedelta(minutes=number))


def test_a_letter_of_ours_says_its_step_its_cluster_and_why() -> None:
    letter = ours()
    assert (letter.topic, letter.step, letter.subject) == ("write-secret", "write-secret", BLUE)
    assert letter.reason == "unmanaged Secret"


def test_a_pubsub_letter_has_topic_attempts_and_cluster() -> None:
    letter = pubsubs(data=json.dumps({"cluster": BLUE}).encode())
    assert (letter.topic, letter.step, letter.subject, letter.attempts) == ("grant-rbac", "grant-rbac", BLUE, "20")
    assert "grant-rbac did not answer 20 deliveries" in letter.reason


def test_the_id_is_short_and_stays_the_same() -> None:
    assert ours(7, b"a").id == ours(7, b"b").id
    assert len({ours(number).id for number in range(1000)}) == 1000
    assert len(ours().id) == 8


def test_letters_fold_by_cluster_step_and_reason() -> None:
    letters = [ours(3), ours(1), ours(2, reason="another"), pubsubs(4), ours(5, cluster=EDGE)]
    folds = group_letters(letters)
    assert [len(fold.letters) for fold in folds] == [1, 2, 1, 1]
    assert [letter.message_id for letter in folds[1].letters] == ["m1", "m3"]
    assert (folds[1].first.published, folds[1].last.published) == (
        NOW + timedelta(minutes=1),
        NOW + timedelta(minutes=3),
    )


@pytest.mark.parametrize("data", [b"{not json %d", b"[%d]"])
def test_messages_that_are_wrong_in_the_same_way_fold(data: bytes) -> None:
    reasons = []
    for number in range(3):
        with pytest.raises(PermanentError) as fault:
            replay(ours(data=data % number), SETTINGS)
        reasons.append(str(fault.value))
    assert len(set(reasons)) == 3
    assert len(group_letters([ours(number, reason=reason) for number, reason in enumerate(reasons)])) == 1


def test_a_letter_is_found_by_its_short_id_or_by_pubsubs() -> None:
    letters = [ours(1), ours(2)]
    assert named(letters, letters[1].id) == named(letters, "m2") == [letters[1]]
    assert named(letters, "m") == []


def test_a_letter_is_about_every_name_in_it_and_about_no_other() -> None:
    both = ours(1, membership=EDGE)
    assert about([both, ours(2)], {EDGE}) == [both]
    assert about([pubsubs(data=b"not json")], {BLUE}) == []


def test_replay_sends_body_and_attributes_to_the_letters_topic() -> None:
    body = json.dumps({"cluster": BLUE}).encode()
    for letter in (ours(data=body, cause="an event", origin="x"), pubsubs(data=body, cause="an event", origin="x")):
        assert replay(letter, SETTINGS) == (letter.step, body, {"cause": "an event", "origin": "x"})


def test_a_replay_may_turn_and_is_not_the_sweeps() -> None:
    attributes = {
        "reversed": "true",
        "requested-by": "sweep",
        "googclient_schema": "1",
        "CloudPubSubDeadLetterSourceX": "1",
    }
    assert original({**attributes, "traceparent": "00-1"}) == {"traceparent": "00-1"}


def test_an_audit_entry_goes_back_to_the_topic_of_audit_entries() -> None:
    given = ours(step="route-event", topic="audit-log-entries", data=b'{"protoPayload":{}}')
    pushed = pubsubs(topic="audit-log-entries", data=b'{"protoPayload":{}}')
    assert (given.step, pushed.step) == ("route-event", "route-event")
    assert replay(given, SETTINGS)[0] == replay(pushed, SETTINGS)[0] == "audit-log-entries"


@pytest.mark.parametrize(
    "letter",
    [
        ours(step="cluster-events"),
        ours(step="somebody-elses"),
        ours(step="route-event", topic="remove-secret"),
        ours(step="route-event", topic=""),
        pubsubs(topic="dead-letters"),
        DeadLetter("m1", b"{}"),
    ],
)
def test_a_replay_goes_to_no_topic_but_those_that_functions_answer(letter: DeadLetter) -> None:
    with pytest.raises(PermanentError, match="not a topic of this registrar"):
        replay(letter, SETTINGS)


@pytest.mark.parametrize(
    ("topic", "data"),
    [
        ("register-membership", b"{not json"),
        ("register-membership", b"{}"),
        ("write-secret", b'{"cluster":"blue"}'),
        ("sweep", b'{"everything":true}'),
        ("audit-log-entries", b"[]"),
    ],
)
def test_a_body_that_would_only_come_back_is_not_replayed(topic: str, data: bytes) -> None:
    with pytest.raises((PermanentError, RetryableError)):
        replay(ours(step=topic, data=data), SETTINGS)


def test_a_repaired_body_takes_the_place_of_the_original() -> None:
    repaired = json.dumps({"cluster": BLUE}).encode()
    assert replay(ours(data=b"{not json"), SETTINGS, repaired)[1] == repaired


def test_a_repaired_body_is_checked_too() -> None:
    with pytest.raises(RetryableError, match="unknown keys"):
        replay(ours(), SETTINGS, json.dumps({"cluster": BLUE, "colour": "red"}).encode())


def test_a_body_is_shown_as_json_or_as_bytes() -> None:
    assert shown(b'{"cluster":"x"}') == '{\n  "cluster": "x"\n}'
    assert shown(b"\xff\x00") == r"b'\xff\x00'"


def test_only_names_of_a_letter_become_part_of_a_command() -> None:
    text = as_text(pubsubs(data=json.dumps({"cluster": f"{BLUE}; reboot"}).encode()), SETTINGS)
    assert "ops explain" not in text
    assert "gcloud logging read 'labels.step=\"grant-rbac\"' --project=demo-fleet" in text
    assert f"python -m ops explain {BLUE}" in as_text(ours(), SETTINGS)


def test_a_letter_that_cannot_be_replayed_says_how_it_is_repaired() -> None:
    letter = ours(data=b"{not json")
    assert f"python -m ops dead-letters replay {letter.id} --body" in as_text(letter, SETTINGS)
    good = ours(data=json.dumps({"cluster": BLUE}).encode())
    assert f"\n    python -m ops dead-letters replay {good.id}\n" in as_text(good, SETTINGS)


def test_a_letter_names_the_step_that_wrote_it_and_no_other_topic() -> None:
    assert ours(topic="remove-secret").topic == "write-secret"


def test_pubsubs_source_decides_whatever_a_publisher_has_set() -> None:
    forged = pubsubs(step="remove-secret", topic="grant-rbac", reason="forged", code="denied")
    forged = DeadLetter("m1", b"{}", {**forged.attributes, "topic": "remove-secret"})
    assert (forged.topic, forged.step, forged.is_managed, forged.code) == ("grant-rbac", "grant-rbac", False, "")


def test_control_keys_are_found_and_shown() -> None:
    body = json.dumps({"cluster": BLUE, "leave": "remove"}).encode()
    assert ours(step="remove-secret", data=body).control_keys == ("leave",)
    assert "replay needs --yes" in as_text(ours(step="remove-secret", data=body), SETTINGS)
    assert ours(step="sweep", data=b'{"release":"x"}').control_keys == ("release",)
    assert ours().control_keys == ()


def test_bodies_that_are_no_objects_fold() -> None:
    reasons = []
    for number in range(3):
        with pytest.raises(PermanentError) as fault:
            replay(ours(data=b"[%d]" % number), SETTINGS)
        reasons.append(str(fault.value))
    assert len(set(reasons)) == 3
    assert len(group_letters([ours(number, reason=reason) for number, reason in enumerate(reasons)])) == 1


def test_the_attempts_of_a_letter_of_ours_are_shown() -> None:
    assert ours(attempts="20").attempts == "20"


def test_the_helpful_command_is_on_its_own_line() -> None:
    letter = ours(step="grant-rbac", code="not_admitted", cluster="", membership=EDGE, reason="x" * 900)
    [line] = [line for line in as_text(letter, SETTINGS).splitlines() if "generate-gateway-rbac" in line]
    assert line.strip().startswith("gcloud container fleet memberships generate-gateway-rbac --membership=edge")
    assert line.endswith("--apply")


@pytest.mark.parametrize(
    "data", [b"\x1b[2J not json", json.dumps({"cluster": "\x9b2J\u202e\u2028x"}, ensure_ascii=False).encode()]
)
def test_a_hostile_letter_sends_nothing_to_the_terminal(data: bytes) -> None:
    bad = "\x1b[2J\x9b31m\u202e\u2028"
    for letter in (
        DeadLetter("m1", data, {"step": "write-secret", "reason": bad, f"k{bad}": bad}),
        pubsubs(data=data, topic=bad),
    ):
        assert all(each.isprintable() or each == "\n" for each in as_text(letter, SETTINGS))


def test_a_long_body_that_is_not_json_says_how_much_is_left_out() -> None:
    assert shown(b"\xff" * 2001).endswith(" and 1 more bytes")


def test_a_name_that_is_no_text_is_no_name() -> None:
    assert pubsubs(data=b'{"cluster":{"a":1},"membership":7}').names == ()


@pytest.mark.parametrize(
    ("topic", "step", "example"),
    [
        ("grant-rbac", "grant-rbac", """--body '{"cluster":"""),
        ("sweep", "sweep", "--body '{}'"),
        ("audit-log-entries", "route-event", "gcloud pubsub topics publish register-membership"),
    ],
)
def test_an_example_is_a_message_of_the_letters_topic(topic: str, step: str, example: str) -> None:
    text = as_text(ours(data=b"\xff", step=step, topic=topic), SETTINGS)
    assert example in text
    assert ("--body" in example) == ("--body" in text)
