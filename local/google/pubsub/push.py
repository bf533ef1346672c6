"""One push: body and header, and which answers acknowledge.

Bodies are always wrapped (https://cloud.google.com/pubsub/docs/push#receive_push); the unwrapped form is left out.
"""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from local.google.pubsub.model import Message, PushConfig

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


async def push(config: PushConfig, body: dict[str, Any], within: float, token: str | None) -> bool:
    """Push once and return whether the endpoint acknowledged `within` the ack deadline."""
    content = json.dumps(body).encode()
    try:
        async with asyncio.timeout(within):
            return await _post(config.endpoint, content, token) in ACKNOWLEDGING
    except (TimeoutError, OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError):
        return False


async def _post(url: str, content: bytes, token: str | None) -> int:
    """Return the status of the first answer.

    By hand, because HTTP clients wait on after a 102, which is a final answer here. Each push has its own connection: an idle
    one that the server closes under us would count as a failed delivery.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    head = [
        f"POST {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        "User-Agent: CloudPubSub-Google",
        "Accept: application/json",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Connection: close",
    ]
    if token:
        head.append(f"Authorization: Bearer {token}")
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure or None)
    try:
        writer.write("\r\n".join([*head, "", ""]).encode() + content)
        await writer.drain()
        answer = await reader.readuntil(b"\r\n\r\n")
        return int(answer.split(None, 2)[1])
    finally:
        writer.close()
