"""Writes docs/status.png: the status page of a small fleet with one problem of each common kind."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from ops.activity import Entry, Log
from ops.health import Backlog
from ops.page.board import Board
from shared.values.names import ClusterName, MembershipName
from tests.browser.shown import served
from tests.unit.given import BLUE, EDGE, NOW, as_secret, created
from tests.unit.surveys import seen
from tests.unit.test_status_page import board

PICTURE: Final = Path(__file__).parents[2] / "docs" / "status.png"
WIDTH, HEIGHT = 1180, 1250


def fleet() -> Board:
    """Ten clusters: one waits at a step that fails, one is in ERROR, one has lost its agent, the others are in Argo CD."""
    names = [("demo-apps", "europe-west1", name) for name in ("shop", "billing", "search", "batch")]
    names += [("demo-fleet", "us-central1", name) for name in ("web", "events", "reports", "ml")]
    clusters = [
        replace(
            BLUE,
            name=ClusterName(*name),
            id=f"{number}" * 64,
            labels={"env": "prod" if number % 2 else "staging"},
            version="1.33.5-gke.1080000",
            created=NOW - timedelta(days=number + 1),
        )
        for number, name in enumerate(names)
    ]
    clusters[6] = replace(clusters[6], status="ERROR")
    memberships = [
        replace(
            EDGE,
            name=one.name.membership("demo-fleet"),
            unique_id=f"uid-{one.name.cluster}",
            cluster=one.name,
            labels={"managed-by": "fleet-registrar", "fleet-registrar-cluster-id": one.id[:40]},
            created=one.created,
            last_connection=None,
        )
        for one in clusters
    ]
    secrets = [
        replace(as_secret(created(one, member)), created=f"{one.created:%Y-%m-%dT%H:%M:%SZ}")
        for one, member in zip(clusters, memberships, strict=True)
        if one.name.cluster not in ("billing", "reports")
    ]
    lost = replace(
        EDGE, name=MembershipName("demo-fleet", "global", "factory"), last_connection=NOW - timedelta(hours=2)
    )

    def entry(seconds: int, step: str, decision: str, cluster: str, message: str) -> Entry:
        name = next(str(one.name) for one in clusters if one.name.cluster == cluster)
        attempt = 7 if decision == "retry" else 1
        return Entry(NOW - timedelta(seconds=seconds), step, decision, "denied", message, attempt, 20, cluster=name)

    denied = "403 PERMISSION_DENIED Permission 'gkehub.gateway.post' denied on resource 'projects/demo-fleet'"
    failures = (entry(40, "write-secret", "retry", "billing", denied),)
    entries = (
        *failures,
        entry(65, "write-secret", "updated", "shop", "updated the Secret: env"),
        entry(300, "grant-rbac", "granted", "billing", "granted cluster-admin to Argo CD"),
        entry(303, "register-membership", "registered", "billing", "registered the cluster in the fleet"),
        entry(305, "route-event", "routed", "billing", "register-membership: cluster created"),
    )
    sweeps = tuple(
        Entry(NOW - timedelta(minutes=15 * n + 4), "sweep", "swept", "", "requested nothing") for n in range(3)
    )
    backlogs = {"write-secret": Backlog(1, 301.0)}
    return board(seen(clusters, [*memberships, lost], secrets), Log(entries, failures, sweeps), backlogs=backlogs)


def main() -> int:
    """Write the picture; 1 when the machine has no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.stderr.write("no Chromium is installed: apt-get install chromium\n")
        return 1
    with served(fleet()) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(address)
        page.screenshot(path=PICTURE)
        browser.close()
    sys.stdout.write(f"wrote {PICTURE.relative_to(Path.cwd())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
