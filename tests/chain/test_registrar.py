"""`infra/argocd/registrar` beside an Argo CD that is there already: applied by kubectl, in a namespace of its own.

With CHAIN_KUBE=real the admission policy decides, too.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from local import central
from local.registrars import DEFAULT
from tests.chain.running import APPS, CENTRAL_MEMBERSHIP, ROOT, Chain, email, fresh, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: nothing applies the folder"),
]

NAMESPACE = "platform"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
MEMBERSHIPS = {"gke": CENTRAL_MEMBERSHIP, "attached": "projects/demo-fleet/locations/global/memberships/central"}
FOLDERS = {"gke": "registrar", "attached": "registrar-attached"}
WITH_SECRETS = ("write-secret", "remove-secret", "revoke-rbac", "sweep")


@pytest.fixture(scope="module", params=FOLDERS)
def kind(request: pytest.FixtureRequest) -> str:
    """What the central cluster is."""
    return str(request.param)


@pytest.fixture(scope="module")
def cloud(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    options = ("--central", kind, "--setting", f"ARGOCD_NAMESPACE={NAMESPACE}")
    with running(tmp_path_factory.mktemp("registrar"), *options) as chain:
        yield chain


@pytest.fixture(scope="module")
def folder(kind: str, cloud: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as a person fills it in, with the local gateway in place of Google's."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("values", "registrar", "registrar-attached", "components/attached-central"):
        shutil.copytree(ROOT / "infra" / "argocd" / name, tree / name)
    file = tree / "values" / "values.yaml"
    given = yaml.safe_load(file.read_text())
    given["data"] |= central.values(DEFAULT, {}, NAMESPACE, MEMBERSHIPS[kind])
    file.write_text(yaml.safe_dump(given))
    policy = next(one for one in central.registrar(given["data"]) if one["kind"] == "ValidatingAdmissionPolicy")
    at = [one["name"] for one in policy["spec"]["variables"]].index("host")
    gateway = cloud.do("cloud", "endpoints")["connectgateway"].rpartition("/")[2]
    patch = [{"op": "replace", "path": f"/spec/variables/{at}/expression", "value": f"'{gateway}'"}]
    target = {"kind": "ValidatingAdmissionPolicy"}
    (tree / "own").mkdir()
    (tree / "own" / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {"resources": [f"../{FOLDERS[kind]}"], "patches": [{"target": target, "patch": yaml.safe_dump(patch)}]}
        )
    )
    return tree / "own"


def _kubectl(cloud: Chain, *arguments: str) -> str:
    command = ["kubectl", "--kubeconfig", str(cloud.directory / "kubeconfig"), "--context", "central", *arguments]
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _reads(cloud: Chain, kind: str, function: str) -> int:
    return cloud.through_gateway(email(function), MEMBERSHIPS[kind], "GET", SECRETS)[0]


def _label(cloud: Chain, cluster: str, key: str) -> str | None:
    found = cloud.secret(cluster)
    return found["labels"].get(key) if found else None


def test_the_folder_alone_lets_the_functions_in(kind: str, cloud: Chain, folder: Path) -> None:
    """Without it every function is refused; with it clusters come and go, of other projects and attached ones too."""
    _kubectl(cloud, "delete", "--ignore-not-found", "-k", str(folder))
    assert [_reads(cloud, kind, function) for function in WITH_SECRETS] == [403] * len(WITH_SECRETS)
    _kubectl(cloud, "apply", "-k", str(folder))
    cloud.wait_for(
        lambda: [_reads(cloud, kind, function) for function in WITH_SECRETS] == [200] * len(WITH_SECRETS),
        what="every function admitted",
    )
    assert _reads(cloud, kind, "grant-rbac") == 403
    cluster = cloud.create_cluster(fresh("blue"), project=APPS, labels={"env": "dev"})
    edge = str(cloud.do("cloud", "attach", name=fresh("edge"), admit=True))
    cloud.onboarded(cluster, edge)
    cloud.set_labels(cluster, {"env": "prod"})
    cloud.wait_for(lambda: _label(cloud, cluster, "env") == "prod", what="the label change")
    cloud.delete_cluster(cluster)
    cloud.offboarded(cluster)
    assert edge in cloud.listed()


def test_applying_it_again_changes_nothing(cloud: Chain, folder: Path) -> None:
    _kubectl(cloud, "apply", "-k", str(folder))
    lines = _kubectl(cloud, "apply", "-k", str(folder)).splitlines()
    assert lines
    assert [line for line in lines if not line.endswith(" unchanged")] == []
