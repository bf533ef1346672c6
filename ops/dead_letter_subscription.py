"""The subscription `dead-letters`: its letters are leased while they are shown, and released at the end.

While one operator has leased them, another does not see them. The subscription must have no retry and no dead-letter policy,
because each lease counts as a delivery.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from ops.letters import DeadLetter
from ops.terminal import MistakeError
from shared.clients import deadline
from shared.runtime.services import Services
from shared.values.codes import ErrorCode
from shared.values.errors import ReconcileError, RetryableError
from shared.values.messages import DEAD_LETTERS

if TYPE_CHECKING:
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
    """The letters that this process has leased. Pub/Sub's lease hides them from other operators."""

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
        """Pull until two answers in a row have nothing new: one answer may be partial."""
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
                    subscription=self.path, max_messages=PULL_BATCH, timeout=deadline.remaining(seconds), retry=None
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
        """Remove a letter for good."""
        ids = [self._leases.pop(letter.message_id)]
        self._called(
            "acknowledging",
            lambda: self._client.acknowledge(subscription=self.path, ack_ids=ids, timeout=CALL_SECONDS, retry=None),
        )

    def release(self) -> None:
        """Release the letters to other operators at once."""
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

            self._called("leasing" if seconds else "releasing", ask)

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
    """Return the official client, connected, so that an empty pull means an empty subscription."""
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
        grpc.channel_ready_future(transport.grpc_channel).result(timeout=deadline.remaining(CALL_SECONDS))
    except grpc.FutureTimeoutError as error:
        raise RetryableError(
            f"Pub/Sub does not answer at {emulator or client.api_endpoint}", ErrorCode.NO_ANSWER
        ) from error
    return client


@contextmanager
def opened(services: Services) -> Iterator[DeadLetterSubscription]:
    """Pull all letters, and release those that were not replayed at the end."""
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
