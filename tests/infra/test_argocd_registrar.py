"""`infra/argocd/registrar` beside an Argo CD that is installed: it owns what it contains, and changes nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from local.central import registrar
from tests.infra import argo_helm, argocd
from tests.infra.argocd import ROOT, TREE, VALUES, by_id, one, render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.infra.argocd import Object

pytestmark = argocd.needs_kubectl

OWN = {**VALUES, "namespace": "platform"}
FOLDERS = ("registrar", "registrar-attached")
PLACEHOLDERS = re.compile(
    r"\b(?:NAMESPACE|INSTANCE|DOMAIN|IDS|FLEET|NUMBER|CENTRAL|SHARDS|POOL|AUDIENCE|METHOD|IDENTITY)\b"
)
IDENTITY = "iam.gke.io/gcp-service-account"
SHIPPED = yaml.safe_load((TREE / "values" / "values.yaml").read_text())["data"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree with the values of somebody whose Argo CD is in the namespace `platform`."""
    copied = tmp_path_factory.mktemp("registrar")
    for name in ("values", "registrar", "registrar-attached", "components/attached-central"):
        shutil.copytree(TREE / name, copied / name)
    _fill_in(copied, OWN)
    return copied


def _fill_in(tree: Path, values: Mapping[str, str]) -> None:
    file = tree / "values" / "values.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "data": dict(values)}))


def _beside(tree: Path, folder: str, installed: list[Object]) -> list[Object]:
    """Render the folder together with an installation, as one Kustomization."""
    work = tree / f"beside-{folder}-{len(list(tree.iterdir()))}"
    work.mkdir()
    (work / "installed.yaml").write_text(yaml.safe_dump_all(installed))
    (work / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["installed.yaml", f"../{folder}"]}))
    return render(work)


def _helm_values(heading: str) -> Object:
    """The values in the README below a heading."""
    text = (TREE / "README.md").read_text().partition(f"\n### {heading}\n")[2]
    found: Object = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_everything_has_the_namespace_and_instance_of_the_values(folder: str, tree: Path) -> None:
    objects = render(tree / folder)
    assert {item["metadata"].get("namespace", "platform") for item in objects} == {"platform"}
    named = {item["metadata"]["name"] for item in objects} - {"google-credentials"}
    assert [name for name in named if name.split(".")[:2] != ["fleet-registrar", "west"]] == []
    text = yaml.safe_dump(objects)
    assert PLACEHOLDERS.findall(text) == []
    assert [value for value in SHIPPED.values() if value not in argocd.COMMON_WORDS and value in text] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_and_the_local_cloud_write_the_same(folder: str, tree: Path) -> None:
    rendered = by_id(render(tree / folder))
    rendered.pop(("ConfigMap", "platform", "google-credentials"), None)
    assert rendered == by_id(registrar(OWN, attached=folder == "registrar-attached"))


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("release", ["argo-cd", "argocd", "platform"])
def test_a_helm_release_is_not_changed(folder: str, release: str, tree: Path) -> None:
    installed = argo_helm.installed(release, "platform", {})
    together = by_id(_beside(tree, folder, installed))
    assert {key: together[key] for key in by_id(installed)} == by_id(installed)
    assert together.keys() - by_id(installed).keys() == by_id(render(tree / folder)).keys()


@pytest.mark.parametrize("folder", FOLDERS)
def test_upstream_s_release_is_not_changed(folder: str, tree: Path) -> None:
    release = argocd.parse((argocd.upstream().manifests / "install.yaml").read_text())
    installed = [item for item in release if item["kind"] != "CustomResourceDefinition"]
    for item in installed:
        if not item["kind"].startswith("Cluster"):
            item["metadata"]["namespace"] = "platform"
    together = by_id(_beside(tree, folder, installed))
    assert {key: together[key] for key in by_id(installed)} == by_id(installed)
    assert together.keys() - by_id(installed).keys() == by_id(render(tree / folder)).keys()


def test_two_instances_share_a_central_cluster(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "other")
    _fill_in(tmp_path / "other", {**OWN, "instance": "east"})
    west, east = (by_id(render(folder / "registrar-attached")) for folder in (tree, tmp_path / "other"))
    assert west.keys() & east.keys() == {("ConfigMap", "platform", "google-credentials")}


def test_the_agent_may_impersonate_the_functions_that_use_secrets(tree: Path) -> None:
    objects = render(tree / "registrar-attached")
    role = one(objects, "ClusterRole", "fleet-registrar.west.impersonate")
    (rule,) = role["rules"]
    bound = {item["subjects"][0]["name"] for item in objects if item["kind"] == "RoleBinding"}
    assert (rule["resources"], rule["verbs"], set(rule["resourceNames"])) == (["users"], ["impersonate"], bound)
    binding = one(objects, "ClusterRoleBinding", "fleet-registrar.west.impersonate")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "connect-agent-sa", "namespace": "gke-connect"}]
    assert not [item for item in render(tree / "registrar") if item["kind"].startswith("ClusterRole")]


def test_the_helm_values_for_gke_give_two_service_accounts_the_identity() -> None:
    objects = argo_helm.installed("argo-cd", "argocd", _helm_values("Helm, GKE"))
    annotated = {
        item["metadata"]["name"]: item["metadata"]["annotations"]
        for item in objects
        if item["kind"] == "ServiceAccount" and "annotations" in item["metadata"]
    }
    identity = {IDENTITY: SHIPPED["argocd-identity"]}
    assert annotated == {"argocd-server": identity, "argocd-application-controller": identity}


def test_the_helm_values_outside_gke_are_what_the_overlay_adds() -> None:
    volume, mount, variable = (
        item["value"] for item in yaml.safe_load((TREE / "overlays/fleet/mount.yaml").read_text())
    )
    volume["projected"]["sources"][0]["serviceAccountToken"]["audience"] = f"{SHIPPED['fleet-project']}.svc.id.goog"
    values = _helm_values("Helm, outside GKE")
    added = {"env": [variable], "volumeMounts": [mount], "volumes": [volume]}
    assert values == {"controller": added, "server": added}
    for item in argo_helm.installed("argo-cd", "argocd", values):
        pod = item.get("spec", {}).get("template", {}).get("spec")
        if pod:
            talks = item["metadata"]["name"].endswith(("-server", "-application-controller")) and "repo" not in str(
                item
            )
            assert (volume in pod["volumes"]) == talks


def test_terraform_knows_values_that_exist() -> None:
    outputs = (ROOT / "infra" / "terraform" / "outputs.tf").read_text()
    block = outputs.partition('output "argocd_values"')[2].partition("\n}\n")[0]
    known = set(re.findall(r'^    "([a-z-]+)"', block, re.MULTILINE))
    assert known <= SHIPPED.keys()
    assert known >= {"namespace", "functions-ids", "functions-domain", "central-membership", "fleet-project-number"}


def test_the_documented_command_fills_in_the_values(tree: Path, tmp_path: Path) -> None:
    """`kubectl patch --local` writes what Terraform knows, and keeps the rest."""
    (tmp_path / "values.json").write_text(json.dumps({"data": {"functions-ids": "1,2", "namespace": "cd"}}))
    command = ["kubectl", "patch", "--local", "-f", str(tree / "values" / "values.yaml"), "--type", "merge"]
    command += ["--patch-file", str(tmp_path / "values.json"), "-o", "yaml"]
    done = subprocess.run(command, text=True, capture_output=True, check=True)
    written = yaml.safe_load(done.stdout)
    assert written["data"] == {**OWN, "functions-ids": "1,2", "namespace": "cd"}
    assert written["metadata"]["annotations"] == {"config.kubernetes.io/local-config": "true"}
