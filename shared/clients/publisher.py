"""Publishing to Pub/Sub by its official client, one message a call: it returns once Pub/Sub has accepted the message.

The batching publisher is not used: it takes attributes as keyword arguments, so that a message with an attribute
called `topic` or `data` could not be carried on, and it publishes from a thread.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from shared.clients import answers
from shared.clients.transport import answer_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.auth.credentials import Credentials

MAX_BYTES = 10 * 1024 * 1024


class Bus:
    """Publishes to the topics of one project. `emulator` is a `host:port`, or '' for Google's own."""

    def __init__(self, credentials: Credentials | None, project: str, emulator: str) -> None:
        self._project = project
        if emulator:
            options = [("grpc.max_send_message_length", 2 * MAX_BYTES)]
            transport = PublisherGrpcTransport(channel=grpc.insecure_channel(emulator, options=options))
            self._client = PublisherClient(transport=transport)
        else:
            self._client = PublisherClient(credentials=credentials)

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """Publish one message. Raises RetryableError when Pub/Sub has not taken it, PermanentError when it never will."""
        path = f"projects/{self._project}/topics/{topic}"
        what = f"publishing to {path}"
        with answers.translated(what):
            answer = self._client.publish(
                topic=path,
                messages=[PubsubMessage(data=data, attributes=dict(attributes))],
                timeout=answer_seconds(),  # gRPC's own deadline holds for the whole call
                retry=None,
            )
        if not [*filter(None, answer.message_ids)]:
            raise answers.unusable(what, "it names no message")

    def publish_object(self, topic: str, body: Mapping[str, Any], attributes: Mapping[str, str]) -> None:
        """Publish a JSON object."""
        self.publish(topic, json.dumps(body, separators=(",", ":")).encode(), attributes)
