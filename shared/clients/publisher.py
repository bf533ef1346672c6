"""Publishing to Pub/Sub by its official client, one message a call: the step is done when Pub/Sub has said so.

The batching publisher is not used: it takes attributes as keyword arguments, so that a message with an attribute
called `topic` or `data` could not be carried on, and it publishes from a thread.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
from google.api_core.exceptions import GoogleAPICallError, InvalidArgument, RetryError
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from shared.values.codes import ErrorCode
from shared.values.errors import PermanentError, RetryableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.auth.credentials import Credentials

TIMEOUT_SECONDS = 20
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
        """Publish one message. Raises RetryableError when Pub/Sub has not taken it."""
        path = f"projects/{self._project}/topics/{topic}"
        try:
            self._client.publish(
                topic=path,
                messages=[PubsubMessage(data=data, attributes=dict(attributes))],
                timeout=TIMEOUT_SECONDS,
                retry=None,
            )
        except InvalidArgument as error:
            raise PermanentError(
                f"publishing to {path}: Pub/Sub refuses the message: {error.message}", ErrorCode.INVALID_REQUEST, 400
            ) from error
        except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
            raise RetryableError(f"publishing to {path}: {error}", ErrorCode.UNAVAILABLE) from error

    def publish_object(self, topic: str, body: Mapping[str, Any], attributes: Mapping[str, str]) -> None:
        """Publish a JSON object."""
        self.publish(topic, json.dumps(body, separators=(",", ":")).encode(), attributes)
