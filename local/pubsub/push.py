"""One push: the body and the header that Pub/Sub sends to an endpoint, and what the answer means.

Bodies are always wrapped (https://cloud.google.com/pubsub/docs/push#receive_push); the unwrapped form is left out.
"""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.pubsub.broker import Message, PushConfig

# https://cloud.google.com/pubsub/docs/push#receive_push lists these five; anything else is a refusal.
ACKNOWLEDGING = frozenset({102, 200, 201, 202, 204})


def timestamp(at: float) -> str:
    """Return seconds since the epoch as RFC 3339 with milliseconds, as Pub/Sub writes them in JSON."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wrapped(message: Message, subscription: str, attempt: int) -> dict[str, Any]:
    """Return the body of a push; `attempt` is 0 where no dead-letter policy counts the deliveries."""
    published = timestamp(message.published)
    inner: dict[str, Any] = {
        "data": base64.b64encode(message.data).decode(),
        "attributes": message.attributes,
        "messageId": message.id,
        "message_id": message.id,
        "publishTime": published,
        "publish_time": published,
    }
    if not message.data:
        del inner["data"]
    if not message.attributes:
        del inner["attributes"]
    if message.ordering_key:
        inner["orderingKey"] = message.ordering_key
    body: dict[str, Any] = {"message": inner, "subscription": subscription}
    if attempt:
        body["deliveryAttempt"] = attempt
    return body


class PushSender:
    """The HTTP client of all push subscriptions; `oidc(service account, audience)` returns a token."""

    def __init__(self, oidc: Callable[[str, str], str] | None) -> None:
        self._oidc = oidc
        self._session: aiohttp.ClientSession | None = None

    async def send(self, config: PushConfig, body: dict[str, Any], within: float) -> bool:
        """Push once and return whether the endpoint acknowledged within the ack deadline."""
        headers = {"User-Agent": "CloudPubSub-Google"}
        if config.service_account and self._oidc:
            token = self._oidc(config.service_account, config.audience or config.endpoint)
            headers["Authorization"] = f"Bearer {token}"
        if self._session is None:
            # A fresh connection per push: an idle one that the server closes under us would count as a failed delivery.
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        try:
            async with (
                asyncio.timeout(within),
                self._session.post(config.endpoint, json=body, headers=headers, allow_redirects=False) as answer,
            ):
                return answer.status in ACKNOWLEDGING
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return False

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
