"""The audit entries of a cluster's Kubernetes API: which requests leave one, and how they name what was written."""

from __future__ import annotations

import pytest

from local.google.kubernetes_audit import entry, parse

BLUE = "projects/demo-apps/locations/europe-west1/clusters/blue"
RBAC = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
NAMES = {
    ("PATCH", "/api/v1/namespaces/argocd/secrets/mine"): (
        "io.k8s.core.v1.secrets.patch",
        "core/v1/namespaces/argocd/secrets/mine",
    ),
    ("DELETE", f"{RBAC}/team:x"): (
        "io.k8s.authorization.rbac.v1.clusterrolebindings.delete",
        "rbac.authorization.k8s.io/v1/clusterrolebindings/team:x",
    ),
    ("DELETE", RBAC): (
        "io.k8s.authorization.rbac.v1.clusterrolebindings.deletecollection",
        "rbac.authorization.k8s.io/v1/clusterrolebindings",
    ),
    ("POST", "/apis/apps/v1/namespaces/default/deployments"): (
        "io.k8s.apps.v1.deployments.create",
        "apps/v1/namespaces/default/deployments",
    ),
    ("PUT", "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/a/status"): (
        "io.argoproj.v1alpha1.applications.status.update",
        "argoproj.io/v1alpha1/namespaces/argocd/applications/a/status",
    ),
    ("PATCH", "/api/v1/namespaces/argocd"): ("io.k8s.core.v1.namespaces.patch", "core/v1/namespaces/argocd"),
}


@pytest.mark.parametrize(("asked", "names"), NAMES.items(), ids=[" ".join(asked) for asked in NAMES])
def test_a_write_has_the_names_of_method_and_object(asked: tuple[str, str], names: tuple[str, str]) -> None:
    found = parse(*asked)
    assert found is not None
    assert (found.method, found.resource) == names


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/namespaces/argocd/secrets/mine"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("POST", "/api/v1/namespaces/default/events"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n"),
        ("POST", "/version"),
    ],
)
def test_reads_and_reviews_leave_no_entry(method: str, path: str) -> None:
    assert parse(method, path) is None


@pytest.mark.parametrize(("status", "code"), [(200, None), (201, None), (403, 7), (404, 5), (409, 6), (422, 2)])
def test_an_entry_says_how_the_write_ended(status: int, code: int | None) -> None:
    write = parse("DELETE", f"{RBAC}/x")
    assert write is not None
    payload = entry(write, BLUE, "you@example.com", status)["protoPayload"]
    assert payload["status"].get("code") == code
    assert payload["authorizationInfo"][0].get("granted", False) is (status != 403)
