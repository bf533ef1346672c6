"""The fleet's three stories: ApplicationSets and AppProjects by Argo CD's own schemas, and by rules that must hold.

Templates are filled in here as Argo CD would for simple keys; what Argo CD does with an Application afterwards is left out.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest
import yaml

from shared.values.version import VERSION
from tests.infra import argocd
from tests.infra.applicationsets import (
    CERTAIN,
    FIELD,
    SHORT,
    applications,
    cluster,
    deployed,
    elements,
    filled,
    fits,
    selected,
    selector,
    strict,
    walk,
)
from tests.infra.argocd import TREE, VALUES, one, render

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infra.argocd import Object


pytestmark = argocd.needs_kubectl

# What the cluster generator gives (Argo CD: applicationset/generators/cluster.go); a key of ours by such a name would be lost.
OF_CLUSTERS = {"name", "nameNormalized", "server", "project", "metadata", "values"}
ESCALATING = {"ClusterRole", "ClusterRoleBinding", "Role", "CustomResourceDefinition", "*"}
SETS = ["baseline", "shop", "tenants", "waves"]
PROJECTS = ["baseline", "shop", "tenants", "waves"]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with the test's values; upstream's manifests are not needed."""
    folder = tmp_path_factory.mktemp("fleet") / "argocd"
    shutil.copytree(TREE, folder)
    values = yaml.safe_load((folder / "values" / "values.yaml").read_text())
    (folder / "values" / "values.yaml").write_text(yaml.safe_dump({**values, "data": VALUES}))
    return folder


@pytest.fixture(scope="session")
def fleet(tree: Path) -> list[Object]:
    return render(tree / "fleet")


@pytest.fixture(scope="session")
def tenants(tree: Path) -> list[Object]:
    return [yaml.safe_load(path.read_text()) for path in sorted((tree / "fleet" / "tenants").glob("*/tenant.yaml"))]


def test_the_directory_holds_the_three_stories(fleet: list[Object]) -> None:
    found = {(item["kind"], item["metadata"]["name"]) for item in fleet}
    assert {name for kind, name in found if kind == "ApplicationSet"} == set(SETS)
    assert {name for kind, name in found if kind == "AppProject"} == {*PROJECTS, "fleet", "default"}
    assert {item["metadata"]["namespace"] for item in fleet} == {"argocd"}


def test_values_have_arrived_everywhere(fleet: list[Object]) -> None:
    text = yaml.safe_dump(fleet)
    shipped = yaml.safe_load((TREE / "values" / "values.yaml").read_text())["data"]
    assert [value for value in shipped.values() if value not in argocd.COMMON_WORDS and value in text] == []
    assert re.findall(r"REPOSITORY|REVISION|APPS", text) == []


def test_every_object_is_valid_for_argocd(fleet: list[Object]) -> None:
    """By the schemas in Argo CD's resource definitions, made strict: a misspelt field is a fault."""
    jsonschema = argocd.tool("jsonschema")
    release = argocd.parse((argocd.upstream().manifests / "install.yaml").read_text())
    schemas = {
        item["spec"]["names"]["kind"]: strict(item["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        for item in release
        if item["kind"] == "CustomResourceDefinition"
    }
    for item in fleet:
        schema = schemas[item["kind"]]
        assert not [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(item)]
        misspelt = {**item, "spec": {**item["spec"], "descriptio": "x"}}
        assert not jsonschema.Draft202012Validator(schema).is_valid(misspelt)


@pytest.mark.parametrize("name", SETS)
def test_applicationsets_fail_on_missing_keys_and_keep_workloads(name: str, fleet: list[Object]) -> None:
    spec = one(fleet, "ApplicationSet", name)["spec"]
    assert spec["goTemplate"] is True
    assert spec["goTemplateOptions"] == ["missingkey=error"]
    assert spec["syncPolicy"] == {"preserveResourcesOnDeletion": True}
    assert "finalizers" not in spec["template"]["metadata"]


@pytest.mark.parametrize("name", SETS)
def test_every_applicationset_selects_clusters_of_the_registrar(name: str, fleet: list[Object]) -> None:
    assert selected(one(fleet, "ApplicationSet", name))["app.kubernetes.io/managed-by"] == "fleet-registrar"


@pytest.mark.parametrize("name", SETS)
def test_every_key_of_a_template_is_there_for_every_cluster(
    name: str, fleet: list[Object], tenants: list[Object]
) -> None:
    """One cluster without a key would freeze the whole ApplicationSet: no label is read that the selector does not demand."""
    item = one(fleet, "ApplicationSet", name)
    for element in elements(item, tenants):
        assert not OF_CLUSTERS & element.keys()
        assert {"key": "fleet-registrar/name", "operator": "Exists"} in selector(item)["matchExpressions"]
        known = {**element, "name": "x", "metadata": {"labels": {"fleet-registrar/name": "x"}}}
        filled(item["spec"]["template"], known)
        filled(selected(item), element)
    assert not [text for text in walk(item) if "{{" in FIELD.sub("", text.replace(SHORT, ""))]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    ("location", "short"),
    [
        ("northamerica-northeast1-a", "c" * 40),  # GKE: 40 characters
        ("northamerica-northeast1.memberships", "m" * 63),  # a membership: 63 characters
    ],
)
def test_names_fit_helm_and_kubernetes_for_the_longest_clusters(
    name: str, location: str, short: str, fleet: list[Object], tenants: list[Object]
) -> None:
    item = one(fleet, "ApplicationSet", name)
    labels = {"env": "prod", "wave": "1", "baseline": "hardened", "fleet-registrar/name": short}
    member = cluster(**labels, **({CERTAIN: "example-apps"} if name == "tenants" else {}))
    twin = {**member, "name": f"other-project.{location}.{short}"}
    member |= {"name": f"{VALUES['apps-project']}.{location}.{short}"}
    names = [made["metadata"]["name"] for made in applications(item, tenants, member)]
    others = [made["metadata"]["name"] for made in applications(item, tenants, twin)]
    assert names
    assert not set(names) & set(others)  # two clusters may share their short name
    for application in (*names, *others):
        assert len(application) <= 53  # Helm's limit for the name of a release
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", application)  # a label value, and a DNS label
    for made in applications(item, tenants, member):
        assert all(len(value) <= 63 for value in made["metadata"]["labels"].values())


@pytest.mark.parametrize("name", ["shop", "tenants", "waves"])
def test_what_is_confidential_goes_by_the_registrars_own_label(
    name: str, fleet: list[Object], tenants: list[Object]
) -> None:
    item = one(fleet, "ApplicationSet", name)
    for element in elements(item, tenants):
        assert filled(selected(item)[CERTAIN], element) in (VALUES["apps-project"], "example-apps")
    claims = {"env": "prod", "wave": "1", CERTAIN: "somebody-elses"}
    assert applications(item, tenants, cluster(**claims)) == []


@pytest.mark.parametrize("name", SETS)
def test_applications_belong_to_the_project_of_their_story_and_fit_into_it(
    name: str, fleet: list[Object], tenants: list[Object], tree: Path
) -> None:
    item = one(fleet, "ApplicationSet", name)
    labels = {"env": "prod", "wave": "1", "baseline": "hardened"}
    member = cluster(**labels, **({CERTAIN: "example-apps"} if name == "tenants" else {}))
    member |= {"name": f"{VALUES['apps-project']}.europe-west1.blue"}
    made = applications(item, tenants, member)
    assert made
    for application in made:
        spec = application["spec"]
        project = one(fleet, "AppProject", spec["project"])["spec"]
        assert spec["project"] == name
        assert spec["source"]["repoURL"] in project["sourceRepos"]
        assert any(fits(spec["destination"], allowed) for allowed in project["destinations"])
        cluster_wide = {(entry["group"], entry["kind"]) for entry in project["clusterResourceWhitelist"]}
        inside = {(entry["group"], entry["kind"]) for entry in project["namespaceResourceWhitelist"]}
        for manifest in deployed(spec["source"], tree):
            group = manifest["apiVersion"].rpartition("/")[0]
            assert (group, manifest["kind"]) in cluster_wide | inside
            namespace = manifest["metadata"].get("namespace", spec["destination"]["namespace"])
            assert namespace == spec["destination"]["namespace"]


def test_a_cluster_gets_its_tooling_by_its_label_alone(fleet: list[Object], tenants: list[Object]) -> None:
    item = one(fleet, "ApplicationSet", "baseline")

    def components(**labels: str) -> set[str]:
        made = applications(item, tenants, cluster(**labels))
        return {application["spec"]["source"]["path"].rpartition("/")[2] for application in made}

    assert components() == set()
    assert components(baseline="standard") == {"guardrails"}
    assert components(baseline="hardened") == {"guardrails", "isolation"}
    assert components(baseline="unheard-of") == set()


def test_a_tenant_gets_namespace_quota_and_access(fleet: list[Object], tenants: list[Object], tree: Path) -> None:
    (tenant,) = tenants
    member = cluster(env="prod", **{CERTAIN: tenant["clustersOf"]})
    (application,) = applications(one(fleet, "ApplicationSet", "tenants"), tenants, member)
    objects = deployed(application["spec"]["source"], tree)
    assert one(objects, "Namespace", "team-shop")["metadata"]["labels"] == {
        "pod-security.kubernetes.io/enforce": "restricted"
    }
    assert one(objects, "ResourceQuota", "team")["spec"]["hard"] == {
        "requests.cpu": "4",
        "requests.memory": "8Gi",
        "limits.memory": "8Gi",
        "pods": "40",
    }
    binding = one(objects, "RoleBinding", "team")
    assert binding["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "shop-developers@example.com"}
    ]
    assert binding["roleRef"]["name"] == "view"
    assert {item["kind"] for item in objects} >= {"LimitRange", "NetworkPolicy"}


def test_a_tenants_own_project_agrees_with_the_tenant(fleet: list[Object], tenants: list[Object]) -> None:
    (tenant,) = tenants
    project = one(fleet, "AppProject", tenant["team"])["spec"]
    assert [entry["namespace"] for entry in project["destinations"]] == [f"team-{tenant['team']}"]
    (role,) = project["roles"]
    assert role["groups"] == [tenant["group"]]
    for policy in role["policies"]:
        _, subject, _, action, scope, effect = (part.strip() for part in policy.split(","))
        assert subject == f"proj:{tenant['team']}:{role['name']}"
        assert (action in ("get", "sync"), scope, effect) == (True, f"{tenant['team']}/*", "allow")
    shop = one(fleet, "ApplicationSet", "shop")
    assert selected(shop)["env"] == tenant["env"]
    shipped = yaml.safe_load((TREE / "values" / "values.yaml").read_text())["data"]
    assert shipped["apps-project"] == tenant["clustersOf"]


def test_a_wave_waits_until_its_revision_changes(fleet: list[Object], tenants: list[Object]) -> None:
    item = one(fleet, "ApplicationSet", "waves")

    def revision(wave: str) -> list[str]:
        made = applications(item, tenants, cluster(wave=wave))
        return [application["spec"]["source"]["targetRevision"] for application in made]

    assert revision("1") == [VALUES["revision"]]
    assert revision("2") == revision("3") == [f"v{VERSION}"]
    assert revision("4") == []
    # A cluster that changes its wave keeps its Application.
    names = {applications(item, tenants, cluster(wave=wave))[0]["metadata"]["name"] for wave in "123"}
    assert len(names) == 1


@pytest.mark.parametrize("name", PROJECTS)
def test_every_project_is_least(name: str, fleet: list[Object]) -> None:
    spec = one(fleet, "AppProject", name)["spec"]
    assert spec["sourceRepos"] == [VALUES["repository"]]
    for destination in spec["destinations"]:
        # Name or server, never both: they would be alternatives. A name with two dots is never in-cluster.
        assert destination.keys() == {"name", "namespace"}
        assert destination["name"].count(".") == 2
        assert destination["namespace"].strip("*")
    kinds = {entry["kind"] for entry in spec["clusterResourceWhitelist"] + spec["namespaceResourceWhitelist"]}
    assert kinds
    assert not kinds & ESCALATING
    assert {"group": "*", "kind": "*"} not in spec["clusterResourceWhitelist"]
    assert ("RoleBinding" in kinds) == (name == "tenants")


def test_a_team_cannot_change_its_own_limits(fleet: list[Object]) -> None:
    spec = one(fleet, "AppProject", "shop")["spec"]
    assert spec["clusterResourceWhitelist"] == []
    kinds = {entry["kind"] for entry in spec["namespaceResourceWhitelist"]}
    assert not kinds & {"ResourceQuota", "LimitRange", "NetworkPolicy", "Role", "RoleBinding", "Secret"}


def test_only_the_directory_itself_reaches_the_central_cluster(fleet: list[Object]) -> None:
    reaching = [
        item["metadata"]["name"]
        for item in fleet
        if item["kind"] == "AppProject" and any("server" in entry for entry in item["spec"]["destinations"])
    ]
    assert reaching == ["fleet"]
    kinds = {entry["kind"] for entry in one(fleet, "AppProject", "fleet")["spec"]["namespaceResourceWhitelist"]}
    assert kinds == {item["kind"] for item in fleet}
    assert one(fleet, "Application", "fleet")["spec"]["project"] == "fleet"


def test_the_default_project_allows_nothing(fleet: list[Object]) -> None:
    spec = one(fleet, "AppProject", "default")["spec"]
    assert spec["sourceRepos"] == spec["destinations"] == spec["clusterResourceWhitelist"] == []


@pytest.mark.parametrize(
    "path", sorted(TREE.glob("workloads/**/kustomization.yaml")), ids=lambda path: path.parent.name
)
def test_every_workload_is_valid_for_kubernetes(path: Path) -> None:
    validate = argocd.tool("kubernetes_validate")
    for item in render(path.parent):
        validate.validate(item, "1.34", strict=True)


def test_the_sample_application_runs_restricted() -> None:
    """A tenant's namespace admits nothing else: https://kubernetes.io/docs/concepts/security/pod-security-standards/."""
    pod = one(render(TREE / "workloads" / "hello"), "Deployment", "hello")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
