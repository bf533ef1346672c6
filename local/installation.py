"""Argo CD's objects in the central cluster, as far as others read them: no Pod runs because of them.

Names, labels and the image's version are those of the installation in `infra/argocd`; `--argocd real` runs the programs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from local.names import ROOT
from local.processes import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

CONTROLLER, SERVER = "argocd-application-controller", "argocd-server"
CREDENTIALS = "/var/run/secrets/tokens/gcp-ksa/google-application-credentials.json"
IDENTITY = "iam.gke.io/gcp-service-account"


def argocd_objects(namespace: str, identity: str, *, attached: bool) -> Iterator[Json]:
    """Service accounts with Argo CD's Google identity, the workloads, and the parameters.

    On an attached cluster the Pods bring their credentials as a file (infra/argocd, components/attached-central).
    """
    image = f"quay.io/argoproj/argocd:v{_version()}"
    for kind, name in (("StatefulSet", CONTROLLER), ("Deployment", SERVER)):
        labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "argocd"}
        meta = {"name": name, "namespace": namespace, "labels": labels}
        annotations = {} if attached else {IDENTITY: identity}
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**meta, "annotations": annotations}}
        selector = {"app.kubernetes.io/name": name}
        variables = [{"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": CREDENTIALS}] if attached else []
        pod = {"serviceAccountName": name, "containers": [{"name": name, "image": image, "env": variables}]}
        spec: Json = {"replicas": 1, "selector": {"matchLabels": selector}}
        spec["template"] = {"metadata": {"labels": selector}, "spec": pod}
        if kind == "StatefulSet":
            spec["serviceName"] = name
        yield {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec}
    labels = {"app.kubernetes.io/name": "argocd-cmd-params-cm", "app.kubernetes.io/part-of": "argocd"}
    meta = {"name": "argocd-cmd-params-cm", "namespace": namespace, "labels": labels}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def _version() -> str:
    """The release that `infra/argocd` installs."""
    for path in sorted((ROOT / "infra" / "argocd").rglob("kustomization.yaml")):
        if found := re.search(r"argo-cd/v(\d+\.\d+\.\d+)/", path.read_text()):
            return found[1]
    raise StartError("infra/argocd names no release of Argo CD any more")
