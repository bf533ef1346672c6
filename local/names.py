"""The organisation that the local cloud plays: its projects, its person, its central cluster, its topics."""

from __future__ import annotations

from pathlib import Path

FLEET, APPS, OTHER = "demo-fleet", "demo-apps", "demo-other"
NUMBERS = {FLEET: 100000000001, APPS: 100000000002, OTHER: 100000000003}
SOURCES = (FLEET, APPS)  # demo-other shows that a project which is no source stays as it is
REGION = "europe-west1"
PERSON = "you@example.com"
CENTRAL_CLUSTER = f"projects/{FLEET}/locations/{REGION}/clusters/central"
CENTRAL_MEMBERSHIP = f"projects/{FLEET}/locations/{REGION}/memberships/central"
CENTRAL_ATTACHED = f"projects/{FLEET}/locations/global/memberships/central"  # with `--central attached`
ROOT = Path(__file__).parent.parent


def key(name: str) -> str:
    """`projects/P/locations/L/clusters/C` → `P.L.C`; a membership's keeps the word: `P.L.memberships.M`."""
    _, project, _, location, kind, short = name.split("/")
    return ".".join((project, location, *([kind] if kind == "memberships" else []), short))


def topic(name: str) -> str:
    """Return a topic's full name."""
    return f"projects/{FLEET}/topics/{name}"


def subscription(name: str) -> str:
    """Return a subscription's full name."""
    return f"projects/{FLEET}/subscriptions/{name}"
