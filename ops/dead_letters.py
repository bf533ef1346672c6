"""`ops dead-letters`: what was given up, for which cluster and why; and its replay.

The letters stay in the subscription `dead-letters` until they are replayed. To look at them they are pulled, and let go at
the end; while one operator looks, another does not see them: one at a time. The subscription must have no retry and no
dead-letter policy, for looking counts as a delivery.
"""

from __future__ import annotations

import itertools
import re
import shlex
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from ops import letters
from ops.letters import DeadLetter, group_letters
from ops.survey import connected
from ops.terminal import MAX_WIDTH, MistakeError, ago, one_line, pluralize, table
from shared.runtime.services import Services
from shared.values.codes import ErrorCode
from shared.values.errors import PermanentError, ReconcileError, RetryableError
from shared.values.messages import DEAD_LETTERS
from shared.values.names import ClusterName, InvalidNameError, MembershipName
from shared.values.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence


MAX_LETTERS: Final = 10_000
PULL_BATCH: Final = 1000
LEASE_SECONDS: Final = 300
CALL_SECONDS: Final = 20
# A pull waits for a first message; Google may keep an empty one waiting for a minute and more.
EMPTY_SECONDS: Final = (3.0, 1.0)
MOST_BYTES: Final = 512 * 2**20
ACK_IDS: Final = 500  # a request may have 512 KiB (https://cloud.google.com/pubsub/quotas#resource_limits)


class DeadLetterSubscription:
    """The letters that this process has pulled and not let go. `one operator at a time` is Pub/Sub's lease."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self.path = f"projects/{settings.pubsub_project}/subscriptions/{DEAD_LETTERS}"
        self._client = _client(services)
        self._leases: dict[str, str] = {}
        self.letters: dict[str, DeadLetter] = {}

    @property
    def is_cut(self) -> bool:
        """Whether there may be more than one call reads."""
        return len(self.letters) >= MAX_LETTERS

    def pull(self) -> None:
        """Pull until nothing new has come twice: one answer need not hold all that is there."""
        waits = itertools.chain(EMPTY_SECONDS[:1], itertools.repeat(EMPTY_SECONDS[1]))
        empty = 0
        while empty < 2 and not self.is_cut:
            empty = 0 if self._pull(next(waits)) else empty + 1

    def _pull(self, seconds: float) -> bool:
        """Pull once; whether anything new has come."""
        from google.api_core.exceptions import DeadlineExceeded

        def ask() -> Any:
            try:
                return self._client.pull(
                    subscription=self.path, max_messages=PULL_BATCH, timeout=seconds, retry=None
                ).received_messages
            except DeadlineExceeded:
                return ()  # nothing came while we waited

        received = list(self._called("pulling", ask))
        new = False
        for each in received:
            message = each.message
            new = new or message.message_id not in self.letters
            self._leases[message.message_id] = each.ack_id
            self.letters[message.message_id] = DeadLetter(
                message.message_id, message.data, dict(message.attributes), message.publish_time or None
            )
        self._modify_ack_deadline([each.ack_id for each in received], LEASE_SECONDS)
        return new

    def acknowledge(self, letter: DeadLetter) -> None:
        """Take a letter out for good."""
        ids = [self._leases.pop(letter.message_id)]
        self._called(
            "acknowledging",
            lambda: self._client.acknowledge(subscription=self.path, ack_ids=ids, timeout=CALL_SECONDS, retry=None),
        )

    def release(self) -> None:
        """Let the letters be seen by others at once."""
        ids, self._leases = [*self._leases.values()], {}
        self._modify_ack_deadline(ids, 0)

    def _modify_ack_deadline(self, ids: Sequence[str], seconds: int) -> None:
        for start in range(0, len(ids), ACK_IDS):
            some = ids[start : start + ACK_IDS]

            def ask(some: Sequence[str] = some) -> None:
                self._client.modify_ack_deadline(
                    subscription=self.path,
                    ack_ids=some,
                    ack_deadline_seconds=seconds,
                    timeout=CALL_SECONDS,
                    retry=None,
                )

            self._called("holding" if seconds else "letting go", ask)

    def _called(self, what: str, call: Callable[[], Any]) -> Any:
        from shared.clients.answers import translated

        try:
            with translated(f"{what} at {self.path}"):
                return call()
        except ReconcileError as error:
            if error.code is ErrorCode.NOT_FOUND:
                raise MistakeError(f"there is no subscription {self.path}: is PUBSUB_PROJECT right?") from error
            raise


def _client(services: Services) -> Any:
    """Return the official client, connected: an empty pull must mean that there is nothing, not that nobody answers."""
    import grpc
    from google.pubsub_v1.services.subscriber import SubscriberClient
    from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport

    emulator = services.settings.pubsub_emulator
    if emulator:
        # Pub/Sub answers a pull with some 10 MB at most, the emulator with all it has; gRPC's own limit is 4 MB.
        options = [("grpc.max_receive_message_length", MOST_BYTES)]
        transport = SubscriberGrpcTransport(channel=grpc.insecure_channel(emulator, options=options))
        client = SubscriberClient(transport=transport)
    else:
        client = SubscriberClient(credentials=services.credentials)
    transport = cast("SubscriberGrpcTransport", client.transport)
    try:
        grpc.channel_ready_future(transport.grpc_channel).result(timeout=CALL_SECONDS)
    except grpc.FutureTimeoutError as error:
        raise RetryableError(
            f"Pub/Sub does not answer at {emulator or client.api_endpoint}", ErrorCode.NO_ANSWER
        ) from error
    return client


@contextmanager
def opened(services: Services) -> Iterator[DeadLetterSubscription]:
    """Pull what is there, and let go at the end of what was not replayed."""
    mailbox = DeadLetterSubscription(services)
    try:
        mailbox.pull()
        yield mailbox
    finally:
        mailbox.release()


def peek(services: Services) -> list[DeadLetter]:
    """Return the current dead letters and release them."""
    with opened(services) as mailbox:
        return [*mailbox.letters.values()]


def run_list(options: argparse.Namespace) -> int:
    """List the letters, folded."""
    services = connected()
    with opened(services) as mailbox:
        found, truncate = [*mailbox.letters.values()], mailbox.is_cut
    folds = [letters.Group((letter,)) for letter in found] if options.unfolded else group_letters(found)
    if not folds:
        print("No dead letters (or another operator is looking at them just now).")
        return 0
    now = services.now()
    rows = [
        (
            ",".join(letter.id for letter in fold.letters[:2])
            + (f",+{len(fold.letters) - 2}" if len(fold.letters) > 2 else ""),
            fold.first.subject or "(unknown)",
            fold.first.step,
            str(len(fold.letters)),
            ago(fold.first.published, now) if fold.first.published else "",
            ago(fold.last.published, now) if fold.last.published else "",
            one_line(fold.first.reason, MAX_WIDTH),
        )
        for fold in folds
    ]
    print(table(("ID", "CLUSTER", "STEP", "COUNT", "SINCE", "LAST", "REASON"), rows))
    print(f"\n{pluralize(len(found), 'letter')}. Whole: dead-letters show ID; again: dead-letters replay ID")
    if truncate:
        print(f"There may be more than these {MAX_LETTERS}.")
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Show one letter whole."""
    services = connected()
    letter = _one(peek(services), options.id)
    print(as_text(letter, services.settings))
    return 0


def as_text(letter: DeadLetter, settings: Settings) -> str:
    """Return a letter for people, with what can be done about it."""
    said = {
        "id": f"{letter.id} ({letter.message_id})",
        "cluster": ", ".join(letter.names) or "(unknown)",
        "step": letter.step,
        "topic": letter.topic or "none that a replay could go to",
        "code": letter.code,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "since": letter.published.isoformat(timespec="seconds") if letter.published else "",
    }
    lines = [f"{key + ':':<10}{one_line(value)}" for key, value in said.items() if value]
    rest = {key: value for key, value in letter.attributes.items() if key not in said}
    lines += ["attributes:", *(f"  {key}: {one_line(value)}" for key, value in sorted(rest.items()))] if rest else []
    lines += ["body:", *(f"  {line}" for line in letters.shown(letter.data).splitlines())]
    return "\n".join([*lines, "what to do:", *(f"  {line}" for line in _advice(letter, settings))])


def _advice(letter: DeadLetter, settings: Settings) -> list[str]:
    # Any publisher chooses the contents of a letter: only valid names become parts of a command.
    name = next((each for each in letter.names if _is_name(each)), "")
    advice = []
    if not letter.is_managed:
        wanted = f'labels.step="{letter.step}"' + (f' AND labels.cluster="{name}"' if name else "")
        advice.append(f"see why: gcloud logging read {shlex.quote(wanted)} --project={settings.pubsub_project}")
    if name:
        advice.append(f"see the current state: python -m ops explain {name}")
    try:
        letters.replay(letter, settings)
        advice.append(f"after the cause is fixed: python -m ops dead-letters replay {letter.id}")
    except PermanentError as error:
        advice.append(f"it cannot be replayed as it is: {one_line(str(error))}")
        if letter.topic:
            advice.append(f"repair it: python -m ops dead-letters replay {letter.id} --body '{{…}}'")
    return advice


def _is_name(text: str) -> bool:
    for parse in (ClusterName.parse, MembershipName.parse):
        with suppress(InvalidNameError):
            return bool(parse(text))
    return False


def run_replay(options: argparse.Namespace) -> int:
    """Replay letters; 1 when some had to be kept."""
    if bool(options.ids) == options.all:
        raise MistakeError("say which letters: dead-letters replay ID…, or dead-letters replay --all [--reason TEXT]")
    if options.reason and not options.all:
        raise MistakeError("--reason chooses among all: dead-letters replay --all --reason TEXT")
    if options.body and len(options.ids) != 1:
        raise MistakeError("--body repairs one letter: dead-letters replay ID --body …")
    repaired = _repaired(options.body) if options.body else None
    services = connected()
    with opened(services) as mailbox:
        found = [*mailbox.letters.values()]
        chosen = [each for each in found if options.reason.lower() in each.reason.lower()]
        if options.ids:
            chosen = list({letter.message_id: letter for id_ in options.ids for letter in [_one(found, id_)]}.values())
        kept = [
            letter for letter in chosen if not _replayed(letter, mailbox, services, repaired, dry_run=options.dry_run)
        ]
    done = pluralize(len(chosen) - len(kept), "letter")
    text = f"Would replay {done}; nothing was published." if options.dry_run else f"Replayed {done}."
    print(f"{text} Kept {len(kept)}." if kept else text)
    return 1 if kept else 0


def _replayed(
    letter: DeadLetter, mailbox: DeadLetterSubscription, services: Services, body: bytes | None, *, dry_run: bool
) -> bool:
    """Publish a letter to where it came from, and take it out only then; False when it is kept."""
    try:
        topic, data, attributes = letters.replay(letter, services.settings, body)
    except PermanentError as error:
        repair = f" Repair it with --body: python -m ops dead-letters replay {letter.id} --body '{{…}}'"
        print(f"{letter.id} is kept: {one_line(str(error))}.{repair if letter.topic else ''}")
        return False
    if dry_run:
        print(f"{letter.id} → {topic}: {one_line(data.decode(errors='replace'), MAX_WIDTH)}")
        return True
    try:
        services.bus.publish(topic, data, attributes)
    except ReconcileError as error:
        print(f"{letter.id} is kept: {one_line(str(error))}")
        return False
    try:
        mailbox.acknowledge(letter)
    except ReconcileError as error:
        print(f"{letter.id} → {topic}, but it will be listed again: {one_line(str(error))}")
        return True
    print(f"{letter.id} → {topic}: {letter.subject or 'sent'}")
    return True


def _repaired(text: str) -> bytes:
    """Return the repaired body: JSON as it was typed, or the bytes of a file."""
    if re.match(r"\s*[{\[\"]", text):
        return text.encode()
    try:
        return Path(text).read_bytes()
    except OSError as error:
        raise MistakeError(f"--body {text}: neither JSON nor a file that can be read ({error.strerror})") from error


def _one(found: list[DeadLetter], id_: str) -> DeadLetter:
    meant = letters.named(found, id_)
    if not meant:
        raise MistakeError(
            f"no dead letter {id_} is there (gone, or another operator is looking at it): dead-letters list"
        )
    return meant[0]
