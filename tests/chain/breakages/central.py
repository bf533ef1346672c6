"""Break the central cluster; each is undone afterwards."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.chain.running import FLEET, REGION, SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chain.breakages.operator import Broken, Json, Operator


BASE = "/api/v1/namespaces/argocd"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CONTROLLER = "/apis/apps/v1/namespaces/argocd/statefulsets/argocd-application-controller"


def patched(path: str, patch: Json) -> Broken:
    """An object of the central cluster is changed by a merge patch."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.kubernetes("GET", path)
        operator.kubernetes("PATCH", path, patch)
        try:
            yield
        finally:
            operator.kubernetes("PATCH", path, _undo(patch, before))

    return broken


def _undo(patch: Json, before: Json) -> Json:
    """Return the merge patch that restores what a merge patch has changed."""
    return {
        key: _undo(value, before.get(key) or {}) if isinstance(value, dict) and before.get(key) else before.get(key)
        for key, value in patch.items()
    }


def added(collection: str, manifest: Json) -> Broken:
    """An object is created in the central cluster."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        operator.kubernetes("POST", collection, manifest)
        try:
            yield
        finally:
            operator.kubernetes("DELETE", f"{collection}/{manifest['metadata']['name']}")

    return broken


def removed(path: str) -> Broken:
    """An object is deleted from the central cluster."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        before = operator.kubernetes("GET", path)
        operator.kubernetes("DELETE", path)
        try:
            yield
        finally:
            meta = {
                key: before["metadata"][key] for key in ("name", "namespace", "labels") if key in before["metadata"]
            }
            operator.kubernetes("POST", path.rpartition("/")[0], before | {"metadata": meta})

    return broken


def together(*several: Broken) -> Broken:
    """Several breakages at once."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        if not several:
            yield
            return
        with several[0](operator), together(*several[1:])(operator):
            yield

    return broken


def pod(container: Json, **spec: Any) -> Json:
    """The merge patch that gives the application controller another container."""
    whole = {"name": "argocd-application-controller", "image": "quay.io/argoproj/argocd:v3.6.1", **container}
    return {"spec": {**spec, "template": {"spec": {"containers": [whole]}}}}


def shard(secret: str, number: str) -> Broken:
    return patched(f"{SECRETS}/{secret}", {"data": {"shard": base64.b64encode(number.encode()).decode()}})


def lost_agent(state: str) -> Broken:
    """The gateway does not reach the central cluster, whose membership is in a state."""

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        name = operator.environment["CENTRAL_MEMBERSHIP"]
        operator.cloud.disconnect(name, state=state)
        try:
            yield
        finally:
            operator.cloud.reconnect(name)

    return broken


def by_registrar(name: str, instance: str, project: str) -> Broken:
    """Another registrar, whose projects or selectors overlap with ours, has written a Secret for the cluster `doctored`."""
    labels = {"app.kubernetes.io/managed-by": "fleet-registrar", "fleet-registrar/instance": instance}
    return _written(name, labels, {"fleet-registrar/functions-project": project})


def by_hand(name: str, **labels: str) -> Broken:
    """A person has written a cluster Secret for the cluster `doctored`, which is ours."""
    return _written(name, labels, {})


def _written(name: str, labels: Json, annotations: Json) -> Broken:

    @contextmanager
    def broken(operator: Operator) -> Iterator[None]:
        cluster = f"projects/{FLEET}/locations/{REGION}/clusters/doctored"
        data = {"name": name, "server": "https://10.0.0.1", "config": json.dumps({"bearerToken": "x"})}
        meta = {
            "name": name,
            "labels": {"argocd.argoproj.io/secret-type": "cluster", **labels},
            "annotations": {"fleet-registrar/cluster": cluster, **annotations},
        }
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        operator.kubernetes("POST", SECRETS, {"metadata": meta, "data": encoded})
        try:
            yield
        finally:
            operator.kubernetes("DELETE", f"{SECRETS}/{name}")

    return broken
