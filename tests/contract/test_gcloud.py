"""The real gcloud on the GKE and fleet APIs: what people type, and what is there afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests import forked_gcloud
from tests.contract.google_cloud import FLEET, FLEET_NUMBER, HOME, Cloud, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not shutil.which("gcloud"),
    reason="left out: the real gcloud on the GKE and fleet APIs; gcloud is not installed here",
)

APIS = {
    "CONTAINER": "container",
    "GKEHUB": "gkehub",
    "CLOUDRESOURCEMANAGER": "platform",
    "SERVICEUSAGE": "platform",
    "CONNECTGATEWAY": "gateway",
}
REGION = "--region=europe-west1"


class Gcloud:
    """gcloud as somebody has it who has sourced the environment of the local cloud, with a home of its own."""

    def __init__(self, cloud: Cloud, home: Path) -> None:
        self.kubeconfig = home / "kubeconfig"
        self.environment = {
            "PATH": forked_gcloud.path(),
            "HOME": str(home),
            "KUBECONFIG": str(self.kubeconfig),
            "CLOUDSDK_CONFIG": str(home / "gcloud"),
            "CLOUDSDK_CORE_PROJECT": FLEET,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_AUTH_ACCESS_TOKEN": cloud.token,
        } | {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": f"{cloud.url(api)}/" for name, api in APIS.items()}

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        ran = subprocess.run(
            ["gcloud", "container", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert (ran.returncode != 0) == fails, ran.stderr
        return ran.stderr if fails else ran.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--format=json"))


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as running:
        yield running


@pytest.fixture
def gcloud(cloud: Cloud, tmp_path: Path) -> Gcloud:
    return Gcloud(cloud, tmp_path)


def test_a_gcloud_that_imports_its_packages_itself_answers_the_same(gcloud: Gcloud) -> None:
    """The other tests fork their commands from a gcloud that has imported them."""
    place = ["--region=europe-west1", "--format=json"]
    for words in (["clusters", "list"], ["clusters", "describe", "none", *place], ["clusters", "list", "--bogus"]):
        alone, forked = (
            subprocess.run(
                ["gcloud", "container", *words],
                env=gcloud.environment | {"PATH": path},
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            for path in (os.environ["PATH"], forked_gcloud.path())
        )
        assert (alone.returncode, alone.stdout, alone.stderr) == (forked.returncode, forked.stdout, forked.stderr)


def test_a_regional_cluster_is_made_labelled_and_deleted(cloud: Cloud, gcloud: Gcloud) -> None:
    gcloud("clusters", "create", "blue", REGION, "--labels=env=prod,team=a")
    assert "blue" in gcloud("clusters", "list")
    gcloud("clusters", "update", "blue", REGION, "--update-labels=env=dev")
    described = gcloud.json("clusters", "describe", "blue", REGION)
    assert (described["resourceLabels"], described["status"]) == ({"env": "dev"}, "RUNNING")
    gcloud("clusters", "delete", "blue", REGION)
    assert cloud.gke.clusters == {}
    assert "Not found" in gcloud("clusters", "describe", "blue", REGION, fails=True)
    methods = [method for method, stage in cloud.methods() if stage == "finished"]
    assert methods == ["CreateCluster", "SetLabels", "DeleteCluster"]


def test_zonal_and_autopilot_clusters_enter_the_fleet_and_leave_it(cloud: Cloud, gcloud: Gcloud) -> None:
    gcloud("clusters", "create", "red", "--zone=europe-west1-b", "--num-nodes=1", "--enable-fleet")
    gcloud("clusters", "create-auto", "auto", REGION, "--enable-fleet")
    members = gcloud.json("fleet", "memberships", "list")
    assert [member["name"] for member in members] == [f"{HOME}/memberships/auto", f"{HOME}/memberships/red"]
    assert gcloud.json("fleet", "memberships", "describe", "auto", "--location=europe-west1")["endpoint"][
        "googleManaged"
    ]
    fleet = cloud.gke.clusters[f"{HOME}/clusters/auto"]["fleet"]
    assert (
        fleet["membership"]
        == f"//gkehub.googleapis.com/projects/{FLEET_NUMBER}/locations/europe-west1/memberships/auto"
    )
    gcloud("clusters", "update", "auto", REGION, "--clear-fleet-project")
    assert list(cloud.fleet.memberships) == [f"{HOME}/memberships/red"]


def test_a_cluster_is_registered_and_unregistered_by_hand(cloud: Cloud, gcloud: Gcloud) -> None:
    pool = f"--workload-pool={FLEET}.svc.id.goog"
    gcloud("clusters", "create", "blue", REGION, pool)
    register = (
        "fleet",
        "memberships",
        "register",
        "blue",
        "--gke-cluster=europe-west1/blue",
        "--enable-workload-identity",
    )
    gcloud(*register)
    gcloud(*register)  # the second time it finds its own
    membership = cloud.fleet.memberships[f"{HOME}/memberships/blue"]
    # gcloud wrote the host of its endpoint override into both
    assert membership["endpoint"]["gkeCluster"]["resourceLink"] == f"//container.googleapis.com/{HOME}/clusters/blue"
    assert membership["authority"]["issuer"] == f"https://container.googleapis.com/v1/{HOME}/clusters/blue"
    gcloud("fleet", "memberships", "unregister", "blue", "--gke-cluster=europe-west1/blue")
    assert cloud.fleet.memberships == {}
    assert "fleet" not in cloud.gke.clusters[f"{HOME}/clusters/blue"]


def test_credentials_lead_to_the_cluster_and_to_the_gateway(cloud: Cloud, gcloud: Gcloud) -> None:
    cloud.do(cloud.fleet.attach, "hall", "europe-west1", project=FLEET)
    gcloud("clusters", "create-auto", "auto", REGION)
    gcloud.kubeconfig.unlink()
    gcloud("clusters", "get-credentials", "auto", REGION)
    written = gcloud.kubeconfig.read_text()
    assert f"server: https://{cloud.gke.clusters[f'{HOME}/clusters/auto']['endpoint']}" in written
    assert "certificate-authority-data" in written
    gcloud("fleet", "memberships", "get-credentials", "hall", "--location=europe-west1")
    written = gcloud.kubeconfig.read_text()
    assert f"server: https://127.0.0.1:1/v1/{HOME}/memberships/hall" in written
    assert f"current-context: connectgateway_{FLEET}_europe-west1_hall" in written
