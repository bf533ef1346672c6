"""`make uninstall-rbac` on the local cloud, with the real gcloud and kubectl: it removes our grants and no other."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import forked_gcloud
from tests.chain.running import BINDINGS, FLEET, ROOT, Chain, running

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = ("gcloud", "kubectl", "gke-gcloud-auth-plugin")
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"{', '.join(TOOLS)}: not all are installed, so the script is not tested"
)
SOMEONES = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "someones"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "someone@example.com"}],
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A cloud of its own: the script goes through every cluster of the fleet."""
    with running(tmp_path_factory.mktemp("uninstall")) as chain:
        yield chain


def uninstall(cloud: Chain, delete: str = "no") -> subprocess.CompletedProcess[str]:
    command = f'source "{cloud.directory / "env"}" && exec make uninstall-rbac FLEET="$1" DELETE="$2"'
    return subprocess.run(
        ["bash", "-c", command, "bash", FLEET, delete],
        cwd=ROOT,
        env={"PATH": forked_gcloud.path(), "HOME": str(cloud.directory)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def bindings(cloud: Chain, cluster: str) -> set[str]:
    _, found = cloud.kubernetes(cluster, "GET", BINDINGS)
    return {each["metadata"]["name"] for each in found["items"]}


def test_only_our_grants_are_deleted_and_only_on_request(cloud: Chain) -> None:
    cluster = cloud.onboard()
    assert cloud.kubernetes(cluster, "POST", BINDINGS, SOMEONES)[0] == 201
    before = bindings(cloud, cluster)
    ours = {name for name in before if name.startswith("fleet-registrar:")}
    assert ours

    listed = uninstall(cloud)
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert all(f"clusterrolebinding.rbac.authorization.k8s.io/{name}" in listed.stdout for name in ours)
    assert "someones" not in listed.stdout
    assert bindings(cloud, cluster) == before

    deleted = uninstall(cloud, "yes")
    assert deleted.returncode == 0, deleted.stdout + deleted.stderr
    assert bindings(cloud, cluster) == before - ours


def test_an_unreadable_cluster_fails_the_run_and_stops_no_other(cloud: Chain) -> None:
    lost = cloud.attach("aaa-lost", admit=True)
    cloud.onboarded(lost)
    cluster = cloud.onboard()
    cloud.disconnect(lost)
    done = uninstall(cloud, "yes")
    assert done.returncode != 0
    assert "cannot be read" in done.stdout
    assert not [name for name in bindings(cloud, cluster) if name.startswith("fleet-registrar:")]
