"""Topics, subscriptions and messages as values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RetryPolicy:
    """The wait before a message comes again: `minimum`, doubled each time, at most `maximum` (seconds)."""

    minimum: float = 10.0
    maximum: float = 600.0

    def backoff(self, failures: int) -> float:
        """Return the wait after that many failed deliveries."""
        return min(self.maximum, self.minimum * 2.0 ** min(failures - 1, 30))


@dataclass(frozen=True)
class DeadLetterPolicy:
    """Where a message goes that has failed `max_delivery_attempts` times."""

    topic: str
    max_delivery_attempts: int = 5


@dataclass(frozen=True)
class PushConfig:
    """The push endpoint and identity: without `service_account` a push has no token; the audience defaults to the endpoint."""

    endpoint: str
    service_account: str = ""
    audience: str = ""


@dataclass(frozen=True)
class Subscription:
    """The settings of a subscription. `push_concurrency` is not Google's: Google chooses that number."""

    name: str
    topic: str
    push: PushConfig | None = None
    ack_deadline: int = 10
    filter: str = ""
    retry: RetryPolicy | None = None
    dead_letter: DeadLetterPolicy | None = None
    labels: dict[str, str] = field(default_factory=dict)
    retention: float = 604800.0  # seconds; shown and not done
    expires_after: float = 31 * 86400.0  # shown and never done; 0: never (pubsub.proto, ExpirationPolicy)
    push_concurrency: int = 16


@dataclass(frozen=True)
class Message:
    """A published message; `published` is in seconds since the epoch."""

    id: str
    data: bytes
    attributes: dict[str, str]
    published: float
    ordering_key: str = ""

    @property
    def size(self) -> int:
        return len(self.data) + sum(len(key.encode()) + len(value.encode()) for key, value in self.attributes.items())


@dataclass(frozen=True)
class Delivery:
    """One delivery of a message; `attempt` is 0 where no dead-letter policy counts them."""

    ack_id: str
    message: Message
    attempt: int
