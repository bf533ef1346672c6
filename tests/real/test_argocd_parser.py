"""Argo CD's own parser reads the Secrets that we write: what it makes of each is what we meant.

Several hundred clusters of every kind, with odd labels and with what people add, are read by one run of it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import subprocess
from base64 import b64encode
from typing import Any

from local.real import build
from shared.decisions import secret_plan
from shared.values.model import Cluster, Membership
from shared.values.names import ClusterName, MembershipName
from shared.values.target import target_of
from tests.chain.running import decoded
from tests.unit.given import NOW, SETTINGS

Json = dict[str, Any]

KEYS = ("env", "team_", "a-", "x" * 63, "größe", "app.kubernetes.io/name", "goog-managed", "argocd", "0", "日本")
VALUES = ("prod", "", "-prod-", "_", "a.b_c-d", "y" * 63, "größe", "日本", "true", "null", "007", "1e3")
PLACES = ("europe-west1", "europe-west1-b", "us-central1")
PROJECTS = ("demo-fleet", "example.com:apps")
PEOPLE = {"shard": "3", "project": "team-a"}


def read(secrets: list[Json]) -> list[Json]:
    """What Argo CD makes of each."""
    ran = subprocess.run(
        [build.program(build.ARGOCD, "argocd-read-secret")],
        input="\n".join(json.dumps(secret) for secret in secrets).encode(),
        capture_output=True,
        check=True,
        timeout=100,
    )
    return [json.loads(line) for line in ran.stdout.splitlines()]


def written(chance: random.Random, number: int) -> Json:
    """The Secret of some cluster: zonal, regional, Autopilot or attached; some with what people added."""
    labels = {chance.choice(KEYS): chance.choice(VALUES) for _ in range(chance.randint(0, 6))}
    project, place = chance.choice(PROJECTS), chance.choice(PLACES)
    cluster = None
    if number % 3:
        name = ClusterName(project, place, f"c{number}")
        cluster = Cluster(name, f"{number:064x}", "RUNNING", labels, autopilot=number % 2 == 0)
        membership = Membership(name.membership("demo-fleet"), f"uid-{number}", "READY", {}, name)
    else:
        where = chance.choice(("global", "europe-west1"))
        membership = Membership(MembershipName("demo-fleet", where, f"edge-{number}"), f"uid-{number}", "READY", labels)
    settings = dataclasses.replace(SETTINGS, connectgateway_endpoint=chance.choice(("", "https://127.0.0.1:8443/")))
    manifest = secret_plan.new_secret(target_of(cluster, membership), settings, NOW)
    if chance.random() < 0.5:
        manifest["data"] |= {key: b64encode(value.encode()).decode() for key, value in PEOPLE.items()}
    return manifest


def test_names_server_labels_project_and_shard_are_read_as_they_were_meant() -> None:
    chance = random.Random(6)
    secrets = [written(chance, number) for number in range(600)]
    for secret, cluster in zip(secrets, read(secrets), strict=True):
        data, meta = decoded(secret), secret["metadata"]
        assert (cluster["name"], cluster["server"]) == (data["name"], data["server"])
        # Argo CD leaves out the label by which it finds cluster Secrets.
        assert cluster["labels"] == {key: value for key, value in meta["labels"].items() if "secret-type" not in key}
        assert cluster["annotations"] == meta["annotations"]
        assert cluster["config"]["execProviderConfig"] == {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "args": ["gcp"],
            "command": "argocd-k8s-auth",
        }
        assert cluster["config"]["tlsClientConfig"] == {"insecure": False}
        assert cluster.get("project", "") == data.get("project", "")
        assert cluster.get("shard") == (int(data["shard"]) if "shard" in data else None)
        assert not cluster.get("namespaces")
        assert not cluster.get("clusterResources")


def test_no_two_clusters_are_one_to_argocd() -> None:
    """It tells clusters apart by server, and Applications name them by name: everywhere the same short names."""
    members: list[tuple[ClusterName | None, MembershipName]] = []
    for project, place, short in itertools.product(PROJECTS, PLACES, ("blue", "memberships")):
        name = ClusterName(project, place, short)
        members.append((name, name.membership("demo-fleet")))
    members += [
        (None, MembershipName("demo-fleet", place, short))
        for place, short in itertools.product(("global", "europe-west1"), ("blue", "memberships"))
    ]
    secrets = []
    for cluster, membership in members:
        member = Membership(membership, "uid", "READY", {}, cluster)
        found = Cluster(cluster, "1" * 64, "RUNNING") if cluster else None
        secrets.append(secret_plan.new_secret(target_of(found, member), SETTINGS, NOW))
    for key in ("server", "name"):
        assert len({cluster[key] for cluster in read(secrets)}) == len(members)
