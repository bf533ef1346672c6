"""What goes wrong in a run: failed calls, late answers, kills, lost and repeated messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


# Reads may lag behind by this much. A cluster is PROVISIONING for longer than that: an answer that lags can be wrong about
# labels and status, but a GET and a list never both deny a cluster that has been RUNNING. Without that no proof is one.
MOST_STALE = 25.0
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Noise:
    """Something that goes wrong at a call, or on the way of a message."""

    kind: str
    amount: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.amount:.0f} s" if self.amount else self.kind


def noise_of_call(random: Random) -> Noise:
    kind = random.choice(
        (
            "failed",
            "failed",
            "answer lost",
            "killed before",
            "killed after",
            "refused",
            "stale answer",
            "stale answer",
            "stalled",
            "stalled",
            "denied",
        )
    )
    if kind == "stalled":
        return Noise(kind, random.choice((2.0, 15.0, 70.0, 300.0, 650.0, 1500.0)) * random.uniform(0.8, 1.2))
    return Noise(kind, random.uniform(2, MOST_STALE)) if kind == "stale answer" else Noise(kind)


def noise_of_publish(random: Random) -> Noise:
    return Noise(random.choice(("failed", "answer lost", "killed before", "killed after", "published twice")))


def noise_of_delivery(random: Random) -> Noise:
    kind = random.choice(("late", "delivered again"))
    return Noise(kind, random.choice((1.0, 5.0, 30.0, 200.0, 1000.0, 4000.0)) * random.uniform(0.8, 1.2))


def noise_of_event(random: Random) -> Noise:
    kind = random.choice(("lost", "late", "delivered again"))
    return Noise(
        kind, 0.0 if kind == "lost" else random.choice((2.0, 20.0, 100.0, 900.0, 5000.0)) * random.uniform(0.8, 1.2)
    )
