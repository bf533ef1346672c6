"""The clusters, memberships and labels of the random runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.values.names import ClusterName, MembershipName

if TYPE_CHECKING:
    from collections.abc import Mapping


FLEET = "demo-fleet"
CLUSTERS = {
    "blue": ClusterName("demo-apps", "europe-west1", "blue"),
    "green": ClusterName("demo-apps", "europe-west1-b", "green"),
    "navy": ClusterName(FLEET, "europe-west1", "blue"),
    "alien": ClusterName("demo-other", "europe-west1", "blue"),
}
ATTACHED = {
    "edge": MembershipName(FLEET, "global", "edge"),
    "shop": MembershipName(FLEET, "europe-west1", "shop"),
}
# A membership id that GKE and people choose for any cluster, and use again once it is free.
SHARED = MembershipName(FLEET, "europe-west1", "blue")
LABELS: tuple[Mapping[str, str], ...] = (
    {"env": "prod", "tier": "web"},
    {"env": "prod", "tier": "db"},
    {"env": "prod"},
    {"env": "dev", "tier": "web"},
    {"tier": "web"},
    {},
)

SECRETS = f"api/v1/namespaces/{'argocd'}/secrets"


def secret_name_of(who: str) -> str:
    return CLUSTERS[who].secret_name if who in CLUSTERS else ATTACHED[who].secret_name
