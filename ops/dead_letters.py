"""`ops dead-letters`: list, show, replay and discard failed messages.

The letters stay in the subscription until they are replayed or dropped. Any publisher chooses what a letter
says: it is shown without control characters, and no command is made of it but with names that are names.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops import letters, remedies
from ops.advice import Advice, lines
from ops.dead_letter_subscription import MAX_LETTERS, DeadLetterSubscription, opened, peek
from ops.letters import DeadLetter, group_letters
from ops.survey import connected
from ops.terminal import MAX_WIDTH, MistakeError, ago, one_line, pluralize, table
from shared.runtime.services import Services
from shared.values.errors import ReconcileError
from shared.values.messages import AUDIT_LOG_ENTRIES, publish_command
from shared.values.names import ClusterName, Name, parse_name
from shared.values.settings import Settings

if TYPE_CHECKING:
    import argparse


def run_list(options: argparse.Namespace) -> int:
    """List the letters, folded."""
    services = connected()
    with opened(services) as mailbox:
        found, truncate = [*mailbox.letters.values()], mailbox.is_cut
    if options.json:
        print(
            json.dumps(
                {"letters": [as_json(letter, services.settings) for letter in found], "isCut": truncate}, indent=2
            )
        )
        return 0
    folds = [letters.Group((letter,)) for letter in found] if options.unfolded else group_letters(found)
    if not folds:
        print("No dead letters (or another operator has leased them).")
        return 0
    now = services.now()
    rows = [
        (
            ",".join(letter.id for letter in fold.letters[:2])
            + (f",+{len(fold.letters) - 2}" if len(fold.letters) > 2 else ""),
            one_line(fold.first.subject, MAX_WIDTH) or "(unknown)",
            fold.first.step,
            str(len(fold.letters)),
            ago(fold.first.published, now) if fold.first.published else "",
            ago(fold.last.published, now) if fold.last.published else "",
            one_line(fold.first.reason, MAX_WIDTH),
        )
        for fold in folds
    ]
    print(table(("ID", "CLUSTER", "STEP", "COUNT", "SINCE", "LAST", "REASON"), rows))
    first = folds[-1].last.id
    print(f"\n{pluralize(len(found), 'letter')}. For the whole letter and what to do, for example:")
    print(f"  python -m ops dead-letters show {first}")
    if truncate:
        print(f"There may be more than these {MAX_LETTERS}.")
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Show one letter whole."""
    services = connected()
    letter = _one(peek(services), options.id)
    settings = services.settings
    print(json.dumps(as_json(letter, settings), indent=2) if options.json else as_text(letter, settings))
    return 0


def as_json(letter: DeadLetter, settings: Settings) -> dict[str, Any]:
    """Return a letter for programs; `data` is the body in base64."""
    return {
        "id": letter.id,
        "messageId": letter.message_id,
        "names": letter.names,
        "step": letter.step,
        "topic": letter.topic,
        "code": letter.code,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "published": letter.published.isoformat(timespec="seconds") if letter.published else "",
        "controlKeys": letter.control_keys,
        "attributes": dict(letter.attributes),
        "data": base64.b64encode(letter.data).decode(),
        "advice": [{"text": one.text, "command": one.command} for one in _advice(letter, settings)],
    }


def as_text(letter: DeadLetter, settings: Settings) -> str:
    """Return a letter for people, with what can be done about it."""
    fields = {
        "id": f"{letter.id} ({letter.message_id})",
        "cluster": ", ".join(letter.names) or "(unknown)",
        "step": letter.step,
        "topic": letter.topic or "none that a replay could go to",
        "code": letter.code,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "since": letter.published.isoformat(timespec="seconds") if letter.published else "",
    }
    rest = {key: value for key, value in letter.attributes.items() if key not in fields}
    shown = [f"{key + ':':<10}{one_line(value)}" for key, value in fields.items() if value]
    if rest:
        shown += ["attributes:", *(f"  {one_line(key)}: {one_line(value)}" for key, value in sorted(rest.items()))]
    shown += ["body:", *(f"  {line}" for line in letters.shown(letter.data).split("\n"))]
    if letter.control_keys:
        shown.append(
            f"control:  {', '.join(letter.control_keys)}: it requests more than a reconciliation; replay needs --yes"
        )
    return "\n".join([*shown, "what to do:", *(f"  {line}" for line in lines(_advice(letter, settings)))])


def _advice(letter: DeadLetter, settings: Settings) -> list[Advice]:
    # Any publisher chooses the contents of a letter: only valid names become parts of a command.
    name = next((found for each in letter.names if (found := parse_name(each))), None)
    advice = []
    if name is not None:
        membership = name.membership(settings.fleet_project) if isinstance(name, ClusterName) else name
        advice += remedies.remedies(letter.code, name, membership, settings)
    if not letter.is_managed:
        log_filter = f'labels.step="{letter.step}"' if letter.topic else 'jsonPayload.decision="retry"'
        log_filter += f' AND labels.{_kind(name)}="{name}"' if name else ""
        advice += [
            Advice("See whether the function runs", remedies.STATUS),
            Advice(
                "Read what it has logged",
                f"gcloud logging read {shlex.quote(log_filter)} --project={settings.pubsub_project}",
            ),
        ]
    if name is not None:
        advice.append(Advice("See the cluster's state now", f"python -m ops explain {name}"))
    replay = f"python -m ops dead-letters replay {letter.id}"
    try:
        letters.replay(letter, settings)
        advice.append(
            Advice("When the cause is repaired, replay it", f"{replay}{' --yes' if letter.control_keys else ''}")
        )
    except ReconcileError as error:
        advice.append(Advice(f"It cannot be replayed as it is: {one_line(str(error))}"))
        example = f'{{"cluster":"projects/{settings.fleet_project}/locations/europe-west1/clusters/blue"}}'
        if letter.topic == AUDIT_LOG_ENTRIES:  # nobody writes an audit entry by hand
            text = "If it was about a cluster, request that cluster from the first step, for example"
            advice.append(Advice(text, publish_command("register-membership", json.loads(example), settings)))
        elif letter.topic:
            example = "{}" if letter.topic == "sweep" else example
            advice.append(Advice("Repair its body, for example", f"{replay} --body {shlex.quote(example)}"))
    advice.append(Advice("If nobody needs it, discard it", f"python -m ops dead-letters drop {letter.id}"))
    return advice


def _kind(name: Name | None) -> str:
    return "cluster" if isinstance(name, ClusterName) else "membership"


def run_drop(options: argparse.Namespace) -> int:
    """Discard letters for good, after a question; 1 when they were kept."""
    _check_selection(options, "drop")
    if options.json and not options.yes:
        raise MistakeError("--json needs --yes, because it asks no question: dead-letters drop --json --yes …")
    services = connected()
    with opened(services) as subscription:
        chosen = _chosen(options, [*subscription.letters.values()])
        for letter in [] if options.json else chosen:
            print(
                f"{letter.id}  {one_line(letter.subject, MAX_WIDTH) or '(unknown)'}  {letter.step}: {one_line(letter.reason, MAX_WIDTH)}"
            )
        if chosen and not options.yes and not confirmed(f"Discard {pluralize(len(chosen), 'letter')} for good?"):
            print("Nothing was discarded. Without a terminal pass --yes.")
            return 1
        for letter in chosen:
            subscription.acknowledge(letter)
    if options.json:
        print(json.dumps({"discarded": [as_json(letter, services.settings) for letter in chosen]}, indent=2))
    else:
        print(f"Discarded {pluralize(len(chosen), 'letter')}.")
    return 0


def confirmed(question: str) -> bool:
    """Ask on the terminal; False without a terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _check_selection(options: argparse.Namespace, action: str) -> None:
    """Raise MistakeError unless the options name letters, or select all, or those with a reason."""
    if bool(options.ids) == options.all:
        raise MistakeError(
            f"name the letters, or pass --all: dead-letters {action} ID…, dead-letters {action} --all [--reason TEXT]"
        )
    if options.reason and not options.all:
        raise MistakeError(f"--reason needs --all: dead-letters {action} --all --reason TEXT")


def _chosen(options: argparse.Namespace, found: list[DeadLetter]) -> list[DeadLetter]:
    """Return the letters that were named, or all whose reason has the text."""
    if options.ids:
        return list({letter.message_id: letter for id_ in options.ids for letter in [_one(found, id_)]}.values())
    return [each for each in found if options.reason.lower() in each.reason.lower()]


def run_replay(options: argparse.Namespace) -> int:
    """Replay letters; 1 when some had to be kept."""
    _check_selection(options, "replay")
    if options.body and len(options.ids) != 1:
        raise MistakeError("--body repairs one letter: dead-letters replay ID --body …")
    repaired = _repaired(options.body) if options.body else None
    services = connected()
    with opened(services) as mailbox:
        replays = []
        for letter in _chosen(options, [*mailbox.letters.values()]):
            replays.append(_replay(letter, mailbox, services, repaired, options))
            if not options.json:
                print(replays[-1])
    kept = [one for one in replays if one.kept]
    if options.json:
        summary = {"dryRun": options.dry_run, "replayed": [], "kept": []}
        for one in replays:
            summary["kept" if one.kept else "replayed"].append(one.as_json())
        print(json.dumps(summary, indent=2))
        return 1 if kept else 0
    done = pluralize(len(replays) - len(kept), "letter")
    text = f"Would replay {done}; nothing was published." if options.dry_run else f"Replayed {done}."
    print(f"{text} Kept {len(kept)}." if kept else text)
    return 1 if kept else 0


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of one letter. `kept` says why it stays; `note` is for people; `listed_again`: it could not be taken out."""

    letter: DeadLetter
    topic: str = ""
    control_keys: tuple[str, ...] = ()
    kept: str = ""
    note: str = ""
    listed_again: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it for programs; what does not apply is left out."""
        found = {
            "id": self.letter.id,
            "messageId": self.letter.message_id,
            "names": list(self.letter.names),
            "topic": self.topic,
            "controlKeys": list(self.control_keys),
            "reason": self.kept,
            "listedAgain": self.listed_again,
        }
        return {key: value for key, value in found.items() if value}

    def __str__(self) -> str:
        if self.kept:
            return f"{self.letter.id} is kept: {self.kept}{self.note}"
        if self.listed_again:
            return f"{self.letter.id} → {self.topic}, but it will be listed again: {self.listed_again}"
        return f"{self.letter.id} → {self.topic}{self.note}"


def _replay(
    letter: DeadLetter,
    mailbox: DeadLetterSubscription,
    services: Services,
    body: bytes | None,
    options: argparse.Namespace,
) -> Replay:
    """Publish a letter to its step, and acknowledge it only then."""
    try:
        topic, data, attributes = letters.replay(letter, services.settings, body)
    except ReconcileError as error:
        show = f". See what to do:\n  python -m ops dead-letters show {letter.id}"
        return Replay(letter, kept=one_line(str(error)), note=show)
    keys = letters.control_keys(data)
    if options.dry_run:
        control = f" (control keys: {', '.join(keys)})" if keys else ""
        shown = f"{control}: {one_line(data.decode(errors='replace'), MAX_WIDTH)}"
        return Replay(letter, topic, keys, note=shown)
    if keys and not options.yes:
        values = f": {one_line(data.decode(errors='replace'))}"
        return Replay(letter, topic, keys, kept=f"its control keys ({', '.join(keys)}) need --yes", note=values)
    try:
        services.bus.publish(topic, data, attributes)
    except ReconcileError as error:
        return Replay(letter, topic, keys, kept=one_line(str(error)))
    try:
        mailbox.acknowledge(letter)
    except ReconcileError as error:
        return Replay(letter, topic, keys, listed_again=one_line(str(error)))
    return Replay(letter, topic, keys, note=f": {letter.subject or 'sent'}")


def _repaired(text: str) -> bytes:
    """Return the repaired body: JSON as it was typed, or the bytes of a file."""
    if re.match(r"\s*[{\[\"]", text):
        try:
            json.loads(text)
        except ValueError as error:
            raise MistakeError(f"--body is not JSON: {error}") from error
        return text.encode()
    try:
        return Path(text).read_bytes()
    except OSError as error:
        raise MistakeError(f"--body {text}: neither JSON nor a file that can be read ({error.strerror})") from error


def _one(found: list[DeadLetter], id_: str) -> DeadLetter:
    meant = letters.named(found, id_)
    if not meant:
        raise MistakeError(
            f"no dead letter has the ID {id_}: it was removed, another operator has leased it, or the ID is wrong."
            " See: python -m ops dead-letters list"
        )
    return meant[0]
