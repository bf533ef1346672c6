"""The ports of a local cloud by name: fixed ones by default, so that a terminal's variables outlive a restart."""

from __future__ import annotations

from local.functions import PAGES, TARGETS
from local.identities import shipped_roles

FIRST, METADATA, FUNCTIONS = 28100, 28130, 28160  # below Linux's ephemeral ports
APIS = (
    "control",
    "container",
    "gkehub",
    "connectgateway",
    "kubernetes",
    "platform",
    "run",
    "cloudfunctions",
    "eventarc",
    "logging",
    "monitoring",
    "iam",
    "cloudscheduler",
    "oauth2",
    "pubsub",
    "pubsub-grpc",
)


class PortInUseError(RuntimeError):
    """Another process has the port; the message names it."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(
            f"port {port} ({name}) is in use, perhaps by another local cloud: use --free-ports, or --port '{name}=N'"
        )


def functions() -> list[str]:
    """The names of the known functions."""
    return [target.replace("_", "-") for target in TARGETS]


def defaults() -> dict[str, int]:
    """Return the fixed port of each name."""
    found = {name: FIRST + place for place, name in enumerate(APIS)}
    identities = ["you", *shipped_roles()]
    found |= {f"metadata {name}": METADATA + place for place, name in enumerate(identities)}
    served = [f"function {name}" for name in (*functions(), *PAGES)] + [f"{name} page" for name in PAGES]
    return found | {name: FUNCTIONS + place for place, name in enumerate(served)}
