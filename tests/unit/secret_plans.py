"""Plans for one Secret, and what a Secret of ours contains (docs/objects.md#cluster-secret)."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.decisions import secret_plan
from shared.values.target import target_of
from tests.unit.given import (
    BLUE,
    BLUE_MEMBER,
    EDGE,
    NOW,
    SETTINGS,
)

if TYPE_CHECKING:
    from shared.decisions.secret_plan import Plan
    from shared.values.cluster_secret import ClusterSecret
    from shared.values.model import Cluster, Membership

SKIP = "argocd.argoproj.io/skip-reconcile"
REFRESH = "argocd.argoproj.io/refresh"
LATER = NOW + timedelta(hours=3)  # when all plans here are made
SILENT = replace(EDGE, last_connection=NOW)
BACK = replace(EDGE, last_connection=LATER)


def plan(
    current: ClusterSecret,
    cluster: Cluster | None = BLUE,
    membership: Membership = BLUE_MEMBER,
    *,
    granted: bool = False,
    drop: tuple[str, ...] = (),
    under: Any = SETTINGS,
) -> Plan:
    return secret_plan.plan(
        current, target_of(cluster, membership), under, granted=granted, drop=frozenset(drop), now=LATER
    )


def labelled(**labels: str) -> Cluster:
    return replace(BLUE, labels=labels)


def decoded(data: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


GOLDEN_CONFIG = (
    '{"execProviderConfig":{"apiVersion":"client.authentication.k8s.io/v1beta1","args":["gcp"],'
    '"command":"argocd-k8s-auth"},"tlsClientConfig":{"insecure":false}}'
)
HOST = "https://europe-west1-connectgateway.googleapis.com/v1/projects/100000000001/locations/europe-west1"

REWRITTEN_BY_ARGO_CD = (
    '{"tlsClientConfig":{"insecure":false,"caData":""},"username":"","execProviderConfig":{"command":"argocd-k8s-auth",'
    '"args":["gcp"],"env":{},"apiVersion":"client.authentication.k8s.io/v1beta1","installHint":""},"awsAuthConfig":null}'
)


def golden(name: str, server: str, labels: dict[str, str], annotations: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "namespace": "argocd",
            "labels": {
                "argocd.argoproj.io/secret-type": "cluster",
                "app.kubernetes.io/managed-by": "fleet-registrar",
                **labels,
            },
            "annotations": annotations,
        },
        "data": {
            key: base64.b64encode(value.encode()).decode()
            for key, value in {"name": name, "server": server, "config": GOLDEN_CONFIG}.items()
        },
    }
