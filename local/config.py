"""How a local cloud runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from local.identities import service_account
from local.names import CENTRAL_ATTACHED, CENTRAL_MEMBERSHIP, FLEET, NUMBERS, ROOT, SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

# The functions' settings that a person may change here (docs/configuration.md); the cloud itself sets the others.
SETTINGS = (
    "ARGOCD_CLUSTER_ROLE",
    "ARGOCD_NAMESPACE",
    "ARGOCD_SERVICE_ACCOUNT",
    "ARGOCD_SHARDS",
    "ARGOCD_URL",
    "CENTRAL_MEMBERSHIP",
    "CENTRAL_PROJECT_NUMBER",
    "CLUSTER_SELECTOR",
    "DELIVERY_ATTEMPTS",
    "FLEET_PROJECT",
    "FLEET_PROJECT_NUMBER",
    "GATEWAY_REQUESTS",
    "HOLD",
    "INSTANCE",
    "LABEL_KEYS",
    "MAX_REMOVALS",
    "PUBSUB_PROJECT",
    "REGISTRATION",
    "SECRETS",
    "SOURCE_PROJECTS",
    "SWEEP_REQUESTS",
)


@dataclass(frozen=True)
class Config:
    """A port that is not named is a free one. Seconds of clusters and memberships are for people to watch."""

    directory: Path = Path(".local")
    source: Path = ROOT / "main.py"
    targets: tuple[str, ...] | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    pubsub: Literal["embedded", "emulator"] = "embedded"
    kube: Literal["embedded", "real"] = "embedded"
    spare: int = 1  # real servers that wait for the next cluster
    argocd: Literal["none", "real"] = "none"
    central: Literal["gke", "attached"] = "gke"
    registration: Literal["create", "wait"] = "create"
    staging: bool = False
    create_seconds: float = 1.0
    delete_seconds: float = 1.0
    update_seconds: float = 0.2
    membership_seconds: float = 0.2
    retry_min: float = 1.0
    retry_max: float = 10.0
    attempts: int = 20
    pull_seconds: float = 3.0  # until an empty pull is answered
    quotas: bool = False  # whether Connect Gateway refuses what exceeds its quota
    token_seconds: int = 3600
    selector: str = ""
    label_keys: str = ""
    hold: int = 600
    sweep_every: float = 0.0  # seconds; 0: only when somebody asks
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: Mapping[str, Any] | None = None

    @property
    def central_membership(self) -> str:
        """The full name of the central cluster's membership."""
        return CENTRAL_ATTACHED if self.central == "attached" else CENTRAL_MEMBERSHIP

    def base_settings(self) -> dict[str, str]:
        """The functions' settings, without `settings` and without the endpoints of this cloud."""
        return {
            "FLEET_PROJECT": FLEET,
            "FLEET_PROJECT_NUMBER": str(NUMBERS[FLEET]),
            "SOURCE_PROJECTS": ",".join(SOURCES),
            "CLUSTER_SELECTOR": self.selector,
            "LABEL_KEYS": self.label_keys,
            "CENTRAL_MEMBERSHIP": self.central_membership,
            "ARGOCD_SERVICE_ACCOUNT": service_account("argocd", FLEET),
            "REGISTRATION": self.registration,
            "HOLD": str(self.hold),
            "GATEWAY_REQUESTS": "0",  # the gateway here has no quota unless that is asked for
            "DELIVERY_ATTEMPTS": str(self.attempts),
        }
