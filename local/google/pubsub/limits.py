"""What Pub/Sub refuses: names, sizes and numbers out of range.

https://cloud.google.com/pubsub/quotas#resource_limits and the comments of google/pubsub/v1/pubsub.proto.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from local.google.wire import GoogleError

if TYPE_CHECKING:
    from local.google.pubsub.model import Message, Subscription

MAX_MESSAGE_BYTES = 10_000_000
_NAME = re.compile(r"projects/[^/]+/(topics|subscriptions)/(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")


def check_name(name: str, collection: str) -> None:
    """Refuse a full name that Pub/Sub refuses; `collection` is topics or subscriptions."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] != collection:
        raise GoogleError(
            400,
            f"Invalid [{collection}] name: (name={name}). An id has 3 to 255 characters and begins with a letter, not with 'goog'.",
        )


def check_message(message: Message) -> None:
    """Refuse a message that Pub/Sub refuses."""
    if not message.data and not message.attributes:
        raise GoogleError(400, "A message must have either non-empty data, or at least one attribute.")
    if len(message.attributes) > 100:
        raise GoogleError(400, "A message has at most 100 attributes.")
    for key, value in message.attributes.items():
        if not 0 < len(key.encode()) <= 256 or key.startswith("goog"):
            raise GoogleError(400, f"Attribute key {key[:300]!r}: 1 to 256 bytes, and it must not begin with 'goog'.")
        if len(value.encode()) > 1024:
            raise GoogleError(400, f"The value of attribute {key!r} is too large: at most 1024 bytes.")
    if message.size > MAX_MESSAGE_BYTES:
        raise GoogleError(400, f"The message is too large: at most {MAX_MESSAGE_BYTES} bytes.")


def check_subscription(subscription: Subscription) -> None:
    """Refuse a subscription that Pub/Sub refuses."""
    if not 10 <= subscription.ack_deadline <= 600:
        raise GoogleError(400, f"Invalid ack deadline: {subscription.ack_deadline} s; it is between 10 and 600 s.")
    if subscription.push and not subscription.push.endpoint.startswith(("http://", "https://")):
        raise GoogleError(400, f"Invalid push endpoint: {subscription.push.endpoint!r}.")
    retry = subscription.retry
    if retry and not 0 <= retry.minimum <= retry.maximum <= 600:
        raise GoogleError(
            400, "Invalid retry policy: back-offs are between 0 and 600 s, the minimum not above the maximum."
        )
    if subscription.dead_letter and not 5 <= subscription.dead_letter.max_delivery_attempts <= 100:
        raise GoogleError(400, "Invalid dead-letter policy: maxDeliveryAttempts is between 5 and 100.")
