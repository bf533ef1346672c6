"""Argo CD's Applications and the clusters that they deploy to, as a test reads and moves them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.chain.running import CENTRAL, MERGE, Chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chain.running import Json


APPLICATIONS = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"

AT_LAST = 150.0  # seconds: Argo CD's own pace, on a machine that does much besides


def applications(cloud: Chain) -> dict[str, Json]:
    _, found = cloud.kubernetes(CENTRAL, "GET", APPLICATIONS)
    return {one["metadata"]["name"]: one for one in found["items"]}


def name_of(cluster: str) -> str:
    """What Argo CD calls a cluster."""
    _, project, _, location, kind, short = cluster.split("/")
    return f"{project}.{location}.{short}" if kind == "clusters" else f"{project}.{location}.memberships.{short}"


def short_of(cluster: str) -> str:
    """What the stories' Applications call a cluster: its short name and a hash of Argo CD's."""
    return f"{cluster.rpartition('/')[2][:24]}-{hashlib.sha256(name_of(cluster).encode()).hexdigest()[:8]}"


def application(cloud: Chain, story: str, cluster: str) -> Json:
    return applications(cloud)[f"{story}-{short_of(cluster)}"]


def synced(cloud: Chain, story: str, cluster: str, where: Callable[[Json], bool] = lambda _: True) -> Json:
    """Wait until Argo CD says that an Application is Synced and Healthy; return it."""

    def seen() -> Json | None:
        roll_out(cloud, cluster)
        one = applications(cloud).get(f"{story}-{short_of(cluster)}")
        status = (one or {}).get("status", {})
        verdict = (status.get("sync", {}).get("status"), status.get("health", {}).get("status"))
        return one if one is not None and verdict == ("Synced", "Healthy") and where(one) else None

    try:
        found = cloud.wait_for(seen, AT_LAST, f"{story} of {cluster} Synced and Healthy")
    except TimeoutError:
        pytest.fail(
            json.dumps(applications(cloud).get(f"{story}-{short_of(cluster)}", "no such Application"), indent=1)
        )
    assert found is not None
    return found


def roll_out(cloud: Chain, cluster: str) -> None:
    """Do what a cluster's controllers do: report Deployments and budgets as they should be, and collect what was pruned."""
    for kind in ("configmaps", "limitranges"):
        _, found = cloud.kubernetes(cluster, "GET", f"/api/v1/{kind}")
        for one in found["items"]:
            if one["metadata"].get("finalizers") == ["foregroundDeletion"]:
                path = f"/api/v1/namespaces/{one['metadata']['namespace']}/{kind}/{one['metadata']['name']}"
                cloud.kubernetes(cluster, "PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE)
    _, found = cloud.kubernetes(cluster, "GET", "/apis/apps/v1/deployments")
    for one in found["items"]:
        count, generation = one["spec"]["replicas"], one["metadata"]["generation"]
        status = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
        _report(cloud, cluster, "apps/deployments", one, status | {"observedGeneration": generation})
    _, found = cloud.kubernetes(cluster, "GET", "/apis/policy/v1/poddisruptionbudgets")
    for one in found["items"]:
        since = one["metadata"]["creationTimestamp"]
        condition = {"type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods", "message": ""}
        status = dict.fromkeys(("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"), 1)
        status["observedGeneration"] = one["metadata"]["generation"]
        _report(
            cloud,
            cluster,
            "policy/poddisruptionbudgets",
            one,
            status | {"conditions": [condition | {"lastTransitionTime": since}]},
        )


def _report(cloud: Chain, cluster: str, kind: str, one: Json, status: Json) -> None:
    if all(one.get("status", {}).get(key) == value for key, value in status.items()):
        return
    meta = one["metadata"]
    group, _, plural = kind.partition("/")
    path = f"/apis/{group}/v1/namespaces/{meta['namespace']}/{plural}/{meta['name']}/status"
    code, answer = cloud.kubernetes(cluster, "PATCH", path, {"status": status}, content_type=MERGE)
    assert code in (200, 404), answer


def commit(cloud: Chain, path: str, change: Callable[[str], str]) -> None:
    """Change a file in the repository that Argo CD reads, as a merged pull request does."""
    work = cloud.directory / "argocd" / "fleet"
    file = work / "infra" / "argocd" / path
    file.write_text(change(file.read_text()))
    who = ("-c", "user.name=you", "-c", "user.email=you@example.com", "-c", "commit.gpgsign=false")
    for command in (("commit", "--quiet", "--all", "--message", path), ("push", "--quiet", "origin", "main")):
        subprocess.run(["git", *who, *command], cwd=work, env=os.environ | {"HOME": str(work.parent)}, check=True)


def hello(cloud: Chain, cluster: str, namespace: str = "hello") -> str:
    """What the sample application's page says in a cluster."""
    roll_out(cloud, cluster)
    _, found = cloud.kubernetes(cluster, "GET", f"/api/v1/namespaces/{namespace}/configmaps")
    pages: list[str] = [
        one["data"]["index.html"] for one in found["items"] if one["metadata"]["name"].startswith("hello-")
    ]
    return " ".join(pages)
