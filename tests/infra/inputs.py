"""Inputs of the plans that the tests and the scan look at."""

from __future__ import annotations

from typing import Any

CENTRAL = "projects/my-fleet/locations/europe-west1/memberships/central"
LEAST: dict[str, Any] = {"project": "my-fleet", "central_membership": CENTRAL}
FOLDER = {"folder": "345", "organization": "678"}
SOURCES: dict[str, dict[str, Any]] = {
    "the fleet project": {},
    "several projects": {"projects": ["my-fleet", "team-a-prod", "team-b"]},
    "a folder": FOLDER,
    "an organisation": {"organization": "678"},
}
# Every input given, with the functions in another project than the fleet, and the central cluster in a third one.
FULL: dict[str, Any] = {
    "project": "my-run",
    "fleet_project": "my-fleet",
    "central_membership": CENTRAL.replace("my-fleet", "my-central"),
    "region": "europe-west3",
    "sources": {"projects": ["team-a-prod"]},
    "membership_locations": ["global", "europe-west1"],
    "settings": {
        "instance": "staging",
        "cluster_selector": "argocd=yes",
        "label_keys": ["tier", "env", "cost-*", "team:example.com/team"],
        "max_removals": "7",
        "sweep_requests": 50,
        "hold": 60,
        "registration": "wait",
        "secrets": "external",
    },
    "max_instances": 3,
    "sweep_paused": False,
    "sweep_schedule": "0 * * * *",
    "argocd": {
        "namespace": "cd",
        "cluster_role": "deployer",
        "workload_identity_project": "central-host",
        "terminal": True,
        "shards": 3,
        "url": "https://argocd.example.com",
    },
    "runbook_url": "https://docs.example.com/operate",
    "notification_channels": ["projects/my-run/notificationChannels/1"],
    "delivery": {
        "repository": "projects/my-run/locations/europe-west3/connections/c/repositories/r",
        "state_bucket": "my-state",
    },
}
